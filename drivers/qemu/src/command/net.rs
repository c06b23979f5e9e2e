//! Network cards.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        interface::{Interface, InterfaceKind},
        os::BootDeviceKind,
    },
};

use super::{
    Args, Input, bus,
    machine::BootOrder,
    option::{Members, Opts},
};

pub(super) fn interfaces(args: &mut Args, input: &Input<'_>, order: &mut BootOrder) -> Result<()> {
    for (at, card) in input.config.devices.interfaces.iter().enumerate() {
        args.add("-netdev", backend(card, at)?);
        let index = order.take(BootDeviceKind::Network, card.info.boot.as_ref().and_then(|it| it.order));
        args.add("-device", device(card, at, input).maybe("bootindex", index).build());
    }
    Ok(())
}

fn backend(card: &Interface, at: usize) -> Result<String> {
    let id = format!("hostnet{at}");
    match card.kind {
        Some(InterfaceKind::User) => Ok(Opts::new("user").with("id", id).build()),
        Some(InterfaceKind::Ethernet) => {
            let name = card.target.as_ref().and_then(|it| it.dev.as_deref()).unwrap_or_default();
            let opts = Opts::new("tap").with("id", id).with("ifname", name);
            Ok(opts.with("script", "no").with("downscript", "no").build())
        }
        other => {
            let kind = other.map_or("", InterfaceKind::as_str);
            let problem = format!(
                "an interface of type '{kind}' cannot be had; use 'user', or 'ethernet' with a tap that exists"
            );
            let path = format!("/domain/devices/interface[{}]/@type", at + 1);
            Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", path))
        }
    }
}

/// The device behind a model's name.
pub(crate) fn model(card: &Interface) -> &str {
    match card.model.as_ref().map(|it| it.kind.as_str()) {
        None | Some("virtio") => "virtio-net-pci",
        Some("virtio-transitional") => "virtio-net-pci-transitional",
        Some("virtio-non-transitional") => "virtio-net-pci-non-transitional",
        Some(other) => other,
    }
}

fn device(card: &Interface, at: usize, input: &Input<'_>) -> Members {
    let model = model(card);
    let virtio = model.starts_with("virtio-net");
    let driver = card.driver.as_ref().filter(|_| virtio);
    let members = Members::new("driver", model)
        .with("netdev", format!("hostnet{at}"))
        .with("id", bus::alias(&card.info, || format!("net{at}")))
        .maybe("mac", card.mac.as_ref().map(|it| it.address.to_string()))
        .maybe("rx_queue_size", driver.and_then(|it| it.rx_queue_size))
        .maybe("tx_queue_size", driver.and_then(|it| it.tx_queue_size))
        .maybe("host_mtu", card.mtu.as_ref().filter(|_| virtio).map(|it| it.size));
    bus::pci(members, &card.info, input)
}
