//! `<domain>`: a guest.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, FormatOptions, ParseOptions, Parsed, Problem, Problems, XmlTree, words};
use uuid::Uuid;

use crate::clock::Clock;
use crate::codec::Uuids;
use crate::cpu::Cpu;
use crate::devices::Devices;
use crate::disk::ThrottleGroups;
use crate::extensions::{
    BHYVE, BhyveCommandline, LXC, LxcNamespaces, QEMU, QemuCapabilities, QemuCommandline, QemuDeprecation,
    QemuOverride, VMWARE, XEN, XenCommandline,
};
use crate::features::Features;
use crate::memory::{MaxMemory, MemTune, Memory, MemoryBacking};
use crate::numatune::NumaTune;
use crate::os::{Os, Sysinfo};
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

/// `<domain>`: a guest as it was written or, after completion, as it is stored. Manual: Element and attribute overview.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "domain")]
#[non_exhaustive]
pub struct DomainConfig {
    /// The hypervisor that runs it.
    #[xml(attr, name = "type")]
    pub kind: DomainKind,
    /// Its number on this host.
    #[xml(attr, live)]
    pub id: Option<i32>,
    /// Its name, unique on the host. No `/`, no control characters, at most 200 bytes.
    #[xml(leaf)]
    pub name: String,
    /// Its identity, unique in the world; absent: one is drawn.
    #[xml(leaf, codec = Uuids)]
    pub uuid: Option<Uuid>,
    /// The hardware's identity that the guest sees, where it is not `uuid`.
    #[xml(leaf, codec = Uuids)]
    pub hwuuid: Option<Uuid>,
    /// What changes when the guest was copied or reverted. Manual: General metadata. Since 4.4.0.
    #[xml(child)]
    pub genid: Option<GenId>,
    /// A short description of one line. Since 0.9.10.
    #[xml(leaf)]
    pub title: Option<String>,
    /// A description for people; nothing reads it. Since 0.7.2.
    #[xml(leaf)]
    pub description: Option<String>,
    /// What applications keep with it: elements of their own namespaces, one for each namespace. Since 0.9.10.
    #[xml(tree)]
    pub metadata: Option<XmlTree>,
    /// How far memory hot-plug may go. Manual: Memory Allocation. Since 1.2.14.
    #[xml(child)]
    pub max_memory: Option<MaxMemory>,
    /// Its memory at boot, memory devices included; absent: the sum of the NUMA cells. Manual: Memory Allocation.
    #[xml(child)]
    pub memory: Option<Memory>,
    /// Its memory as far as the balloon leaves it; absent: all. Manual: Memory Allocation.
    #[xml(child)]
    pub current_memory: Option<Memory>,
    /// Weights and limits of block devices. Manual: Block I/O Tuning. Since 0.8.8.
    #[xml(child)]
    pub blkiotune: Option<BlkioTune>,
    /// Limits of memory. Manual: Memory Tuning.
    #[xml(child)]
    pub memtune: Option<MemTune>,
    /// What its memory is made of. Manual: Memory Backing.
    #[xml(child)]
    pub memory_backing: Option<MemoryBacking>,
    /// Its virtual CPUs. Manual: CPU Allocation.
    #[xml(child)]
    pub vcpu: Option<Vcpu>,
    /// The state of single vCPUs. Manual: CPU Allocation. Since 2.2.0.
    #[xml(child)]
    pub vcpus: Option<Vcpus>,
    /// How many I/O threads there are: event loops for disks, numbered from 1. Since 1.2.8.
    #[xml(leaf)]
    pub iothreads: Option<u32>,
    /// I/O threads with numbers of their own. Manual: IOThreads Allocation. Since 1.2.15.
    #[xml(child)]
    pub iothreadids: Option<IoThreadIds>,
    /// The main loop's worker threads. Manual: IOThreads Allocation. Since 8.5.0.
    #[xml(child)]
    pub defaultiothread: Option<DefaultIoThread>,
    /// Pins, shares, quotas. Manual: CPU Tuning. Since 0.9.0.
    #[xml(child)]
    pub cputune: Option<CpuTune>,
    /// Where its memory comes from. Manual: NUMA Node Tuning. Since 0.9.3.
    #[xml(child, once)]
    pub numatune: Option<NumaTune>,
    /// Where it stands among cgroups. Manual: Resource partitioning.
    #[xml(child)]
    pub resource: Option<Resource>,
    /// Limits of I/O that several disks share. Since 11.2.0.
    #[xml(child)]
    pub throttlegroups: Option<ThrottleGroups>,
    /// System information for the guest. Manual: SMBIOS System Information. Since 0.8.7.
    #[xml(child)]
    pub sysinfo: Vec<Sysinfo>,
    /// The path of a program on the host that picks the kernel of a paravirtual guest (pygrub, bhyveload).
    /// Since 0.1.0.
    #[xml(leaf)]
    pub bootloader: Option<String>,
    /// Arguments of `bootloader`. Since 0.2.3.
    #[xml(leaf, name = "bootloader_args")]
    pub bootloader_args: Option<String>,
    /// What it boots. Manual: Operating system booting.
    #[xml(child)]
    pub os: Option<Os>,
    /// Users of a container. Manual: Container boot.
    #[xml(child)]
    pub idmap: Option<IdMap>,
    /// What is switched on and off. Manual: Hypervisor features.
    #[xml(child)]
    pub features: Option<Features>,
    /// The CPU it sees, and its NUMA cells. Manual: CPU model and topology. Since 0.7.5.
    #[xml(child)]
    pub cpu: Option<Cpu>,
    /// What time it sees. Manual: Time keeping.
    #[xml(child)]
    pub clock: Option<Clock>,
    /// What happens when it switches itself off; absent: `destroy`.
    #[xml(leaf, name = "on_poweroff")]
    pub on_poweroff: Option<LifecycleAction>,
    /// What happens when it reboots; absent: `restart`.
    #[xml(leaf, name = "on_reboot")]
    pub on_reboot: Option<LifecycleAction>,
    /// What happens when it crashes; absent: `destroy`.
    #[xml(leaf, name = "on_crash")]
    pub on_crash: Option<LifecycleAction>,
    /// What happens when it loses a lock. Since 1.0.0.
    #[xml(leaf, name = "on_lockfailure")]
    pub on_lockfailure: Option<LockFailureAction>,
    /// Sleep states. Manual: Power Management. Since 0.10.2.
    #[xml(child)]
    pub pm: Option<Pm>,
    /// Events that are counted. Manual: Performance monitoring events. Since 2.0.0.
    #[xml(child)]
    pub perf: Option<Perf>,
    /// Its devices. Manual: Devices.
    #[xml(child, always)]
    pub devices: Devices,
    /// Security labels. Manual: Security label.
    #[xml(child)]
    pub seclabel: Vec<SecLabel>,
    /// s390 key wrapping. Manual: Key Wrap.
    #[xml(child)]
    pub keywrap: Option<KeyWrap>,
    /// Memory encryption. Manual: Launch Security. Since 4.4.0.
    #[xml(child)]
    pub launch_security: Option<LaunchSecurity>,
    /// QEMU: more arguments and variables.
    #[xml(child, name = "qemu:commandline", ns = QEMU)]
    pub qemu_commandline: Option<QemuCommandline>,
    /// QEMU: abilities that it is taken to have or to lack.
    #[xml(child, name = "qemu:capabilities", ns = QEMU)]
    pub qemu_capabilities: Option<QemuCapabilities>,
    /// QEMU: properties of devices.
    #[xml(child, name = "qemu:override", ns = QEMU)]
    pub qemu_override: Option<QemuOverride>,
    /// QEMU: what happens with what is deprecated.
    #[xml(child, name = "qemu:deprecation", ns = QEMU)]
    pub qemu_deprecation: Option<QemuDeprecation>,
    /// LXC: namespaces that are shared with others.
    #[xml(child, name = "lxc:namespace", ns = LXC)]
    pub lxc_namespace: Option<LxcNamespaces>,
    /// Xen: more arguments of the device model.
    #[xml(child, name = "xen:commandline", ns = XEN)]
    pub xen_commandline: Option<XenCommandline>,
    /// bhyve: more arguments and variables.
    #[xml(child, name = "bhyve:commandline", ns = BHYVE)]
    pub bhyve_commandline: Option<BhyveCommandline>,
    /// VMware: the data centre.
    #[xml(leaf, name = "vmware:datacenterpath", ns = VMWARE)]
    pub vmware_datacenterpath: Option<String>,
    /// Elements of other namespaces, as they are.
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
        // The only thing that can be wrong with another one as a whole is that it is there.
        let is_another = |path: &str| path.strip_prefix("/domain/numatune[").is_some_and(|rest| !rest.contains('/'));
        let numbered = |problem: Problem| if is_another(&problem.path) { problem.with_rule("P13") } else { problem };
        Self::from_xml(text, options).map_err(|problems| problems.into_iter().map(numbered).collect())
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

    /// The reference of the format in Markdown, from the tables: a list of sections.
    #[must_use]
    pub fn reference() -> String {
        polyvirt_xml::reference::<Self>(Self::ROOT)
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

    /// The `<target dev>` of the disk that goes by a name: its own, or the path of an image that no other has.
    ///
    /// # Errors
    /// There is none, or there are several; in words.
    pub fn disk_called(&self, name: &str) -> Result<&str, String> {
        let target = |disk: &'_ crate::disk::Disk| disk.target.as_ref().is_some_and(|target| target.dev == name);
        let image = |disk: &'_ crate::disk::Disk| {
            let source = disk.source.as_ref();
            source.is_some_and(|it| [&it.file, &it.dev].iter().any(|path| path.as_deref() == Some(name)))
        };
        let disks = &self.devices.disks;
        let found: Vec<&crate::disk::Disk> = match disks.iter().find(|disk| target(disk)) {
            Some(disk) => vec![disk],
            None => disks.iter().filter(|disk| image(disk)).collect(),
        };
        let names: Vec<&str> = found.iter().filter_map(|disk| Some(disk.target.as_ref()?.dev.as_str())).collect();
        match names.as_slice() {
            [one] => Ok(one),
            [] => Err(format!("the guest has no disk '{name}'")),
            many => Err(format!("'{name}' is the image of several disks, name one of {}", many.join(", "))),
        }
    }

    /// Sizes of memory devices, as written.
    pub fn device_memory(&self) -> impl Iterator<Item = Kib> + '_ {
        self.devices.memories.iter().filter_map(|device| device.target.as_ref()?.size)
    }
}
