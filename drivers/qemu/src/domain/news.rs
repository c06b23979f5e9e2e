//! QEMU's events as signals. Pure.
//!
//! Events are those of QEMU's QMP reference manual. Left out is what nobody here acts on or what the engine knows better: migration,
//! displays, dumps. What the attendant has to judge (stop, resume, shutdown) is not read here.

use polyvirt_core::{Notice, Signal, StateReason, placement::Kib};
use polyvirt_qmp::{BlockDevice, Event};
use serde_json::Value;

use super::pace::Key;

/// Characters of a text of QEMU's that are kept: some of them are the guest's.
const TEXT: usize = 200;

/// What an event says, and by what it is paced; `None` for what a guest cannot cause again and again.
pub(super) fn read(event: &Event) -> Option<(Signal, Option<Key>)> {
    let data = &event.data;
    let (signal, subject) = match event.name.as_str() {
        "DEVICE_DELETED" => return Some((Signal::DeviceRemoved(some_text(&data["device"])?), None)),
        "DEVICE_UNPLUG_GUEST_ERROR" => {
            let device = device_of(data)?;
            (Signal::DeviceRefused(device.clone()), device)
        }
        // ACPI 6.4, 6.3.5: an answer to an ejection request (3, or 103h if the operating system began it); 84h is one that is under way.
        "ACPI_DEVICE_OST" if data["info"]["slot-type"] == "DIMM" => {
            let info = &data["info"];
            let ejects = matches!(info["source"].as_u64(), Some(3 | 0x103));
            let kept = ejects && !matches!(info["status"].as_u64()?, 0 | 0x84);
            let device = some_text(&info["device"]).filter(|_| kept)?;
            (Signal::DeviceRefused(device.clone()), device)
        }
        "MEMORY_DEVICE_SIZE_CHANGE" => {
            let (alias, size) = (some_text(&data["id"])?, Kib(data["size"].as_u64()? >> 10));
            (Signal::MemoryDevice { alias: alias.clone(), size }, alias)
        }
        "RESET" => (Signal::Reset, String::new()),
        // One key for both: of many changes the last one counts.
        "SUSPEND" => return Some((Signal::Asleep, Some(Key::new("sleep", String::new())))),
        "WAKEUP" => return Some((Signal::Woken, Some(Key::new("sleep", String::new())))),
        "GUEST_PANICKED" => (Signal::Panicked(panic_text(data)), String::new()),
        _ => {
            let (notice, subject) = notice(event)?;
            (Signal::Noticed(notice.into()), subject)
        }
    };
    Some((signal, Some(Key::new(class(&event.name)?, subject))))
}

/// The events that are paced, by their names.
fn class(name: &str) -> Option<&'static str> {
    const CLASSES: &[&str] = &[
        "ACPI_DEVICE_OST",
        "BALLOON_CHANGE",
        "BLOCK_IO_ERROR",
        "BLOCK_WRITE_THRESHOLD",
        "DEVICE_TRAY_MOVED",
        "DEVICE_UNPLUG_GUEST_ERROR",
        "GUEST_CRASHLOADED",
        "GUEST_PANICKED",
        "MEMORY_DEVICE_SIZE_CHANGE",
        "MEMORY_FAILURE",
        "RESET",
        "RTC_CHANGE",
        "SUSPEND_DISK",
        "VSERPORT_CHANGE",
        "WATCHDOG",
    ];
    CLASSES.iter().copied().find(|it| *it == name)
}

/// A notice and what it is about.
fn notice(event: &Event) -> Option<(Notice, String)> {
    let data = &event.data;
    let told = match event.name.as_str() {
        "WATCHDOG" => (Notice::Watchdog { action: text(&data["action"]) }, String::new()),
        "RTC_CHANGE" => (Notice::ClockChanged { offset: data["offset"].as_i64()? }, String::new()),
        "BALLOON_CHANGE" => (Notice::BalloonChanged { actual: Kib(data["actual"].as_u64()? >> 10) }, String::new()),
        "BLOCK_IO_ERROR" => {
            let device = [&data["qom-path"], &data["device"], &data["node-name"]];
            let device = device.into_iter().find_map(some_text).unwrap_or_default();
            let device = peripheral(&device).unwrap_or(device);
            let notice = Notice::DiskError {
                device: device.clone(),
                operation: text(&data["operation"]),
                reason: text(&data["reason"]),
                action: text(&data["action"]),
                no_space: data["nospace"].as_bool().unwrap_or(false),
            };
            (notice, device)
        }
        "BLOCK_WRITE_THRESHOLD" => {
            let node = text(&data["node-name"]);
            let (threshold, exceeded) = (data["write-threshold"].as_u64()?, data["amount-exceeded"].as_u64()?);
            (Notice::BlockThreshold { node: node.clone(), threshold, exceeded }, node)
        }
        "MEMORY_FAILURE" => {
            let flag = |name: &str| data["flags"][name].as_bool().unwrap_or(false);
            let notice = Notice::MemoryFailure {
                recipient: text(&data["recipient"]),
                action: text(&data["action"]),
                action_required: flag("action-required"),
                recursive: flag("recursive"),
            };
            (notice, String::new())
        }
        "DEVICE_TRAY_MOVED" => {
            let device = some_text(&data["id"]).unwrap_or_else(|| text(&data["device"]));
            let device = peripheral(&device).unwrap_or(device);
            (Notice::TrayMoved { device: device.clone(), open: data["tray-open"].as_bool()? }, device)
        }
        "VSERPORT_CHANGE" => {
            let device = text(&data["id"]);
            (Notice::ChannelChanged { device: device.clone(), connected: data["open"].as_bool()? }, device)
        }
        "GUEST_CRASHLOADED" => (Notice::CrashKernelLoaded, String::new()),
        "SUSPEND_DISK" => (Notice::SuspendedToDisk, String::new()),
        _ => return None,
    };
    Some(told)
}

/// Why QEMU is about to stop the guest's CPUs, if this event says so.
pub(super) fn pauses(event: &Event) -> Option<StateReason> {
    match (event.name.as_str(), event.data["action"].as_str()) {
        ("BLOCK_IO_ERROR", Some("stop")) => Some(StateReason::IoError),
        ("WATCHDOG", Some("pause")) => Some(StateReason::Watchdog),
        _ => None,
    }
}

/// The job that is in step with the guest, or over.
pub(super) fn job_news(event: &Event) -> Option<String> {
    matches!(event.data["status"].as_str(), Some("ready" | "concluded")).then(|| some_text(&event.data["id"]))?
}

/// The device that shows a block node.
pub(super) fn device_of_node(devices: &[BlockDevice], node: &str) -> Option<String> {
    let shows = |it: &&BlockDevice| it.inserted.as_ref().and_then(|it| it.node_name.as_deref()) == Some(node);
    let path = devices.iter().find(shows)?.qdev.as_deref()?;
    Some(peripheral(path).unwrap_or_else(|| path.chars().take(TEXT).collect()))
}

/// The device that an event names, or else its object's path does.
fn device_of(data: &Value) -> Option<String> {
    some_text(&data["device"]).or_else(|| peripheral(data["path"].as_str()?))
}

/// The id of the device at this path, or above it: `/machine/peripheral/vda/virtio-backend` is of `vda`.
pub(super) fn peripheral(path: &str) -> Option<String> {
    let id = path.strip_prefix("/machine/peripheral/")?.split('/').next()?;
    Some(id.chars().take(TEXT).collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().take(TEXT).collect()
}

fn some_text(value: &Value) -> Option<String> {
    Some(text(value)).filter(|it| !it.is_empty())
}

/// What the guest left behind when it panicked (`GuestPanicInformation`).
fn panic_text(data: &Value) -> String {
    let info = &data["info"];
    let number = |name: &str| info[name].as_u64().map_or_else(|| "?".to_owned(), |it| format!("0x{it:x}"));
    match info["type"].as_str() {
        Some("hyper-v") => {
            let arguments = ["arg1", "arg2", "arg3", "arg4", "arg5"].map(number);
            format!("the guest panicked: Hyper-V crash parameters {}", arguments.join(", "))
        }
        Some("s390") => format!(
            "the guest panicked: {} on CPU {}, PSW {} {}",
            text(&info["reason"]),
            info["core"].as_u64().map_or_else(|| "?".to_owned(), |it| it.to_string()),
            number("psw-mask"),
            number("psw-addr")
        ),
        Some(other) => format!("the guest panicked: {}", other.chars().take(TEXT).collect::<String>()),
        None => "the guest panicked".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_events_say_why_the_guest_stops() {
        let event = |name: &str, data: &str| Event::new(name, serde_json::from_str(data).unwrap());
        let stops = event("BLOCK_IO_ERROR", r#"{"device": "vda", "operation": "write", "action": "stop"}"#);
        assert_eq!(pauses(&stops), Some(StateReason::IoError));
        assert_eq!(pauses(&event("BLOCK_IO_ERROR", r#"{"action": "report"}"#)), None);
        assert_eq!(pauses(&event("WATCHDOG", r#"{"action": "pause"}"#)), Some(StateReason::Watchdog));
        assert_eq!(pauses(&event("WATCHDOG", r#"{"action": "reset"}"#)), None);
        assert_eq!(pauses(&event("STOP", "null")), None);
    }

    /// An event as the manual writes it.
    fn told(name: &str, data: &str) -> Option<(Signal, Option<Key>)> {
        read(&Event::new(name, serde_json::from_str(data).unwrap()))
    }

    fn noticed(name: &str, data: &str) -> Notice {
        match told(name, data).unwrap() {
            (Signal::Noticed(noticed), Some(_)) => noticed.notice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_of_devices() {
        let signal = |name, data| told(name, data).map(|it| it.0);
        let deleted = r#"{ "device": "virtio-net-pci-0", "path": "/machine/peripheral/virtio-net-pci-0" }"#;
        assert_eq!(told("DEVICE_DELETED", deleted), Some((Signal::DeviceRemoved("virtio-net-pci-0".into()), None)));
        // What is inside a device goes first, and is no device of the definition.
        assert_eq!(signal("DEVICE_DELETED", r#"{ "path": "/machine/peripheral/net0/virtio-backend" }"#), None);
        let refused = Some(Signal::DeviceRefused("core1".into()));
        for data in [
            r#"{ "device": "core1", "path": "/machine/peripheral/core1" }"#,
            r#"{ "path": "/machine/peripheral/core1" }"#,
        ] {
            assert_eq!(signal("DEVICE_UNPLUG_GUEST_ERROR", data), refused);
        }
        assert_eq!(signal("DEVICE_UNPLUG_GUEST_ERROR", r#"{ "path": "/machine/unattached/device[3]" }"#), None);
        assert_eq!(
            noticed(
                "DEVICE_TRAY_MOVED",
                r#"{ "device": "ide1-cd0", "id": "/machine/unattached/device[22]", "tray-open": true }"#
            ),
            Notice::TrayMoved { device: "/machine/unattached/device[22]".into(), open: true }
        );
        assert_eq!(
            noticed("DEVICE_TRAY_MOVED", r#"{ "device": "", "id": "sata0-0-0", "tray-open": false }"#),
            Notice::TrayMoved { device: "sata0-0-0".into(), open: false }
        );
        assert_eq!(
            noticed("VSERPORT_CHANGE", r#"{ "id": "channel0", "open": true }"#),
            Notice::ChannelChanged { device: "channel0".into(), connected: true }
        );
    }

    #[test]
    fn events_of_memory() {
        let signal = |name, data| told(name, data).map(|it| it.0);
        let ost = |source: u32, status: u32| {
            let info = format!(
                r#"{{ "info": {{ "device": "dimm1", "slot": "1", "slot-type": "DIMM", "source": {source}, "status": {status} }} }}"#
            );
            told("ACPI_DEVICE_OST", &info).map(|it| it.0)
        };
        let refused = Some(Signal::DeviceRefused("dimm1".into()));
        assert_eq!((ost(3, 0x82), ost(0x103, 1)), (refused.clone(), refused));
        // It let go, it is about to, or it was given something.
        assert_eq!((ost(3, 0), ost(3, 0x84), ost(1, 1)), (None, None, None));
        let size = r#"{ "id": "virtiomem0", "size": 1073741824, "qom-path": "/machine/peripheral/virtiomem0" }"#;
        let changed = Signal::MemoryDevice { alias: "virtiomem0".into(), size: Kib::from_gib(1) };
        assert_eq!(signal("MEMORY_DEVICE_SIZE_CHANGE", size), Some(changed));
    }

    #[test]
    fn events_of_disks() {
        let error = |device: &str, no_space| Notice::DiskError {
            device: device.into(),
            operation: "write".into(),
            reason: "No space left on device".into(),
            action: "stop".into(),
            no_space,
        };
        let rest = r#""operation": "write", "action": "stop", "reason": "No space left on device""#;
        let with = |head: &str| noticed("BLOCK_IO_ERROR", &format!("{{ {head}, {rest} }}"));
        assert_eq!(
            with(r#""device": "", "node-name": "libvirt-1-format", "nospace": true"#),
            error("libvirt-1-format", true)
        );
        assert_eq!(with(r##""device": "ide0-hd1", "node-name": "#block212""##), error("ide0-hd1", false));
        let path = r#""qom-path": "/machine/peripheral/virtio-disk0/virtio-backend", "device": """#;
        assert_eq!(with(path), error("virtio-disk0", false));
        assert_eq!(
            noticed(
                "BLOCK_WRITE_THRESHOLD",
                r#"{ "node-name": "n", "amount-exceeded": 5, "write-threshold": 17179869184 }"#
            ),
            Notice::BlockThreshold { node: "n".into(), threshold: 17_179_869_184, exceeded: 5 }
        );
    }

    #[test]
    fn a_node_is_named_after_its_device() {
        let devices: Vec<BlockDevice> = serde_json::from_str(
            r##"[{ "device": "", "qdev": "/machine/peripheral/virtio-disk0/virtio-backend", "inserted": { "node-name": "libvirt-2-format" } },
                 { "device": "", "qdev": "sata0-0-0", "inserted": { "node-name": "libvirt-1-format" } },
                 { "device": "floppy0", "qdev": "/machine/unattached/device[13]" }, { "device": "x", "inserted": {} }]"##,
        )
        .unwrap();
        let of = |node| device_of_node(&devices, node);
        assert_eq!(of("libvirt-2-format"), Some("virtio-disk0".into()));
        assert_eq!(of("libvirt-1-format"), Some("sata0-0-0".into()));
        assert_eq!(of("libvirt-3-format"), None);
    }

    #[test]
    fn events_of_the_machine() {
        assert_eq!(noticed("WATCHDOG", r#"{ "action": "reset" }"#), Notice::Watchdog { action: "reset".into() });
        assert_eq!(noticed("RTC_CHANGE", r#"{ "offset": -78 }"#), Notice::ClockChanged { offset: -78 });
        assert_eq!(
            noticed("BALLOON_CHANGE", r#"{ "actual": 944766976 }"#),
            Notice::BalloonChanged { actual: Kib(944_766_976 >> 10) }
        );
        let failure = r#"{ "recipient": "hypervisor", "action": "fatal", "flags": { "action-required": false, "recursive": true } }"#;
        assert_eq!(
            noticed("MEMORY_FAILURE", failure),
            Notice::MemoryFailure {
                recipient: "hypervisor".into(),
                action: "fatal".into(),
                action_required: false,
                recursive: true
            }
        );
        assert_eq!(noticed("GUEST_CRASHLOADED", r#"{ "action": "run" }"#), Notice::CrashKernelLoaded);
        assert_eq!(noticed("SUSPEND_DISK", "null"), Notice::SuspendedToDisk);
        let asleep = told("SUSPEND", "null").unwrap();
        let woken = told("WAKEUP", "null").unwrap();
        assert_eq!((asleep.0, woken.0), (Signal::Asleep, Signal::Woken));
        assert_eq!(asleep.1, woken.1);
    }

    #[test]
    fn panics_say_what_the_guest_left() {
        let panic = |data: &str| match told("GUEST_PANICKED", data).unwrap().0 {
            Signal::Panicked(message) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(panic(r#"{ "action": "pause" }"#), "the guest panicked");
        let hyperv = r#"{ "action": "pause", "info": { "type": "hyper-v", "arg1": 10, "arg2": 0, "arg3": 1, "arg4": 2, "arg5": 255 } }"#;
        assert_eq!(panic(hyperv), "the guest panicked: Hyper-V crash parameters 0xa, 0x0, 0x1, 0x2, 0xff");
        let s390 = r#"{ "action": "pause", "info": { "type": "s390", "core": 3, "psw-mask": 1, "psw-addr": 4096, "reason": "disabled-wait" } }"#;
        assert_eq!(panic(s390), "the guest panicked: disabled-wait on CPU 3, PSW 0x1 0x1000");
    }

    #[test]
    fn what_is_broken_or_no_news_is_passed_over() {
        for (name, data) in [
            ("JOB_STATUS_CHANGE", r#"{ "id": "j", "status": "created" }"#),
            ("STOP", "null"),
            ("NEVER_HEARD_OF", r#"{ "device": "x" }"#),
            ("RTC_CHANGE", r#"{ "offset": "soon" }"#),
            ("BALLOON_CHANGE", r#"{ "actual": -1 }"#),
            ("DEVICE_DELETED", r#"{ "device": 7 }"#),
            ("DEVICE_TRAY_MOVED", "[]"),
            ("VSERPORT_CHANGE", "null"),
        ] {
            assert_eq!(told(name, data), None, "{name}");
        }
        let long = format!(r#"{{ "action": "{}" }}"#, "x".repeat(10_000));
        assert_eq!(noticed("WATCHDOG", &long), Notice::Watchdog { action: "x".repeat(TEXT) });
    }
}
