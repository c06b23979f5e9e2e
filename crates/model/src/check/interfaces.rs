//! Rules of network interfaces: VLANs, teams, forwarded ports, indices in ACPI (manual: formatdomain, Network interfaces).

use super::{Report, Seen, nth, shown};
use crate::address::DeviceInfo;
use crate::devices::{Devices, Place};
use crate::interface::{Interface, InterfaceBackendType, InterfaceKind, TeamingType};

/// ACPI's index has 14 bits, and 0 is none.
const ACPI_INDEX: std::ops::RangeInclusive<u32> = 1..=16_383;

pub(super) fn check(devices: &Devices, infos: &[(Place, &DeviceInfo)], report: &mut Report<'_>) {
    let persistent: Seen<&str> = devices
        .interfaces
        .iter()
        .filter(|card| card.teaming.as_ref().is_some_and(|team| team.kind == Some(TeamingType::Persistent)))
        .filter_map(|card| card.info.alias.as_ref().map(|alias| alias.name.as_str()))
        .collect();
    for (index, card) in devices.interfaces.iter().enumerate() {
        let path = Place::new("interface", devices.interfaces.len(), index);
        vlan(path, card, report);
        forwards(path, card, report);
        let Some(team) = &card.teaming else { continue };
        match (team.kind, &team.persistent) {
            (Some(TeamingType::Transient), None) => {
                report.error(
                    format!("{path}/teaming"),
                    "a transient card needs 'persistent', the alias of the other one",
                );
            }
            (Some(TeamingType::Transient), Some(other)) if !persistent.contains(&other.as_str()) => {
                let message = format!(
                    "no interface with <teaming type='persistent'/> has the alias '{}', give one <alias name='…'/>",
                    shown(other)
                );
                report.error(format!("{path}/teaming/@persistent"), message);
            }
            (Some(TeamingType::Persistent), Some(_)) => {
                report.error(
                    format!("{path}/teaming/@persistent"),
                    "only a transient card names the other one, leave it out",
                );
            }
            _ => {}
        }
    }
    acpi(infos, report);
}

/// 12 bits, and 4095 is reserved.
fn vlan(path: Place, card: &Interface, report: &mut Report<'_>) {
    let Some(vlan) = &card.vlan else { return };
    for (index, tag) in vlan.tag.iter().enumerate() {
        if tag.id > 4095 {
            let path = format!("{path}/vlan/{}/@id", nth("tag", vlan.tag.len(), index));
            report.error(path, format!("VLAN {}, 0 to 4095 are possible", tag.id));
        }
    }
    if vlan.trunk == Some(false) && vlan.tag.len() > 1 {
        report.error(format!("{path}/vlan/@trunk"), "several tags are a trunk, leave trunk='no' out or keep one tag");
    }
}

fn forwards(path: Place, card: &Interface, report: &mut Report<'_>) {
    let passt = card.backend.as_ref().and_then(|backend| backend.kind) == Some(InterfaceBackendType::Passt);
    let fits = passt && matches!(card.kind, Some(InterfaceKind::User | InterfaceKind::VhostUser));
    for (index, forward) in card.port_forward.iter().enumerate() {
        let path = format!("{path}/{}", nth("portForward", card.port_forward.len(), index));
        if !fits {
            report.error(&path, "ports are forwarded by passt, use type='user' with <backend type='passt'/>");
        }
        for (index, range) in forward.range.iter().enumerate() {
            let path = format!("{path}/{}", nth("range", forward.range.len(), index));
            let end = range.end.unwrap_or(range.start);
            let ports = [("start", Some(range.start)), ("end", range.end), ("to", range.to)];
            for (name, port) in ports {
                if let Some(port) = port.filter(|port| !(1..=65535).contains(port)) {
                    report.error(format!("{path}/@{name}"), format!("port {port}, 1 to 65535 are possible"));
                }
            }
            if end < range.start {
                report
                    .error(format!("{path}/@end"), format!("the last port {end} is before the first, {}", range.start));
            }
            if range.exclude == Some(true) && range.to.is_some() {
                report.error(format!("{path}/@to"), "ports that are left out lead nowhere, remove 'to' or 'exclude'");
            }
        }
    }
}

fn acpi(infos: &[(Place, &DeviceInfo)], report: &mut Report<'_>) {
    let mut seen: Seen<u32, Place> = Seen::new();
    for &(place, info) in infos {
        let Some(index) = info.acpi.as_ref().and_then(|acpi| acpi.index) else { continue };
        let path = format!("{place}/acpi/@index");
        if !ACPI_INDEX.contains(&index) {
            let (least, most) = ACPI_INDEX.into_inner();
            report.error(path, format!("ACPI index {index}, {least} to {most} are possible"));
        } else if let Some(other) = seen.insert(index, place) {
            report.error(path, format!("{other} has the index {index} already, each is given once"));
        }
    }
}
