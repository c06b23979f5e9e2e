//! What a guest needs of its host beyond memory and CPUs. Pure.
//!
//! | guest | memory that may have to be locked |
//! |---|---|
//! | `<hard_limit>` | that |
//! | `<locked/>` | all that QEMU ever takes |
//! | pSeries under KVM | its page table (1/64 of the largest memory) and 4 MiB for each host bridge (kernel, `arch/powerpc/kvm`); with devices passed through also what their DMA windows map |
//! | devices passed through, NVMe, vDPA | the memory once for each IOMMU context, and 1 GiB for I/O (kernel, `Documentation/driver-api/vfio.rst`) |
//! | others | none |

use polyvirt_core::{
    LockedMemory, Resources,
    model::{
        DomainConfig, DomainKind, Kib,
        controller::{ControllerKind, ControllerModel},
        hostdev::Hostdev,
        interface::InterfaceKind,
        storage::SourceKind,
    },
};

use crate::machine::Family;

const MIB: u64 = 1024;
const GIB: u64 = 1024 * MIB;

/// What a completed definition needs.
pub(crate) fn of(config: &DomainConfig) -> Resources {
    let mut needed = Resources::default();
    needed.locked_memory = locked(config);
    needed
}

fn locked(config: &DomainConfig) -> LockedMemory {
    if let Some(limit) = config.memtune.as_ref().and_then(|it| it.hard_limit.as_ref()) {
        return LockedMemory::UpTo(*limit);
    }
    if config.memory_backing.as_ref().is_some_and(|it| it.locked) {
        return LockedMemory::Unlimited;
    }
    let most = config.max_memory.as_ref().map_or(config.memory_total(), |it| it.size).0;
    let contexts = contexts(config);
    let kib = if Family::of_config(config) == Family::Pseries {
        pseries(config, most, contexts > 0)
    } else if contexts > 0 {
        most.saturating_mul(contexts).saturating_add(GIB)
    } else {
        0
    };
    if kib == 0 { LockedMemory::None } else { LockedMemory::UpTo(Kib(kib)) }
}

/// IOMMU contexts that map the whole guest. Devices passed through share one, unless the guest has an IOMMU of its own.
fn contexts(config: &DomainConfig) -> u64 {
    let devices = &config.devices;
    let hostdevs = devices.hostdevs.iter().filter(|it| matches!(it, Hostdev::Pci(_) | Hostdev::Mdev(_))).count();
    let of_kind = |kind| devices.interfaces.iter().filter(|it| it.kind == Some(kind)).count();
    let passed = hostdevs + of_kind(InterfaceKind::Hostdev);
    let passed = if devices.iommu.is_empty() { passed.min(1) } else { passed };
    let nvme = devices.disks.iter().filter(|it| it.kind == Some(SourceKind::Nvme)).count();
    (passed + nvme + of_kind(InterfaceKind::Vdpa)) as u64
}

fn pseries(config: &DomainConfig, most: u64, passed: bool) -> u64 {
    if config.kind != DomainKind::Kvm {
        return 0;
    }
    let bridge = |it: &&polyvirt_core::model::controller::Controller| {
        it.kind == Some(ControllerKind::Pci) && it.model == Some(ControllerModel::PciRoot)
    };
    let bridges = config.devices.controllers.iter().filter(bridge).count() as u64;
    let tables = most / 64 + bridges * 4 * MIB;
    let memory = config.memory_total().0;
    // The default window of each bridge, or one over the whole memory with its own table.
    let windows = (2 * GIB * bridges).max(memory + memory / 512 * bridges + 8 * MIB);
    if passed { tables.saturating_add(windows) } else { tables }
}

#[cfg(test)]
mod tests {
    use polyvirt_core::model::ParseOptions;

    use super::*;

    fn needs(kind: &str, machine: &str, more: &str, devices: &str) -> LockedMemory {
        let arch = if machine == "pseries" { "ppc64" } else { "x86_64" };
        let text = format!(
            "<domain type='{kind}'><name>a</name><memory unit='GiB'>2</memory>{more}<os><type arch='{arch}' machine='{machine}'>hvm</type></os>\
             <devices>{devices}</devices></domain>"
        );
        of(&DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config).locked_memory
    }

    #[test]
    fn what_is_said_what_is_mapped_and_what_tables_take() {
        let device =
            "<hostdev mode='subsystem' type='pci'><source><address bus='1' slot='0' function='0'/></source></hostdev>";
        let bridge = "<controller type='pci' index='0' model='pci-root'/>";
        let up_to = |kib: u64| LockedMemory::UpTo(Kib(kib));
        assert_eq!(needs("kvm", "q35", "", ""), LockedMemory::None);
        assert_eq!(needs("kvm", "q35", "", device), up_to(3 * GIB));
        assert_eq!(needs("kvm", "q35", "", &device.repeat(2)), up_to(3 * GIB));
        assert_eq!(needs("kvm", "q35", "", &format!("<iommu model='intel'/>{}", device.repeat(2))), up_to(5 * GIB));
        assert_eq!(needs("kvm", "q35", "<memoryBacking><locked/></memoryBacking>", device), LockedMemory::Unlimited);
        let limit = "<memtune><hard_limit unit='GiB'>3</hard_limit></memtune>";
        assert_eq!(needs("qemu", "pc", limit, device), up_to(3 * GIB));
        assert_eq!(needs("qemu", "pseries", "", bridge), LockedMemory::None);
        assert_eq!(needs("kvm", "pseries", "", bridge), up_to(36 * MIB));
        assert_eq!(
            needs("kvm", "pseries", "", &format!("{bridge}{device}")),
            up_to(36 * MIB + 2 * GIB + 4 * MIB + 8 * MIB)
        );
    }
}
