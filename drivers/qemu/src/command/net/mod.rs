//! Network cards: `-netdev`, what they are connected to, and the device that the guest sees.

mod backend;

use polyvirt_core::{
    Result,
    model::{
        DomainConfig,
        address::{Address, VirtioModel},
        interface::{Interface, InterfaceKind, Link, Offloads, TeamingType, TxMode},
        os::BootDeviceKind,
    },
};

use super::{
    Args, Input, alias,
    boot::BootOrder,
    hostdev,
    option::{Members, Opts},
    place,
};

pub(super) fn interfaces(args: &mut Args, input: &Input<'_>, order: &mut BootOrder) -> Result<()> {
    for (at, card) in input.config.devices.interfaces.iter().enumerate() {
        let path = format!("/domain/devices/interface[{}]", at + 1);
        backend::check_tap(card, &path)?;
        let own = card.info.boot.as_ref().and_then(|it| it.order);
        let index = order.take(BootDeviceKind::Network, own);
        if card.kind == Some(InterfaceKind::Hostdev) {
            hostdev::interface(args, input, card, index, &path)?;
            continue;
        }
        backend::add(args, input, card, input.taps.iter().find(|it| it.card == at), &path)?;
        if is_on_board(card) {
            args.add("-net", on_board(card));
            continue;
        }
        let device = place::boot(device(card, input), &card.info, index, input);
        args.device(input, &card.info, place::rom(device, &card.info));
    }
    Ok(())
}

/// Ids of the cards whose cable is out, which the command line cannot say.
pub(crate) fn unplugged(config: &DomainConfig) -> impl Iterator<Item = &str> {
    let cards = config.devices.interfaces.iter().filter(|it| it.kind != Some(InterfaceKind::Hostdev));
    let out = |it: &&Interface| it.link.as_ref().is_some_and(|it| it.state == Some(Link::Down));
    cards.filter(out).map(|it| alias::of(&it.info))
}

/// Queues of a card that has a tap.
pub(crate) fn queues(card: &Interface) -> u32 {
    let asked = card.driver.as_ref().and_then(|it| it.queues);
    asked.filter(|_| virtio(card).is_some()).unwrap_or(1).clamp(1, MAX_QUEUES)
}

/// Most queues of a tap (`MAX_TAP_QUEUES`, kernel, drivers/net/tun.c).
const MAX_QUEUES: u32 = 256;

/// Chips of boards of Arm, which no device stands for.
fn is_on_board(card: &Interface) -> bool {
    card.model.as_ref().is_some_and(|it| matches!(it.kind.as_str(), "lan9118" | "smc91c111"))
}

fn on_board(card: &Interface) -> String {
    Opts::new("nic")
        .maybe("macaddr", card.mac.as_ref().map(|it| it.address))
        .with("netdev", backend::id(card))
        .with("model", model(card))
        .with("id", alias::of(&card.info))
        .build()
}

/// The device behind a model's name, on PCI.
pub(crate) fn model(card: &Interface) -> &str {
    match card.model.as_ref().map(|it| it.kind.as_str()) {
        None | Some("virtio") => "virtio-net-pci",
        Some("virtio-transitional") => "virtio-net-pci-transitional",
        Some("virtio-non-transitional") => "virtio-net-pci-non-transitional",
        Some("netfront") => "netfront",
        Some("spapr-vlan") => "spapr-vlan",
        Some(other) => other,
    }
}

/// Whether it is a virtio device, and which.
pub(crate) fn virtio(card: &Interface) -> Option<VirtioModel> {
    match card.model.as_ref().map(|it| it.kind.as_str()) {
        None | Some("virtio") => Some(VirtioModel::Virtio),
        Some("virtio-transitional") => Some(VirtioModel::VirtioTransitional),
        Some("virtio-non-transitional") => Some(VirtioModel::VirtioNonTransitional),
        _ => None,
    }
}

fn device(card: &Interface, input: &Input<'_>) -> Members {
    let members = match virtio(card) {
        Some(variant) => {
            let members = Members::new("driver", place::virtio("virtio-net", &card.info, Some(variant), input));
            virtio_members(members, card)
        }
        None => Members::new("driver", model(card)),
    };
    members
        .maybe("host_mtu", card.mtu.as_ref().filter(|_| virtio(card).is_some()).map(|it| it.size))
        .with("netdev", backend::id(card))
        .with("id", alias::of(&card.info))
        .maybe("mac", card.mac.as_ref().map(|it| it.address.to_string()))
}

fn virtio_members(members: Members, card: &Interface) -> Members {
    let about = card.driver.as_ref();
    let queues = about.and_then(|it| it.queues).filter(|it| *it > 1 && backend::has_queues(card));
    // An interrupt for each direction of each queue, one for control and one for changes of the configuration.
    let vectors = queues
        .filter(|_| !matches!(card.info.address, Some(Address::Ccw(_))))
        .map(|it| it.saturating_mul(2).saturating_add(2));
    let transmit = about.and_then(|it| it.txmode).map(|it| match it {
        TxMode::Timer => "timer",
        _ => "bh",
    });
    let persistent = card.teaming.as_ref().is_some_and(|it| it.kind == Some(TeamingType::Persistent));
    let members = members
        .maybe("tx", transmit)
        .maybe("ioeventfd", about.and_then(|it| it.ioeventfd))
        .maybe("event_idx", about.and_then(|it| it.event_idx))
        .maybe("rx_queue_size", about.and_then(|it| it.rx_queue_size))
        .maybe("tx_queue_size", about.and_then(|it| it.tx_queue_size))
        .maybe("mq", queues.map(|_| true))
        .maybe("vectors", vectors)
        .maybe("rss", about.and_then(|it| it.rss))
        .maybe("hash", about.and_then(|it| it.rss_hash_report))
        .maybe("failover", persistent.then_some(true));
    let members = offloads(members, about.and_then(|it| it.host.as_ref()), Side::Host);
    let members = offloads(members, about.and_then(|it| it.guest.as_ref()), Side::Guest);
    place::virtio_options(members, about.map(|it| &it.virtio))
}

/// Who leaves work to the other.
#[derive(Clone, Copy)]
enum Side {
    Host,
    Guest,
}

/// Only what is switched off is said: all are on where host and guest can.
fn offloads(members: Members, offloads: Option<&Offloads>, side: Side) -> Members {
    let Some(it) = offloads else { return members };
    let off = |value: Option<bool>| value.filter(|on| !on);
    match side {
        Side::Host => members
            .maybe("csum", off(it.csum))
            .maybe("gso", off(it.gso))
            .maybe("host_tso4", off(it.tso4))
            .maybe("host_tso6", off(it.tso6))
            .maybe("host_ecn", off(it.ecn))
            .maybe("host_ufo", off(it.ufo))
            .maybe("mrg_rxbuf", off(it.mrg_rxbuf)),
        Side::Guest => members
            .maybe("guest_csum", off(it.csum))
            .maybe("guest_tso4", off(it.tso4))
            .maybe("guest_tso6", off(it.tso6))
            .maybe("guest_ecn", off(it.ecn))
            .maybe("guest_ufo", off(it.ufo)),
    }
}
