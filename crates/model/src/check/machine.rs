//! Rules of the machine around the devices: firmware, CPU, features, clock, SMBIOS, security labels (manual: formatdomain, the
//! sections of the same names).

use std::collections::HashSet;

use super::{Report, Seen, nth, shown};
use crate::clock::ClockOffset;
use crate::cpu::MaxPhysAddrMode;
use crate::devices::Place;
use crate::domain::DomainConfig;
use crate::features::Features;
use crate::os::{BiosField, Os, Sysinfo, SysinfoType, SystemField};
use crate::security::{DeviceLabel, LabelType};

pub(super) fn check(config: &DomainConfig, report: &mut Report<'_>) {
    if let Some(os) = &config.os {
        firmware(os, report);
    }
    cpu(config, report);
    if let Some(features) = &config.features {
        hyperv(features, report);
    }
    clock(config, report);
    for (index, sysinfo) in config.sysinfo.iter().enumerate() {
        let path = format!("/domain/{}", nth("sysinfo", config.sysinfo.len(), index));
        smbios(&path, sysinfo, config, report);
        fw_cfg(&path, sysinfo, report);
    }
    labels(config, report);
    ids(config, report);
    once(config, report);
}

fn firmware(os: &Os, report: &mut Report<'_>) {
    let stateless = os.loader.as_ref().is_some_and(|loader| loader.stateless == Some(true));
    if stateless && os.nvram.is_some() {
        report.error("/domain/os/nvram", "a stateless loader keeps no variables, remove <nvram> or stateless='yes'");
    }
    if let Some(timeout) = os.bootmenu.as_ref().and_then(|menu| menu.timeout).filter(|timeout| *timeout > 65535) {
        report.error("/domain/os/bootmenu/@timeout", format!("{timeout} ms, 0 to 65535 are possible"));
    }
    let reboot = os.bios.as_ref().and_then(|bios| bios.reboot_timeout);
    if let Some(timeout) = reboot.filter(|timeout| !(-1..=65535).contains(timeout)) {
        let message = format!("{timeout} ms, 0 to 65535 are possible, or -1 for never");
        report.error("/domain/os/bios/@rebootTimeout", message);
    }
    // A loader that is named may turn out to be one that is picked.
    let named = os.loader.as_ref().is_some_and(|loader| loader.path.is_some());
    if os.firmware.is_none()
        && !named
        && os.firmware_features.as_ref().is_some_and(|features| !features.feature.is_empty())
    {
        report.error("/domain/os/firmware", "features are those of picked firmware, add firmware='efi' to <os>");
    }
}

fn cpu(config: &DomainConfig, report: &mut Report<'_>) {
    let Some(cpu) = &config.cpu else { return };
    if let Some(vendor) = cpu.model.as_ref().and_then(|model| model.vendor_id.as_ref())
        && vendor.len() != 12
    {
        let message = format!("'{}' has {} letters, a vendor has 12", shown(vendor), vendor.len());
        report.error("/domain/cpu/model/@vendor_id", message);
    }
    let Some(bits) = &cpu.maxphysaddr else { return };
    match bits.mode {
        Some(MaxPhysAddrMode::Emulate) if bits.limit.is_some() => {
            report.error("/domain/cpu/maxphysaddr/@limit", "mode 'emulate' has a number of bits, no limit");
        }
        Some(MaxPhysAddrMode::Passthrough) if bits.bits.is_some() => {
            report
                .error("/domain/cpu/maxphysaddr/@bits", "mode 'passthrough' takes the host's number, leave 'bits' out");
        }
        _ => {}
    }
}

fn hyperv(features: &Features, report: &mut Report<'_>) {
    if let Some(hyperv) = &features.hyperv {
        let retries = hyperv.spinlocks.as_ref().and_then(|spinlocks| spinlocks.retries);
        if let Some(retries) = retries.filter(|retries| *retries < 4095) {
            let message = format!("{retries} retries, at least 4095 are possible");
            report.error("/domain/features/hyperv/spinlocks/@retries", message);
        }
        let vendor = hyperv.vendor_id.as_ref().and_then(|vendor| vendor.value.as_ref());
        if let Some(vendor) = vendor.filter(|vendor| vendor.len() > 12 || vendor.contains(',')) {
            let message = format!("'{}' is no vendor, which has up to 12 letters and no comma", shown(vendor));
            report.error("/domain/features/hyperv/vendor_id/@value", message);
        }
    }
    let ring = features.kvm.as_ref().and_then(|kvm| kvm.dirty_ring.as_ref()).filter(|ring| ring.state == Some(true));
    if let Some(ring) = ring {
        match ring.size {
            None => report.error("/domain/features/kvm/dirty-ring", "the ring needs its attribute 'size'"),
            Some(size) if !(1024..=65536).contains(&size) || !size.is_power_of_two() => {
                let message = format!("{size} entries, a power of two from 1024 to 65536 is possible");
                report.error("/domain/features/kvm/dirty-ring/@size", message);
            }
            Some(_) => {}
        }
    }
    let cache = features.tcg.as_ref().and_then(|tcg| tcg.tb_cache);
    if let Some(cache) = cache.filter(|cache| !cache.0.is_multiple_of(1024)) {
        report.error("/domain/features/tcg/tb-cache", format!("{cache}, whole MiB are possible"));
    }
}

fn clock(config: &DomainConfig, report: &mut Report<'_>) {
    let Some(clock) = &config.clock else { return };
    match clock.offset {
        Some(ClockOffset::Timezone) if clock.timezone.is_none() => {
            report.error("/domain/clock", "offset 'timezone' needs its attribute 'timezone', like Europe/Berlin");
        }
        Some(ClockOffset::Absolute) if clock.start.is_none() => {
            report.error("/domain/clock", "offset 'absolute' needs its attribute 'start', in seconds since 1970");
        }
        _ => {}
    }
}

/// The UUID is the guest's, and a date is one.
fn smbios(path: &str, sysinfo: &Sysinfo, config: &DomainConfig, report: &mut Report<'_>) {
    let bios = sysinfo.bios.as_ref().map_or(&[][..], |bios| &bios.entry);
    for (index, entry) in bios.iter().enumerate().filter(|(_, entry)| entry.name == Some(BiosField::Date)) {
        let date = entry.value.as_deref().unwrap_or_default();
        if !is_date(date) {
            let path = format!("{path}/bios/{}", nth("entry", bios.len(), index));
            report.error(path, format!("'{}' is no date, mm/dd/yy and mm/dd/yyyy are possible", shown(date)));
        }
    }
    let system = sysinfo.system.as_ref().map_or(&[][..], |system| &system.entry);
    for (index, entry) in system.iter().enumerate().filter(|(_, entry)| entry.name == Some(SystemField::Uuid)) {
        let path = format!("{path}/system/{}", nth("entry", system.len(), index));
        let value = entry.value.as_deref().unwrap_or_default().trim();
        match (uuid::Uuid::try_parse(value), config.uuid) {
            (Err(_), _) => {
                report.error(path, format!("'{}' is no UUID, which is 32 hexadecimal digits: 8-4-4-4-12", shown(value)))
            }
            (Ok(found), Some(own)) if found != own => {
                report.error(path, format!("'{found}' is not the guest's '{own}', leave one of them out"));
            }
            _ => {}
        }
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let [month, day, year] = parts[..] else { return false };
    let number = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        let digits = lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| digits)
    };
    let (month, day) = (number(month, 1..=2), number(day, 1..=2));
    matches!(month, Some(1..=12))
        && matches!(day, Some(1..=31))
        && matches!(year.len(), 2 | 4)
        && number(year, 2..=4).is_some_and(|year| !(100..1900).contains(&year))
}

/// fw_cfg keeps `opt/` for users, and a blob has one source.
fn fw_cfg(path: &str, sysinfo: &Sysinfo, report: &mut Report<'_>) {
    if sysinfo.kind != Some(SysinfoType::Fwcfg) {
        return;
    }
    for (index, entry) in sysinfo.entry.iter().enumerate() {
        let path = format!("{path}/{}", nth("entry", sysinfo.entry.len(), index));
        match &entry.name {
            None => report.error(&path, "a blob needs its attribute 'name'"),
            Some(name) if !name.starts_with("opt/") => {
                report.error(
                    format!("{path}/@name"),
                    format!("'{}' is not the user's, names begin with opt/", shown(name)),
                );
            }
            Some(_) => {}
        }
        if entry.value.is_some() == entry.file.is_some() {
            report.error(&path, "a blob has a value or a file, give one of them");
        }
    }
}

fn labels(config: &DomainConfig, report: &mut Report<'_>) {
    let mut models = HashSet::new();
    for (index, label) in config.seclabel.iter().enumerate() {
        let path = format!("/domain/{}", nth("seclabel", config.seclabel.len(), index));
        if label.kind == Some(LabelType::Static) && label.label.is_none() {
            report.error(&path, "a static label needs its <label>");
        }
        if label.kind == Some(LabelType::Dynamic) && label.relabel == Some(false) {
            report
                .error(format!("{path}/@relabel"), "resources of a dynamic label are always relabelled, leave it out");
        }
        if label.kind == Some(LabelType::None) && label.relabel == Some(true) {
            report.error(format!("{path}/@relabel"), "without a label nothing is relabelled, use 'no' or another type");
        }
        if !models.insert(label.model.as_deref()) {
            report.error(&path, "a second <seclabel> of the same model, one is possible");
        }
    }
    let disks = &config.devices.disks;
    for (index, disk) in disks.iter().enumerate() {
        let path = Place::new("disk", disks.len(), index);
        device_labels(path, disk.source.as_ref().map_or(&[], |source| &source.seclabel), report);
    }
}

fn device_labels(disk: Place, labels: &[DeviceLabel], report: &mut Report<'_>) {
    let mut models = Seen::new();
    for (index, label) in labels.iter().enumerate() {
        let path = format!("{disk}/source/{}", nth("seclabel", labels.len(), index));
        if models.insert(label.model.as_deref(), ()).is_some() {
            report.error(&path, "a second <seclabel> of the same model, one is possible");
        }
        if label.label.is_some() && label.relabel == Some(false) {
            report.error(format!("{path}/@relabel"), "what is not relabelled needs no <label>, remove one of them");
        }
    }
}

/// A container's root is somebody on the host.
fn ids(config: &DomainConfig, report: &mut Report<'_>) {
    let Some(map) = &config.idmap else { return };
    for (name, entries) in [("uid", &map.uid), ("gid", &map.gid)] {
        if !entries.is_empty() && entries.iter().all(|entry| entry.start != 0) {
            report
                .error(format!("/domain/idmap/{name}"), format!("nothing maps {name} 0, add an entry with start='0'"));
        }
    }
}

fn once(config: &DomainConfig, report: &mut Report<'_>) {
    let events = config.perf.as_ref().map_or(&[][..], |perf| &perf.event);
    let mut seen = HashSet::new();
    for (index, event) in events.iter().enumerate() {
        let Some(name) = event.name else { continue };
        if !seen.insert(name) {
            let path = format!("/domain/perf/{}/@name", nth("event", events.len(), index));
            report.error(path, format!("event '{name}' is given twice, keep one of them"));
        }
    }
    let ciphers = config.keywrap.as_ref().map_or(&[][..], |keywrap| &keywrap.cipher);
    let mut seen = HashSet::new();
    for (index, cipher) in ciphers.iter().enumerate() {
        let Some(name) = cipher.name else { continue };
        if !seen.insert(name) {
            let path = format!("/domain/keywrap/{}/@name", nth("cipher", ciphers.len(), index));
            report.error(path, format!("cipher '{name}' is given twice, keep one of them"));
        }
    }
}
