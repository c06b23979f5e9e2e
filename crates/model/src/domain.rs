//! `<domain>`: a guest.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, FormatOptions, ParseOptions, Parsed, Problems, XmlTree, words};
use uuid::Uuid;

use crate::clock::Clock;
use crate::codec::Uuids;
use crate::cpu::Cpu;
use crate::devices::Devices;
use crate::disk::ThrottleGroups;
use crate::features::Features;
use crate::memory::{MaxMemory, MemTune, Memory, MemoryBacking};
use crate::numatune::NumaTune;
use crate::os::{Os, OsKind, OsType, Sysinfo};
use crate::security::{IdMap, KeyWrap, LaunchSecurity, SecLabel};
use crate::tuning::{BlkioTune, Perf, Pm, Resource};
use crate::vcpu::{CpuTune, DefaultIoThread, IoThreadIds, Vcpu, Vcpus};

words! {
    /// What runs a guest.
    pub enum DomainKind {
        Qemu = "qemu", Kvm = "kvm", Xen = "xen", Lxc = "lxc", Uml = "uml", Openvz = "openvz", Test = "test",
        Vmware = "vmware", Hyperv = "hyperv", Vbox = "vbox", Phyp = "phyp", Parallels = "parallels",
        Bhyve = "bhyve", Vz = "vz", Hvf = "hvf", Ch = "ch",
    }
}

impl Default for DomainKind {
    /// QEMU without acceleration: it runs everywhere.
    fn default() -> Self {
        Self::Qemu
    }
}

words! {
    /// What happens when a guest stops.
    pub enum LifecycleAction {
        Destroy = "destroy", Restart = "restart", RenameRestart = "rename-restart", Preserve = "preserve",
        CoredumpDestroy = "coredump-destroy", CoredumpRestart = "coredump-restart",
    }
}
words! {
    /// What happens when a guest loses a lock.
    pub enum LockFailureAction { Poweroff = "poweroff", Restart = "restart", Pause = "pause", Ignore = "ignore" }
}

/// `<domain>`: a guest as it was written or, after [`crate::complete`], as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "domain")]
#[non_exhaustive]
pub struct DomainConfig {
    /// What runs it.
    #[xml(attr, name = "type")]
    pub kind: DomainKind,
    /// Its number, while it runs.
    #[xml(attr, live)]
    pub id: Option<i32>,
    /// Its name.
    #[xml(leaf)]
    pub name: String,
    /// Its identity.
    #[xml(leaf, codec = Uuids)]
    pub uuid: Option<Uuid>,
    /// The hardware's identity that the guest sees, if it differs.
    #[xml(leaf, codec = Uuids)]
    pub hwuuid: Option<Uuid>,
    /// What changes when the guest was copied or reverted.
    #[xml(child)]
    pub genid: Option<GenId>,
    /// A short description.
    #[xml(leaf)]
    pub title: Option<String>,
    /// A description.
    #[xml(leaf)]
    pub description: Option<String>,
    /// What applications keep with it.
    #[xml(tree)]
    pub metadata: Option<XmlTree>,
    /// How far memory hot-plug may go.
    #[xml(child)]
    pub max_memory: Option<MaxMemory>,
    /// Its memory.
    #[xml(child)]
    pub memory: Option<Memory>,
    /// Its memory as far as the balloon leaves it.
    #[xml(child)]
    pub current_memory: Option<Memory>,
    /// Weights and limits of block devices.
    #[xml(child)]
    pub blkiotune: Option<BlkioTune>,
    /// Limits of memory.
    #[xml(child)]
    pub memtune: Option<MemTune>,
    /// What its memory is made of.
    #[xml(child)]
    pub memory_backing: Option<MemoryBacking>,
    /// Its virtual CPUs.
    #[xml(child)]
    pub vcpu: Option<Vcpu>,
    /// The state of single vCPUs.
    #[xml(child)]
    pub vcpus: Option<Vcpus>,
    /// How many I/O threads it has.
    #[xml(leaf)]
    pub iothreads: Option<u32>,
    /// I/O threads with numbers of their own.
    #[xml(child)]
    pub iothreadids: Option<IoThreadIds>,
    /// The main loop's worker threads.
    #[xml(child)]
    pub defaultiothread: Option<DefaultIoThread>,
    /// Pins, shares, quotas.
    #[xml(child)]
    pub cputune: Option<CpuTune>,
    /// Where its memory comes from.
    #[xml(child, once)]
    pub numatune: Option<NumaTune>,
    /// Where it stands among cgroups.
    #[xml(child)]
    pub resource: Option<Resource>,
    /// Limits that disks share.
    #[xml(child)]
    pub throttlegroups: Option<ThrottleGroups>,
    /// System information for the guest.
    #[xml(child)]
    pub sysinfo: Vec<Sysinfo>,
    /// A program on the host that picks the kernel.
    #[xml(leaf)]
    pub bootloader: Option<String>,
    /// Its arguments.
    #[xml(leaf, name = "bootloader_args")]
    pub bootloader_args: Option<String>,
    /// What it boots.
    #[xml(child)]
    pub os: Option<Os>,
    /// Users of a container.
    #[xml(child)]
    pub idmap: Option<IdMap>,
    /// What is switched on and off.
    #[xml(child)]
    pub features: Option<Features>,
    /// The CPU it sees, and its NUMA cells.
    #[xml(child)]
    pub cpu: Option<Cpu>,
    /// What time it sees.
    #[xml(child)]
    pub clock: Option<Clock>,
    /// What happens when it switches itself off.
    #[xml(leaf, name = "on_poweroff")]
    pub on_poweroff: Option<LifecycleAction>,
    /// What happens when it reboots.
    #[xml(leaf, name = "on_reboot")]
    pub on_reboot: Option<LifecycleAction>,
    /// What happens when it crashes.
    #[xml(leaf, name = "on_crash")]
    pub on_crash: Option<LifecycleAction>,
    /// What happens when it loses a lock.
    #[xml(leaf, name = "on_lockfailure")]
    pub on_lockfailure: Option<LockFailureAction>,
    /// Sleep states.
    #[xml(child)]
    pub pm: Option<Pm>,
    /// Events that are counted.
    #[xml(child)]
    pub perf: Option<Perf>,
    /// Its devices.
    #[xml(child, always)]
    pub devices: Devices,
    /// Security labels.
    #[xml(child)]
    pub seclabel: Vec<SecLabel>,
    /// s390 key wrapping.
    #[xml(child)]
    pub keywrap: Option<KeyWrap>,
    /// Memory encryption.
    #[xml(child)]
    pub launch_security: Option<LaunchSecurity>,
    /// Elements of the hypervisors' own namespaces.
    #[xml(foreign)]
    pub extensions: Vec<XmlTree>,
}

/// `<genid>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct GenId {
    /// The identity; absent: one is drawn.
    #[xml(text, codec = Uuids)]
    pub id: Option<Uuid>,
}

impl DomainConfig {
    /// Reads a definition. Nothing is completed.
    ///
    /// # Errors
    /// All problems of the document, if one of them is an error.
    pub fn parse(text: &str, options: &ParseOptions) -> Result<Parsed<Self>, Problems> {
        Self::from_xml(text, options)
    }

    /// Prints the definition as it is, secrets left out, ending with a newline.
    #[must_use]
    pub fn to_xml(&self) -> String {
        self.to_xml_with(FormatOptions::new())
    }

    /// Prints the stored definition: without what describes a running guest alone.
    #[must_use]
    pub fn to_inactive_xml(&self) -> String {
        let mut stored = self.clone();
        stored.make_stored();
        stored.to_xml_with(FormatOptions::new().inactive())
    }

    /// The JSON Schema of the serde form.
    #[must_use]
    pub fn json_schema() -> polyvirt_xml::Schema {
        polyvirt_xml::schema::<Self>()
    }

    /// Sets the machine that boots.
    #[must_use]
    pub fn with_machine(mut self, kind: OsKind, arch: impl Into<String>, machine: impl Into<String>) -> Self {
        let os = self.os.get_or_insert_default();
        os.r#type = Some(OsType::default().with_kind(kind).with_arch(arch).with_machine(machine));
        self
    }

    /// Memory at boot with every memory device: what [`crate::complete`] stored or, before that, what follows from the
    /// cells. Zero if nothing says how much.
    #[must_use]
    pub fn memory_total(&self) -> Kib {
        match &self.memory {
            Some(memory) => memory.size,
            None => self.cells().iter().map(|cell| cell.memory).chain(self.device_memory()).sum(),
        }
    }

    /// The maximum number of vCPUs; one if nothing is said.
    #[must_use]
    pub fn vcpus_max(&self) -> u32 {
        self.vcpu.as_ref().and_then(|vcpu| vcpu.count).unwrap_or(1)
    }

    /// The number of vCPUs that are online at boot.
    #[must_use]
    pub fn vcpus_online(&self) -> u32 {
        let max = self.vcpus_max();
        if let Some(vcpus) = &self.vcpus {
            let off = vcpus.vcpu.iter().filter(|vcpu| vcpu.enabled == Some(false)).count();
            return max.saturating_sub(u32::try_from(off).unwrap_or(max));
        }
        self.vcpu.as_ref().and_then(|vcpu| vcpu.current).map_or(max, |current| current.min(max))
    }

    /// The guest's NUMA cells, as written.
    #[must_use]
    pub fn cells(&self) -> &[crate::cpu::Cell] {
        self.cpu.as_ref().and_then(|cpu| cpu.numa.as_ref()).map_or(&[], |numa| &numa.cell)
    }

    /// Sizes of memory devices.
    pub(crate) fn device_memory(&self) -> impl Iterator<Item = Kib> + '_ {
        self.devices.memories.iter().filter_map(|device| device.target.as_ref()?.size)
    }
}
