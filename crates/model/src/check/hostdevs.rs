//! Rules of the host's devices: each is given once, and what a guest sees of it fits (manual: formatdomain, Host device
//! assignment).

use std::collections::HashMap;

use super::{Report, nth};
use crate::devices::Devices;
use crate::display::GraphicsKind;
use crate::hostdev::{Hostdev, HostdevModel, ScsiProtocol, ScsiSource, UsbSource};

pub(super) fn check(devices: &Devices, report: &mut Report<'_>) {
    let count = devices.hostdevs.len();
    let path = |index| format!("/domain/devices/{}", nth("hostdev", count, index));
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, device) in devices.hostdevs.iter().enumerate() {
        if let Some(identity) = identity(device)
            && let Some(other) = seen.insert(identity, index)
        {
            report.error(
                format!("{}/source", path(index)),
                format!("{} is the same device, each is given once", path(other)),
            );
        }
        if let Hostdev::Mdev(device) = device {
            let options = &device.options;
            let path = path(index);
            if options.display == Some(true) && !has_screen(devices) {
                let message = "a display needs <graphics type='vnc'>, 'spice', 'dbus' or 'egl-headless' to be shown on";
                report.error(format!("{path}/@display"), message);
            }
            for (name, set) in [("display", options.display), ("ramfb", options.ramfb)] {
                if set == Some(true) && options.model.is_some_and(|model| model != HostdevModel::VfioPci) {
                    report
                        .error(format!("{path}/@{name}"), format!("only model 'vfio-pci' has '{name}', leave it out"));
                }
            }
            if options.ramfb == Some(true) && options.display != Some(true) {
                report.error(format!("{path}/@ramfb"), "a boot frame buffer needs display='on'");
            }
        }
    }
}

fn has_screen(devices: &Devices) -> bool {
    use GraphicsKind::{Dbus, EglHeadless, Spice, Vnc};
    devices.graphics.iter().any(|graphics| matches!(graphics.kind, Some(Vnc | Spice | EglHeadless | Dbus)))
}

/// What tells a device of the host from all others; `None` if that is not known before the guest starts.
fn identity(device: &Hostdev) -> Option<String> {
    match device {
        Hostdev::Pci(device) => {
            let address = device.source.as_ref()?.address.as_ref()?;
            let part = |number: Option<u32>| number.unwrap_or(0);
            let (domain, bus) = (part(address.domain), part(address.bus));
            Some(format!("pci {domain:x}:{bus:x}:{:x}.{:x}", part(address.slot), part(address.function)))
        }
        Hostdev::Usb(device) => usb(device.source.as_ref()?),
        Hostdev::Scsi(device) => scsi(device.source.as_ref()?),
        Hostdev::Mdev(device) => Some(format!("mdev {}", device.source.as_ref()?.address.as_ref()?.uuid?)),
        Hostdev::ScsiHost(device) => Some(format!("vhost {}", device.source.as_ref()?.wwpn.as_ref()?)),
        Hostdev::Storage(device) => Some(format!("block {}", device.source.as_ref()?.block.as_ref()?)),
        Hostdev::Misc(device) => Some(format!("char {}", device.source.as_ref()?.char.as_ref()?)),
        Hostdev::Net(device) => Some(format!("net {}", device.source.as_ref()?.interface.as_ref()?)),
    }
}

/// By its place; by vendor and product several may be meant.
fn usb(source: &UsbSource) -> Option<String> {
    let address = source.address.as_ref()?;
    match (address.bus, address.device, address.port) {
        (Some(bus), Some(device), _) => Some(format!("usb {bus} device {device}")),
        (Some(bus), None, Some(port)) => Some(format!("usb {bus} port {port}")),
        _ => None,
    }
}

fn scsi(source: &ScsiSource) -> Option<String> {
    if source.protocol == Some(ScsiProtocol::Iscsi) {
        let host = source.host.first()?;
        return Some(format!("iscsi {:?} {:?} {}", host.name, host.port, source.name.as_ref()?));
    }
    let (adapter, address) = (source.adapter.as_ref()?, source.address.as_ref()?);
    Some(format!("scsi {} {:?} {:?} {:?}", adapter.name, address.bus, address.target, address.unit))
}
