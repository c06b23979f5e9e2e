//! Mice, tablets and keyboards. Those of PS/2 are on the board.

use polyvirt_core::model::{
    address::VirtioModel,
    display::{Input as InputDevice, InputBus, InputKind},
};

use super::{Args, Input, alias, option::Members, place};

pub(super) fn inputs(args: &mut Args, input: &Input<'_>) {
    for device in &input.config.devices.inputs {
        let name = alias::of(&device.info);
        if device.kind == Some(InputKind::Evdev) {
            args.add("-object", evdev(device, name).build());
            continue;
        }
        let kind = match device.kind {
            Some(InputKind::Tablet) => "tablet",
            Some(InputKind::Keyboard) => "keyboard",
            Some(InputKind::Passthrough) => "input-host",
            _ => "mouse",
        };
        let members = match device.bus {
            Some(InputBus::Usb) => {
                Members::new("driver", format!("usb-{}", if kind == "keyboard" { "kbd" } else { kind }))
            }
            Some(InputBus::Virtio) => virtio(device, kind, device.model, input),
            _ => continue,
        };
        args.device(input, &device.info, members.with("id", name));
    }
}

fn virtio(device: &InputDevice, kind: &str, model: Option<VirtioModel>, input: &Input<'_>) -> Members {
    let driver = place::virtio(&format!("virtio-{kind}"), &device.info, model, input);
    let source = device.source.as_ref();
    let path = source.and_then(|it| it.evdev.clone().or_else(|| it.dev.clone())).filter(|_| kind == "input-host");
    let members = Members::new("driver", driver).maybe("evdev", path);
    place::virtio_options(members, device.driver.as_ref().map(|it| &it.virtio))
}

/// A device of the host whose events the guest gets.
fn evdev(device: &InputDevice, name: &str) -> Members {
    let source = device.source.as_ref();
    let path = source.and_then(|it| it.dev.clone().or_else(|| it.evdev.clone())).unwrap_or_default();
    Members::new("qom-type", "input-linux")
        .with("id", name)
        .with("evdev", path)
        .maybe("repeat", source.and_then(|it| it.repeat))
        .maybe("grab_all", source.and_then(|it| it.grab).map(|_| true))
        .maybe("grab-toggle", source.and_then(|it| it.grab_toggle).map(|it| it.as_str()))
}
