//! I/O threads, entropy, balloon, watchdogs, crash notifiers and the other small devices.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        address::{Address, VirtioModel},
        misc::{
            BalloonModel, CryptoModel, Iommu, IommuModel, PanicModel, RngModel, Shmem, ShmemRole, ShmemType,
            WatchdogAction, WatchdogModel,
        },
    },
};

use super::{
    Args, Input, Purpose, SHOWN_DESCRIPTOR, alias,
    chardev::Chardev,
    machine::is_on,
    option::{Members, Opts, on_off},
    place,
};

pub(super) fn io_threads(args: &mut Args, input: &Input<'_>) {
    let given = |id: u32| input.config.iothreadids.iter().flat_map(|it| &it.iothread).find(|it| it.id == id);
    for id in input.config.io_thread_ids() {
        let about = given(id);
        let poll = about.and_then(|it| it.poll.as_ref());
        let object = Members::new("qom-type", "iothread")
            .with("id", format!("iothread{id}"))
            .maybe("thread-pool-min", about.and_then(|it| it.thread_pool_min))
            .maybe("thread-pool-max", about.and_then(|it| it.thread_pool_max))
            .maybe("poll-max-ns", poll.and_then(|it| it.max))
            .maybe("poll-grow", poll.and_then(|it| it.grow))
            .maybe("poll-shrink", poll.and_then(|it| it.shrink));
        args.add("-object", object.build());
    }
    if let Some(about) = &input.config.defaultiothread {
        let object = Members::new("qom-type", "main-loop")
            .with("id", "main-loop")
            .maybe("thread-pool-min", about.thread_pool_min)
            .maybe("thread-pool-max", about.thread_pool_max);
        args.add("-object", object.build());
    }
}

pub(super) fn hubs(args: &mut Args, input: &Input<'_>) {
    for hub in &input.config.devices.hubs {
        args.device(input, &hub.info, Members::new("driver", "usb-hub").with("id", alias::of(&hub.info)));
    }
}

pub(super) fn watchdogs(args: &mut Args, input: &Input<'_>) {
    let mut action = None;
    for watchdog in &input.config.devices.watchdogs {
        action = watchdog.action.or(action);
        let driver = match watchdog.model {
            Some(WatchdogModel::Ib700) => "ib700",
            Some(WatchdogModel::Diag288) => "diag288",
            // On the board, where it is wired to nothing unless told.
            Some(WatchdogModel::Itco) => {
                args.add("-global", "ICH9-LPC.noreboot=off");
                continue;
            }
            _ => "i6300esb",
        };
        let members = Members::new("driver", driver).with("id", alias::of(&watchdog.info));
        args.device(input, &watchdog.info, members);
    }
    if !input.config.devices.watchdogs.is_empty() {
        // Who attends dumps the guest when QEMU says that it paused.
        let action = match action.unwrap_or(WatchdogAction::Reset) {
            WatchdogAction::Dump => "pause",
            other => other.as_str(),
        };
        args.add("-watchdog-action", action);
    }
}

pub(super) fn balloon(args: &mut Args, input: &Input<'_>) {
    let balloon = input.config.devices.memballoon.as_ref().filter(|it| it.model != Some(BalloonModel::None));
    let Some(balloon) = balloon else { return };
    let model = match balloon.model {
        Some(BalloonModel::VirtioTransitional) => VirtioModel::VirtioTransitional,
        Some(BalloonModel::VirtioNonTransitional) => VirtioModel::VirtioNonTransitional,
        _ => VirtioModel::Virtio,
    };
    let members = Members::new("driver", place::virtio("virtio-balloon", &balloon.info, Some(model), input))
        .with("id", alias::of(&balloon.info))
        .maybe("deflate-on-oom", balloon.autodeflate)
        .maybe("free-page-reporting", balloon.free_page_reporting);
    let members = place::virtio_options(members, balloon.driver.as_ref().map(|it| &it.virtio));
    args.device(input, &balloon.info, members);
}

pub(super) fn rngs(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, rng) in input.config.devices.rngs.iter().enumerate() {
        let name = alias::of(&rng.info);
        let id = format!("obj{name}");
        let backend = rng.backend.as_ref();
        let object = match backend.and_then(|it| it.model) {
            Some(RngModel::Builtin) => Members::new("qom-type", "rng-builtin"),
            Some(RngModel::Egd) => {
                let path = format!("/domain/devices/rng[{}]/backend", at + 1);
                let Some(backend) = backend else { continue };
                let chardev = Chardev::new(name, backend.kind, &backend.source, &path).add(args, input)?;
                Members::new("qom-type", "rng-egd").with("chardev", chardev)
            }
            _ => Members::new("qom-type", "rng-random")
                .with("filename", backend.and_then(|it| it.path.as_deref()).unwrap_or("/dev/urandom")),
        };
        args.add("-object", object.with("id", id.clone()).build());
        let rate = rng.rate.as_ref();
        let members = Members::new("driver", place::virtio("virtio-rng", &rng.info, rng.model, input))
            .with("rng", id)
            .with("id", name)
            .maybe("max-bytes", rate.map(|it| it.bytes))
            .maybe("period", rate.map(|it| it.period.unwrap_or(1000)));
        let members = place::virtio_options(members, rng.driver.as_ref().map(|it| &it.virtio));
        args.device(input, &rng.info, members);
    }
    Ok(())
}

pub(super) fn panics(args: &mut Args, input: &Input<'_>) {
    for panic in &input.config.devices.panics {
        match panic.model {
            None | Some(PanicModel::Default | PanicModel::Isa) => {
                let port = match &panic.info.address {
                    Some(Address::Isa(at)) => at.iobase,
                    _ => None,
                };
                args.add("-device", Members::new("driver", "pvpanic").maybe("ioport", port).build());
            }
            Some(PanicModel::Pvpanic) => args.device(input, &panic.info, Members::new("driver", "pvpanic-pci")),
            // The board's, or the CPU's.
            _ => {}
        }
    }
}

/// Small devices without a number: generation, crash dumps, sockets to the host, entropy of crypto, records of crashes.
pub(super) fn others(args: &mut Args, input: &Input<'_>) {
    let devices = &input.config.devices;
    if let Some(nvram) = &devices.nvram
        && let Some(Address::SpaprVio(at)) = &nvram.info.address
    {
        args.add("-global", format!("spapr-nvram.reg={:#x}", at.reg.unwrap_or(0)));
    }
    if let Some(genid) = &input.config.genid {
        let guid = genid.id.map_or_else(|| "auto".to_owned(), |it| it.to_string());
        args.add("-device", Members::new("driver", "vmgenid").with("guid", guid).with("id", "vmgenid0").build());
    }
    if input.config.features.as_ref().and_then(|it| it.vmcoreinfo.as_ref()).is_some_and(is_on) {
        args.add("-device", Members::new("driver", "vmcoreinfo").build());
    }
    if let Some(vsock) = &devices.vsock {
        let members = Members::new("driver", place::virtio("vhost-vsock", &vsock.info, vsock.model, input))
            .with("id", alias::of(&vsock.info))
            .maybe("guest-cid", vsock.cid.as_ref().and_then(|it| it.address))
            // QEMU opens the device itself where nobody opened it.
            .maybe("vhostfd", (input.purpose == Purpose::Shown).then(|| SHOWN_DESCRIPTOR.to_string()));
        let members = place::virtio_options(members, vsock.driver.as_ref().map(|it| &it.virtio));
        args.device(input, &vsock.info, members);
    }
    for crypto in &devices.cryptos {
        let name = alias::of(&crypto.info);
        let id = format!("obj{name}");
        let backend = crypto.backend.as_ref();
        let kind = match backend.and_then(|it| it.model) {
            Some(CryptoModel::Lkcf) => "cryptodev-backend-lkcf",
            _ => "cryptodev-backend-builtin",
        };
        let object = Members::new("qom-type", kind).with("id", id.clone());
        args.add("-object", object.maybe("queues", backend.and_then(|it| it.queues)).build());
        let members = Members::new("driver", place::virtio("virtio-crypto", &crypto.info, None, input))
            .with("cryptodev", id)
            .with("id", name);
        let members = place::virtio_options(members, crypto.driver.as_ref().map(|it| &it.virtio));
        args.device(input, &crypto.info, members);
    }
    if let Some(store) = &devices.pstore {
        let name = alias::of(&store.info);
        let id = format!("mem{name}");
        let object = Members::new("qom-type", "memory-backend-file")
            .with("id", id.clone())
            .with("mem-path", store.path.clone().unwrap_or_default())
            .with("size", store.size.unwrap_or_default().0.saturating_mul(1024))
            .with("share", true);
        args.add("-object", object.build());
        args.device(input, &store.info, Members::new("driver", "acpi-erst").with("id", name).with("memdev", id));
    }
}

pub(super) fn iommus(args: &mut Args, input: &Input<'_>) {
    for iommu in &input.config.devices.iommu {
        let about = iommu.driver.as_ref();
        let word = |it: Option<bool>| it.map(on_off);
        let members = match iommu.model {
            Some(IommuModel::Virtio) => Members::new("driver", "virtio-iommu"),
            Some(IommuModel::Amd) => Members::new("driver", "amd-iommu")
                .maybe("intremap", word(about.and_then(|it| it.intremap)))
                .maybe("pt", word(about.and_then(|it| it.passthrough)))
                .maybe("xtsup", word(about.and_then(|it| it.xtsup)))
                .maybe("device-iotlb", word(about.and_then(|it| it.iotlb))),
            // A property of the machine.
            Some(IommuModel::Smmuv3) => continue,
            _ => intel(iommu),
        };
        args.device(input, &iommu.info, members.with("id", alias::of(&iommu.info)));
    }
}

fn intel(iommu: &Iommu) -> Members {
    let about = iommu.driver.as_ref();
    Members::new("driver", "intel-iommu")
        .maybe("intremap", about.and_then(|it| it.intremap).map(on_off))
        .maybe("caching-mode", about.and_then(|it| it.caching_mode))
        .maybe("eim", about.and_then(|it| it.eim).map(on_off))
        .maybe("device-iotlb", about.and_then(|it| it.iotlb))
        .maybe("aw-bits", about.and_then(|it| it.aw_bits))
        .maybe("dma-translation", about.and_then(|it| it.dma_translation))
}

/// Memory that several guests share.
pub(super) fn shmems(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, shmem) in input.config.devices.shmems.iter().enumerate() {
        if !matches!(shmem.info.address, None | Some(Address::Pci(_))) {
            let problem = "shared memory is a PCI device; give it an address of type 'pci', or none";
            let path = format!("/domain/devices/shmem[{}]/address/@type", at + 1);
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", path));
        }
        let name = alias::of(&shmem.info);
        let doorbell = shmem.model.as_ref().and_then(|it| it.kind) == Some(ShmemType::IvshmemDoorbell);
        let members = if doorbell { self::doorbell(args, shmem, name) } else { plain(args, shmem, name) };
        args.device(input, &shmem.info, members);
    }
    Ok(())
}

fn plain(args: &mut Args, shmem: &Shmem, name: &str) -> Members {
    let id = format!("shmmem-{name}");
    let size = shmem.size.as_ref().map_or(4 << 20, |it| it.size.0.saturating_mul(1024));
    let object = Members::new("qom-type", "memory-backend-file")
        .with("id", id.clone())
        .with("mem-path", format!("/dev/shm/{}", shmem.name))
        .with("size", size)
        .with("share", true);
    args.add("-object", object.build());
    let master = shmem.role.map(|it| on_off(it == ShmemRole::Master));
    Members::new("driver", "ivshmem-plain").with("id", name).with("memdev", id).maybe("master", master)
}

fn doorbell(args: &mut Args, shmem: &Shmem, name: &str) -> Members {
    let chardev = format!("char{name}");
    let own = || format!("/var/lib/libvirt/shmem-{}-sock", shmem.name);
    let path = shmem.server.as_ref().and_then(|it| it.path.clone()).unwrap_or_else(own);
    args.add("-chardev", Opts::new("socket").with("id", &chardev).with("path", path).build());
    let msi = shmem.msi.as_ref();
    Members::new("driver", "ivshmem-doorbell")
        .with("id", name)
        .with("chardev", chardev)
        .maybe("vectors", msi.and_then(|it| it.vectors))
        .with("ioeventfd", msi.and_then(|it| it.ioeventfd).unwrap_or(true))
}
