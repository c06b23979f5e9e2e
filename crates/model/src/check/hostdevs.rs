//! Rules of the host's devices: what a guest sees of them fits (manual: formatdomain, Host device assignment). That each is
//! given once is a rule of places.

use super::{Report, nth, shown};
use crate::devices::Devices;
use crate::display::GraphicsKind;
use crate::hostdev::{Hostdev, HostdevModel};

pub(super) fn check(devices: &Devices, report: &mut Report<'_>) {
    let count = devices.hostdevs.len();
    let path = |index| format!("/domain/devices/{}", nth("hostdev", count, index));
    for (index, device) in devices.hostdevs.iter().enumerate() {
        if let Hostdev::ScsiHost(device) = device
            && let Some(name) = device.source.as_ref().and_then(|source| source.wwpn.as_ref())
            && !is_wwpn(name)
        {
            let message = format!("'{}' is no port name, which is naa. and 16 hexadecimal digits", shown(name));
            report.error(format!("{}/source/@wwpn", path(index)), message);
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

/// A world wide port name as the host's vhost lists it.
fn is_wwpn(name: &str) -> bool {
    let digits = name.strip_prefix("naa.");
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn has_screen(devices: &Devices) -> bool {
    use GraphicsKind::{Dbus, EglHeadless, Spice, Vnc};
    devices.graphics.iter().any(|graphics| matches!(graphics.kind, Some(Vnc | Spice | EglHeadless | Dbus)))
}
