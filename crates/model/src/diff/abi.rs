//! Which parts of a definition the guest sees.
//!
//! What stands nowhere in the table is taken for the guest's: a warning too many costs a look, one too few a guest that does not boot.
//! Sources: manual "Domain XML format" for what each element does; "Domain save, restore, migrate" for what has to stay.

/// Who a place concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Guest,
    Host,
}

use Side::{Guest, Host};

/// The first pattern that fits counts. `*` is any one step, `**` the place itself and everything below it.
const SIDES: &[(&str, Side)] = &[
    // Who it is for people, what the host gives and takes.
    ("/domain/@id", Host),
    ("/domain/@type", Guest),
    ("/domain/name", Host),
    ("/domain/title", Host),
    ("/domain/description", Host),
    ("/domain/metadata/**", Host),
    ("/domain/currentMemory/**", Host),
    ("/domain/blkiotune/**", Host),
    ("/domain/memtune/**", Host),
    ("/domain/memoryBacking/**", Host),
    ("/domain/vcpu/@placement", Host),
    ("/domain/vcpu/@cpuset", Host),
    ("/domain/iothreads", Host),
    ("/domain/iothreadids/**", Host),
    ("/domain/defaultiothread/**", Host),
    ("/domain/cputune/**", Host),
    ("/domain/numatune/**", Host),
    ("/domain/resource/**", Host),
    ("/domain/throttlegroups/**", Host),
    ("/domain/bootloader", Host),
    ("/domain/bootloader_args", Host),
    ("/domain/idmap/**", Host),
    ("/domain/on_poweroff", Host),
    ("/domain/on_reboot", Host),
    ("/domain/on_crash", Host),
    ("/domain/on_lockfailure", Host),
    ("/domain/perf/**", Host),
    ("/domain/seclabel/**", Host),
    // What is booted is content, as a disk is.
    ("/domain/os/kernel", Host),
    ("/domain/os/initrd", Host),
    ("/domain/os/cmdline", Host),
    ("/domain/os/boot/**", Host),
    ("/domain/os/bootmenu/**", Host),
    ("/domain/os/nvram/**", Host),
    ("/domain/cpu/@check", Host),
    ("/domain/cpu/numa/cell/@memAccess", Host),
    ("/domain/cpu/numa/cell/@discard", Host),
    // Of all devices.
    ("/domain/devices/emulator", Host),
    ("/domain/devices/*/alias/**", Host),
    ("/domain/devices/*/boot/**", Host),
    ("/domain/devices/*/driver/@queues", Guest),
    ("/domain/devices/*/driver/@queue_size", Guest),
    ("/domain/devices/*/driver/@rx_queue_size", Guest),
    ("/domain/devices/*/driver/@tx_queue_size", Guest),
    ("/domain/devices/*/driver/@event_idx", Guest),
    ("/domain/devices/*/driver/@iommu", Guest),
    ("/domain/devices/*/driver/@ats", Guest),
    ("/domain/devices/*/driver/@packed", Guest),
    ("/domain/devices/*/driver/@page_per_vq", Guest),
    ("/domain/devices/interface/driver/**", Host),
    ("/domain/devices/disk/driver/**", Host),
    ("/domain/devices/controller/driver/**", Host),
    ("/domain/devices/filesystem/driver/**", Host),
    // Of a device of the host the source is the device.
    ("/domain/devices/hostdev/source/**", Guest),
    ("/domain/devices/hostdev/@managed", Host),
    ("/domain/devices/hostdev/driver/**", Host),
    ("/domain/devices/*/source/**", Host),
    ("/domain/devices/disk/@type", Host),
    ("/domain/devices/disk/@rawio", Host),
    ("/domain/devices/disk/@sgio", Host),
    ("/domain/devices/disk/@snapshot", Host),
    ("/domain/devices/disk/auth/**", Host),
    ("/domain/devices/disk/encryption/**", Host),
    ("/domain/devices/disk/backingStore/**", Host),
    ("/domain/devices/disk/mirror/**", Host),
    ("/domain/devices/disk/backenddomain/**", Host),
    ("/domain/devices/disk/iotune/**", Host),
    ("/domain/devices/disk/throttlefilters/**", Host),
    ("/domain/devices/disk/shareable", Host),
    ("/domain/devices/disk/transient/**", Host),
    ("/domain/devices/disk/target/@tray", Host),
    ("/domain/devices/lease/**", Host),
    ("/domain/devices/filesystem/@type", Host),
    ("/domain/devices/filesystem/@accessmode", Host),
    ("/domain/devices/filesystem/binary/**", Host),
    ("/domain/devices/filesystem/idmap/**", Host),
    ("/domain/devices/interface/@type", Host),
    ("/domain/devices/interface/@managed", Host),
    ("/domain/devices/interface/@trustGuestRxFilters", Host),
    ("/domain/devices/interface/target/**", Host),
    ("/domain/devices/interface/bandwidth/**", Host),
    ("/domain/devices/interface/vlan/**", Host),
    ("/domain/devices/interface/virtualport/**", Host),
    ("/domain/devices/interface/port/**", Host),
    ("/domain/devices/interface/portForward/**", Host),
    ("/domain/devices/interface/script/**", Host),
    ("/domain/devices/interface/downscript/**", Host),
    ("/domain/devices/interface/backenddomain/**", Host),
    ("/domain/devices/interface/backend/**", Host),
    ("/domain/devices/interface/filterref/**", Host),
    ("/domain/devices/interface/tune/**", Host),
    ("/domain/devices/interface/link/**", Host),
    ("/domain/devices/interface/coalesce/**", Host),
    ("/domain/devices/serial/@type", Host),
    ("/domain/devices/serial/@tty", Host),
    ("/domain/devices/parallel/@type", Host),
    ("/domain/devices/parallel/@tty", Host),
    ("/domain/devices/console/@type", Host),
    ("/domain/devices/console/@tty", Host),
    // Its place among all consoles, of any kind, which completing counts anew.
    ("/domain/devices/console/target/@port", Host),
    ("/domain/devices/channel/@type", Host),
    ("/domain/devices/channel/@tty", Host),
    ("/domain/devices/redirdev/@type", Host),
    ("/domain/devices/*/protocol/**", Host),
    ("/domain/devices/*/log/**", Host),
    ("/domain/devices/graphics/**", Host),
    ("/domain/devices/sound/audio/**", Host),
    ("/domain/devices/audio/**", Host),
    ("/domain/devices/tpm/backend/@version", Guest),
    ("/domain/devices/tpm/backend/**", Host),
    ("/domain/devices/redirfilter/**", Host),
    ("/domain/devices/rng/rate/**", Host),
    ("/domain/devices/rng/backend/**", Host),
    ("/domain/devices/memballoon/stats/**", Host),
    ("/domain/devices/watchdog/@action", Host),
    ("/domain/devices/shmem/server/**", Host),
    ("/domain/devices/crypto/backend/**", Host),
    ("/domain/devices/pstore/path", Host),
];

/// Whether the guest sees what stands at a path of a [`super::Change`].
pub(super) fn guest_sees(path: &str) -> bool {
    let plain = without_identities(path);
    SIDES.iter().find(|(pattern, _)| fits(pattern, &plain)).is_none_or(|(_, side)| *side == Guest)
}

/// An identity may hold any character, `/` and brackets too, so brackets are counted.
fn without_identities(path: &str) -> String {
    let mut depth = 0_usize;
    path.chars()
        .filter(|c| match c {
            '[' => {
                depth += 1;
                false
            }
            ']' => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => depth == 0,
        })
        .collect()
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut steps = path.split('/');
    for part in pattern.split('/') {
        if part == "**" {
            return true;
        }
        if !steps.next().is_some_and(|step| part == "*" || part == step) {
            return false;
        }
    }
    steps.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_places_are_the_guests() {
        assert!(guest_sees("/domain/devices/disk[vda]/serial"));
        assert!(guest_sees("/domain/devices/disk[vda]"));
        assert!(guest_sees("/domain/some/thing"));
        assert!(!guest_sees("/domain/devices/disk[a/b[c]]/source/@file"));
        assert!(!guest_sees("/domain/devices/graphics[vnc]"));
        assert!(guest_sees("/domain/devices/disk[vda]/driver/@queues"));
    }

    #[test]
    fn every_pattern_names_a_place_of_the_format() {
        let schema = serde_json::to_string(&crate::DomainConfig::json_schema()).unwrap();
        for (pattern, _) in SIDES {
            let last = pattern.trim_end_matches("/**").rsplit('/').next().unwrap().trim_start_matches('@');
            // The schema has Rust names; compare without case and underscores, singular or plural.
            let squeezed: String = schema.to_lowercase().chars().filter(|c| *c != '_').collect();
            let word = last.replace('_', "").to_lowercase();
            let known = ["type", "portforward"].contains(&word.as_str()) || squeezed.contains(&format!("\"{word}"));
            assert!(known, "{pattern} names nothing");
        }
    }
}
