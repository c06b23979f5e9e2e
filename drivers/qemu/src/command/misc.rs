//! I/O threads, entropy, balloon, crash notifiers.

use polyvirt_core::model::{
    DomainConfig,
    misc::{BalloonModel, PanicModel, RngModel},
};

use super::{Args, Input, bus, option::Members};

pub(super) fn io_threads(args: &mut Args, config: &DomainConfig) {
    for id in config.io_thread_ids() {
        args.add("-object", Members::new("qom-type", "iothread").with("id", format!("iothread{id}")).build());
    }
}

pub(super) fn devices(args: &mut Args, input: &Input<'_>) {
    let devices = &input.config.devices;
    if let Some(balloon) = devices.memballoon.as_ref().filter(|it| it.model != Some(BalloonModel::None)) {
        let members = Members::new("driver", "virtio-balloon-pci")
            .with("id", bus::alias(&balloon.info, || "balloon0".into()))
            .maybe("deflate-on-oom", balloon.autodeflate)
            .maybe("free-page-reporting", balloon.free_page_reporting);
        args.add("-device", bus::pci(members, &balloon.info, input).build());
    }
    for (at, rng) in devices.rngs.iter().enumerate() {
        let id = format!("objrng{at}");
        let backend = rng.backend.as_ref();
        let object = match backend.and_then(|it| it.model) {
            Some(RngModel::Builtin) => Members::new("qom-type", "rng-builtin"),
            _ => Members::new("qom-type", "rng-random")
                .with("filename", backend.and_then(|it| it.path.as_deref()).unwrap_or("/dev/urandom")),
        };
        args.add("-object", object.with("id", id.clone()).build());
        let rate = rng.rate.as_ref();
        let members = Members::new("driver", "virtio-rng-pci")
            .with("rng", id)
            .with("id", bus::alias(&rng.info, || format!("rng{at}")))
            .maybe("max-bytes", rate.map(|it| it.bytes))
            .maybe("period", rate.map(|it| it.period.unwrap_or(1000)));
        args.add("-device", bus::pci(members, &rng.info, input).build());
    }
    let isa = |it: &&_| matches!(it, None | Some(PanicModel::Default | PanicModel::Isa));
    if devices.panics.iter().map(|it| it.model).any(|it| isa(&&it)) {
        args.add("-device", Members::new("driver", "pvpanic").build());
    }
}
