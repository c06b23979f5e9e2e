//! What QEMU says of a guest, against what its live definition says. Both ways: nothing is where the other side has nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use polyvirt::{Guest, GuestState, Which};
use polyvirt_qmp::Monitor;
use serde_json::{Value, json};

use crate::{
    WITHIN,
    ground::Ground,
    places,
    qtree::{self, Device},
};

/// What boards bring along: place, model, and the name under which the definition knows it, if it does.
const CHIPSETS: &[(&str, &str, Option<&str>)] = &[
    // QEMU, hw/pci-host/i440fx.c, hw/isa/piix3.c: north bridge, ISA bridge, IDE, power management.
    ("pci.0 00.0", "i440FX", None),
    ("pci.0 01.0", "PIIX3", None),
    ("pci.0 01.1", "piix3-ide", Some("ide")),
    ("pci.0 01.3", "PIIX4_PM", None),
    // hw/pci-host/q35.c, hw/i386/pc_q35.c: north bridge, ISA bridge, AHCI, SMBus.
    ("pcie.0 00.0", "mch", None),
    ("pcie.0 1f.0", "ICH9-LPC", None),
    ("pcie.0 1f.2", "ich9-ahci", Some("ide")),
    ("pcie.0 1f.3", "ICH9-SMB", None),
];

/// Compares what QEMU says of a running guest with its live definition; how many places agree.
pub(crate) async fn compare(guest: &Guest, ground: &Ground, with_numbers: bool) -> Result<usize, String> {
    let state = guest.state().await.map_err(|error| error.to_string())?;
    if state != GuestState::Running {
        return Err(format!("the guest is {state:?}"));
    }
    let xml = guest.xml(Which::Live).await.map_err(|error| error.to_string())?;
    let monitor = monitor_of(guest, ground).await?;
    let status = ask(&monitor, "query-status", &json!({})).await?;
    if status["status"] != "running" {
        return Err(format!("QEMU says {status}"));
    }
    let tree = ask(&monitor, "human-monitor-command", &json!({ "command-line": "info qtree" })).await?;
    let devices = qtree::read(tree.as_str().unwrap_or_default());
    let placed = places::of(&xml);
    let mut wrong = differences(&placed, &places::unplaced(&xml), &devices);
    if with_numbers {
        wrong.extend(numbered(&monitor, &devices).await?);
    }
    wrong.extend(memories(&monitor, &xml).await?);
    if wrong.is_empty() { Ok(placed.len()) } else { Err(wrong.join("; ")) }
}

/// QEMU's monitor, which has one client at a time: the connection gives it up until it is asked for something.
pub(crate) async fn monitor_of(guest: &Guest, ground: &Ground) -> Result<Monitor, String> {
    guest.release().await.map_err(|error| error.to_string())?;
    let run = ground.path().join("run/qemu");
    let folders = std::fs::read_dir(&run).map_err(|error| format!("{}: {error}", run.display()))?;
    let found = folders.flatten().map(|it| it.path().join("monitor")).find(|it| it.exists());
    let path = found.ok_or_else(|| format!("no monitor below {}", run.display()))?;
    let connected = Monitor::connect(&path, WITHIN).await;
    connected.map(|(monitor, _)| monitor).map_err(|error| error.to_string())
}

pub(crate) async fn ask(monitor: &Monitor, command: &str, arguments: &Value) -> Result<Value, String> {
    monitor.execute_raw(command, arguments, WITHIN).await.map_err(|error| format!("{command}: {error}"))
}

/// Places that only one side has, or that have different devices.
fn differences(placed: &[places::Placed], unplaced: &[String], devices: &[Device]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut there: BTreeMap<String, Vec<&Device>> = BTreeMap::new();
    for device in devices {
        if let Some(place) = device.place() {
            there.entry(place).or_default().push(device);
        }
    }
    for wanted in placed {
        let own = CHIPSETS.iter().find(|it| it.0 == wanted.place && it.2 == Some(&wanted.alias));
        let fits = |it: &&Device| match own {
            Some(own) => it.id.is_empty() && it.model == own.1,
            None if wanted.companion => it.id.is_empty() && it.model.starts_with("ich9-usb-uhci"),
            None => it.id == wanted.alias,
        };
        let here = there.get_mut(&wanted.place);
        match here.and_then(|here| here.iter().position(fits).map(|at| here.remove(at))) {
            Some(device) if device.is_pci() == wanted.is_pci => {}
            _ => {
                let at: Vec<_> =
                    devices.iter().filter(|it| it.id == wanted.alias).map(|it| (it.place(), &it.model)).collect();
                wrong.push(format!("{} should be at {}, and QEMU has {at:?}", wanted.alias, wanted.place));
            }
        }
    }
    for (place, left) in there {
        for device in left {
            let board = CHIPSETS.iter().any(|it| it.0 == place && it.1 == device.model && device.id.is_empty());
            // The bridge that every pxb carries within (QEMU, docs/pci_expander_bridge.txt).
            let within = device.bus == "pxb-internal" && device.model == "pci-bridge" || inside_usb(device, devices);
            if !board && !within && !unplaced.contains(&device.id) {
                wrong.push(format!("QEMU has {} '{}' at {place}, and the definition has not", device.model, device.id));
            }
        }
    }
    wrong
}

/// Whether it is the disk that a USB stick has inside (QEMU, hw/usb/dev-storage-classic.c).
fn inside_usb(disk: &Device, devices: &[Device]) -> bool {
    let stick = disk.bus.strip_suffix(".0").and_then(|name| devices.iter().find(|it| it.id == name));
    disk.id.is_empty() && stick.is_some_and(|it| it.model == "usb-storage")
}

/// What PCI itself sees is what the tree says.
async fn numbered(monitor: &Monitor, devices: &[Device]) -> Result<Vec<String>, String> {
    enumerated(monitor).await?;
    let buses = ask(monitor, "query-pci", &json!({})).await?;
    let mut seen = Vec::new();
    for bus in buses.as_array().into_iter().flatten() {
        walk("", &bus["devices"], &mut seen);
    }
    let mut expected = pci_of(devices);
    seen.sort();
    expected.sort();
    Ok(if seen == expected { Vec::new() } else { vec![format!("query-pci has {seen:?}, and the tree {expected:?}")] })
}

/// Waits until the firmware has numbered all buses: then it gives out addresses. While it numbers them QEMU 7.2 must not be asked
/// for its PCI: a bus that is its own child for a moment lets it recurse until it dies.
async fn enumerated(monitor: &Monitor) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let tree = ask(monitor, "human-monitor-command", &json!({ "command-line": "info qtree" })).await?;
        let mut lines = tree.as_str().unwrap_or_default().lines().map(str::trim_start);
        if lines.any(|it| it.starts_with("bar ") && !it.contains("0xffffffffffffffff")) {
            return Ok(());
        }
        if began.elapsed() > WITHIN {
            return Err("the firmware gives no addresses to PCI devices".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A device on PCI: the bridge it is behind, its name, slot and function.
type OnPci = (String, String, u64, u64);

fn pci_of(devices: &[Device]) -> Vec<OnPci> {
    let bridge = |bus: &str| devices.iter().any(|it| it.id == bus && it.is_pci() && it.model != "pxb-pcie");
    let pci = devices.iter().filter(|it| it.is_pci());
    pci.filter_map(|it| {
        let place = it.place()?;
        let (slot, function) = place.rsplit_once(' ')?.1.split_once('.')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let behind = if bridge(&it.bus) { it.bus.clone() } else { String::new() };
        Some((behind, it.id.clone(), hex(slot)?, hex(function)?))
    })
    .collect()
}

fn walk(behind: &str, devices: &Value, seen: &mut Vec<OnPci>) {
    for device in devices.as_array().into_iter().flatten() {
        let number = |name: &str| device[name].as_u64().unwrap_or(u64::MAX);
        let id = device["qdev_id"].as_str().unwrap_or_default();
        seen.push((behind.to_owned(), id.to_owned(), number("slot"), number("function")));
        walk(id, &device["pci_bridge"]["devices"], seen);
    }
}

/// Memory devices: the same names in the same slots.
async fn memories(monitor: &Monitor, xml: &str) -> Result<Vec<String>, String> {
    let known = ask(monitor, "query-memory-devices", &json!({})).await?;
    let mut there: Vec<_> = known
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| (it["data"]["id"].as_str().unwrap_or_default().to_owned(), it["data"]["slot"].as_u64()))
        .collect();
    let mut wanted = places::slots(xml);
    there.sort();
    wanted.sort();
    Ok(if there == wanted { Vec::new() } else { vec![format!("memory is {wanted:?} here and {there:?} in QEMU")] })
}
