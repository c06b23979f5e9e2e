//! PCI devices of a host that are near one of its nodes.
//!
//! Source: Documentation/ABI/testing/sysfs-bus-pci (`numa_node`, -1 where the firmware does not say; `class`). Classes: PCI Code and
//! ID Assignment Specification. Bridges and what belongs to the board are left out: nobody assigns them.

use std::{io::Read as _, path::Path};

use crate::picture::host::Device;

/// More devices than this are not looked at.
const LIMIT: usize = 4096;

/// Devices with a node, by address.
pub(super) fn devices(root: &Path) -> Vec<Device> {
    let Ok(entries) = std::fs::read_dir(root.join("sys/bus/pci/devices")) else { return Vec::new() };
    let mut devices: Vec<Device> = entries.flatten().take(LIMIT).filter_map(|entry| device(&entry.path())).collect();
    devices.sort_by(|a, b| a.address.cmp(&b.address));
    devices
}

fn device(dir: &Path) -> Option<Device> {
    let address = dir.file_name()?.to_str()?.to_owned();
    let node = text(&dir.join("numa_node"))?.trim().parse().ok()?;
    let class = u32::from_str_radix(text(&dir.join("class"))?.trim().strip_prefix("0x")?, 16).ok()?;
    Some(Device { address, class: name(class >> 16)?, node })
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(64).read_to_string(&mut text).ok()?;
    Some(text)
}

fn name(base_class: u32) -> Option<&'static str> {
    Some(match base_class {
        0x01 => "storage",
        0x02 => "network",
        0x03 => "display",
        0x04 => "multimedia",
        0x07 => "serial",
        0x09 => "input",
        0x0c => "bus",
        0x0d => "wireless",
        0x10 => "encryption",
        0x12 => "accelerator",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn devices_that_say_their_node() {
        let root = tempfile::tempdir().unwrap();
        for (address, node, class) in [
            ("0000:81:00.0", "1\n", "0x020000\n"),
            ("0000:03:00.0", "0\n", "0x010802\n"),
            ("0000:00:1f.0", "-1\n", "0x020000\n"),
            ("0000:00:01.0", "0\n", "0x060400\n"),
            ("0000:00:02.0", "zero\n", "0x020000\n"),
        ] {
            let dir = root.path().join("sys/bus/pci/devices").join(address);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("numa_node"), node).unwrap();
            std::fs::write(dir.join("class"), class).unwrap();
        }
        let found: Vec<_> = super::devices(root.path()).into_iter().map(|d| (d.address, d.class, d.node)).collect();
        assert_eq!(found, [("0000:03:00.0".to_owned(), "storage", 0), ("0000:81:00.0".to_owned(), "network", 1)]);
        assert!(super::devices(&root.path().join("nowhere")).is_empty());
    }
}
