//! Options that are right each by itself and cannot be had together.

use polyvirt_core::model::{
    DomainConfig, LifecycleAction, Problem,
    disk::{Disk, DiskCache, DiskIo},
    interface::{InterfaceBackendType, InterfaceKind},
    memory::{AllocationMode, BackingType, MemoryAccess},
    memory_device::MemoryModel,
    storage::SourceKind,
};

pub(super) fn rules(config: &DomainConfig, found: &mut Vec<Problem>) {
    lifecycle(config, found);
    vcpus(config, found);
    pages(config, found);
    memory_devices(config, found);
    for (at, disk) in config.devices.disks.iter().enumerate() {
        self::disk(disk, &format!("/domain/devices/disk[{}]", at + 1), found);
    }
    for (at, card) in config.devices.interfaces.iter().enumerate() {
        let passt = card.backend.as_ref().and_then(|it| it.kind) == Some(InterfaceBackendType::Passt);
        if card.mtu.is_some() && card.kind == Some(InterfaceKind::User) && !passt {
            let problem = "QEMU's own network has the MTU it has; use another type of interface, or remove <mtu>";
            found.push(Problem::error(format!("/domain/devices/interface[{}]/mtu", at + 1), problem));
        }
    }
    let serial = config.os.as_ref().and_then(|it| it.bios.as_ref()).and_then(|it| it.useserial) == Some(true);
    if serial && config.devices.serials.is_empty() {
        let problem = "there is no serial port for the firmware to write to; add one, or remove useserial";
        found.push(Problem::error("/domain/os/bios/@useserial", problem));
    }
}

/// What becomes of a guest that ends. QEMU is told once, for both kinds of ending.
fn lifecycle(config: &DomainConfig, found: &mut Vec<Problem>) {
    use LifecycleAction::{Destroy, RenameRestart, Restart};
    let events = [("on_poweroff", config.on_poweroff), ("on_reboot", config.on_reboot), ("on_crash", config.on_crash)];
    for (event, action) in events {
        if let Some(action) = action.filter(|it| *it == RenameRestart) {
            let problem = format!("QEMU cannot do '{action}' then; use 'destroy' or 'restart'");
            found.push(Problem::error(format!("/domain/{event}"), problem));
        }
    }
    if (config.on_poweroff, config.on_reboot) == (Some(Restart), Some(Destroy)) {
        let problem = "QEMU cannot end at a reboot and begin anew at a power-off; use on_reboot 'restart' as well";
        found.push(Problem::error("/domain/on_reboot", problem));
    }
}

/// vCPUs that are there from the beginning and stay have the first numbers: they are QEMU's own, the others are plugged in.
fn vcpus(config: &DomainConfig, found: &mut Vec<Problem>) {
    let mut pluggable = None;
    for (at, vcpu) in config.vcpus.iter().flat_map(|it| &it.vcpu).enumerate() {
        match (vcpu.hotpluggable == Some(true), pluggable) {
            (true, _) => pluggable = Some(vcpu.id),
            (false, Some(before)) if vcpu.enabled == Some(true) => {
                let problem = format!(
                    "vCPU {} stays, so it comes before those that can be unplugged, and {before} can; make it hotpluggable='yes' too",
                    vcpu.id
                );
                found.push(Problem::error(format!("/domain/vcpus/vcpu[{}]/@hotpluggable", at + 1), problem));
            }
            _ => {}
        }
    }
}

fn pages(config: &DomainConfig, found: &mut Vec<Problem>) {
    let Some(backing) = config.memory_backing.as_ref().filter(|it| it.hugepages.is_some()) else { return };
    if backing.source.as_ref().and_then(|it| it.kind) == Some(BackingType::Anonymous) {
        let problem = "anonymous memory has no huge pages; remove <source>, or use 'memfd'";
        found.push(Problem::error("/domain/memoryBacking/source/@type", problem));
    }
    if backing.allocation.as_ref().and_then(|it| it.mode) == Some(AllocationMode::Ondemand) {
        let problem = "huge pages are taken at once; remove <allocation>, or use 'immediate'";
        found.push(Problem::error("/domain/memoryBacking/allocation/@mode", problem));
    }
}

fn memory_devices(config: &DomainConfig, found: &mut Vec<Problem>) {
    for (at, device) in config.devices.memories.iter().enumerate() {
        let path = format!("/domain/devices/memory[{}]", at + 1);
        if device.model == Some(MemoryModel::VirtioPmem) && device.access == Some(MemoryAccess::Private) {
            let problem = "what the guest writes has to reach the file; use access='shared'";
            found.push(Problem::error(format!("{path}/@access"), problem));
        }
        if device.model == Some(MemoryModel::Nvdimm) && device.discard == Some(true) {
            let problem = "an NVDIMM outlives the guest, so its pages cannot be thrown away; remove discard";
            found.push(Problem::error(format!("{path}/@discard"), problem));
        }
    }
}

fn disk(disk: &Disk, path: &str, found: &mut Vec<Problem>) {
    let mut refuse = |at: &str, problem: &str| found.push(Problem::error(format!("{path}/{at}"), problem));
    let driver = disk.driver.as_ref();
    let cache = driver.and_then(|it| it.cache);
    if driver.and_then(|it| it.io) == Some(DiskIo::Native)
        && !matches!(cache, Some(DiskCache::None | DiskCache::DirectSync))
    {
        refuse("driver/@io", "io='native' goes past the host's cache; use it with cache='none' or 'directsync'");
    }
    if disk.readonly && driver.and_then(|it| it.copy_on_read) == Some(true) {
        refuse("driver/@copy_on_read", "there is nothing to copy to on a read-only disk; remove it or <readonly/>");
    }
    if disk.transient.is_some() {
        if disk.readonly {
            refuse("transient", "nothing of a read-only disk is to be forgotten; remove <transient/> or <readonly/>");
        }
        if !matches!(disk.kind, None | Some(SourceKind::File)) {
            refuse("transient", "what is written to a transient disk goes to a file beside it; use type='file'");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn refused(top: &str, devices: &str) -> Vec<String> {
        let text = format!("<domain type='qemu'><name>a</name>{top}<devices>{devices}</devices></domain>");
        let config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        let mut found = Vec::new();
        rules(&config, &mut found);
        found.into_iter().map(|it| it.path).collect()
    }

    fn disk(driver: &str, more: &str) -> String {
        format!("<disk type='file'><driver name='qemu' {driver}/><source file='/a'/><target dev='vda'/>{more}</disk>")
    }

    fn vcpus(hotpluggable: [&str; 3]) -> String {
        let one = |(id, it): (usize, &&str)| format!("<vcpu id='{id}' enabled='yes' hotpluggable='{it}'/>");
        format!("<vcpus>{}</vcpus>", hotpluggable.iter().enumerate().map(one).collect::<String>())
    }

    #[test]
    fn what_goes_together_is_taken() {
        assert_eq!(refused("<on_poweroff>restart</on_poweroff><on_reboot>restart</on_reboot>", ""), [""; 0]);
        assert_eq!(refused("<on_crash>preserve</on_crash>", &disk("io='native' cache='none'", "")), [""; 0]);
        assert_eq!(refused(&vcpus(["no", "no", "yes"]), &disk("copy_on_read='on'", "<transient/>")), [""; 0]);
        assert_eq!(refused("", "<interface type='bridge'><source bridge='b'/><mtu size='9000'/></interface>"), [""; 0]);
    }

    #[test]
    fn each_pair_that_cannot_be_is_named_with_its_place() {
        for (top, devices, path) in [
            ("<on_poweroff>restart</on_poweroff><on_reboot>destroy</on_reboot>", String::new(), "/domain/on_reboot"),
            ("<on_poweroff>rename-restart</on_poweroff>", String::new(), "/domain/on_poweroff"),
            ("<on_crash>rename-restart</on_crash>", String::new(), "/domain/on_crash"),
            (&vcpus(["no", "yes", "no"]), String::new(), "/domain/vcpus/vcpu[3]/@hotpluggable"),
            ("", disk("io='native'", ""), "/domain/devices/disk[1]/driver/@io"),
            ("", disk("copy_on_read='on'", "<readonly/>"), "/domain/devices/disk[1]/driver/@copy_on_read"),
            ("", disk("", "<readonly/><transient/>"), "/domain/devices/disk[1]/transient"),
            (
                "",
                "<interface type='user'><mtu size='9000'/></interface>".to_owned(),
                "/domain/devices/interface[1]/mtu",
            ),
            ("<os><bios useserial='yes'/></os>", String::new(), "/domain/os/bios/@useserial"),
            (
                "<memoryBacking><hugepages/><source type='anonymous'/></memoryBacking>",
                String::new(),
                "/domain/memoryBacking/source/@type",
            ),
            ("", "<memory model='nvdimm' discard='yes'/>".to_owned(), "/domain/devices/memory[1]/@discard"),
            ("", "<memory model='virtio-pmem' access='private'/>".to_owned(), "/domain/devices/memory[1]/@access"),
        ] {
            assert_eq!(refused(top, &devices), [path]);
        }
    }
}
