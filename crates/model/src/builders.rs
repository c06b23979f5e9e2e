//! Guests described in Rust: small constructors for what most guests have.
//!
//! Everything can be described with what every type has: `new(…)` where something is required, `Default` elsewhere, and `with_…`
//! for each field, which sets it or, of a list, adds to it. What is here says the frequent things in fewer words, and nothing else: no
//! constructor fills in what was not said. [`crate::complete`] does that, for built and parsed definitions alike.
//!
//! A guest with four vCPUs wherever the placement engine finds room for them and their memory:
//!
//! ```
//! use polyvirt_model::chardev::Serial;
//! use polyvirt_model::disk::Disk;
//! use polyvirt_model::interface::Interface;
//! use polyvirt_model::os::Os;
//! use polyvirt_model::storage::ImageFormat;
//! use polyvirt_model::vcpu::Vcpu;
//! use polyvirt_model::{DomainConfig, DomainKind, Kib};
//!
//! let guest = DomainConfig::new(DomainKind::Kvm, "web")
//!     .with_memory(Kib::from_gib(4))
//!     .with_vcpu(Vcpu::of(4).auto())
//!     .with_os(Os::hvm("x86_64", "q35"))
//!     .with_device(Disk::file("/images/web.qcow2", "vda").with_format(ImageFormat::Qcow2))
//!     .with_device(Interface::network("default").with_model("virtio"))
//!     .with_device(Serial::pty());
//! assert!(guest.to_xml().contains("<vcpu placement='auto'>4</vcpu>"));
//! ```
//!
//! Two NUMA cells, each with memory of a host node of its own:
//!
//! ```
//! use polyvirt_model::cpu::{Cell, Cpu};
//! use polyvirt_model::numatune::{MemNode, NumaTune};
//! use polyvirt_model::vcpu::Vcpu;
//! use polyvirt_model::{DomainConfig, DomainKind, Kib, MemMode, NodeSet, VcpuSet};
//!
//! let guest = DomainConfig::new(DomainKind::Kvm, "db")
//!     .with_vcpu(Vcpu::of(8))
//!     .with_cpu(
//!         Cpu::host_passthrough()
//!             .with_cell(Cell::new(Kib::from_gib(8)).with_cpus(VcpuSet::of_range(0, 3)))
//!             .with_cell(Cell::new(Kib::from_gib(8)).with_cpus(VcpuSet::of_range(4, 7))),
//!     )
//!     .with_numatune(
//!         NumaTune::on(MemMode::Strict, NodeSet::of_range(0, 1))
//!             .with_memnode(MemNode::on(0, MemMode::Strict, NodeSet::of(0)))
//!             .with_memnode(MemNode::on(1, MemMode::Strict, NodeSet::of(1))),
//!     );
//! assert_eq!(guest.cells().len(), 2);
//! ```

use polyvirt_numa_placement::rules::{MemoryPlacement, VcpuPlacement};
use polyvirt_numa_placement::{MemMode, NodeSet};

use crate::chardev::{
    Channel, ChannelTarget, ChannelTargetType, CharBackend, CharEndpoint, CharMode, CharSource, Console, Parallel,
    RedirDev, Serial, Smartcard,
};
use crate::controller::Controller;
use crate::cpu::{Cell, Cpu, CpuMode, CpuModel};
use crate::devices::Devices;
use crate::disk::{Disk, DiskDevice, DiskDriver, DiskTarget};
use crate::display::{Audio, Graphics, GraphicsKind, Input, Sound, Video, VideoModel, VideoType};
use crate::domain::DomainConfig;
use crate::filesystem::{Filesystem, FilesystemDriver, FilesystemDriverType, FilesystemSource, FilesystemTarget};
use crate::hostdev::{Hostdev, HostdevMode, HostdevOptions, Lease, PciHostdev, PciSource};
use crate::interface::{Interface, InterfaceKind, InterfaceModel, InterfaceSource};
use crate::memory_device::MemoryDevice;
use crate::misc::{
    Crypto, Hub, Iommu, MemBalloon, Panic, Pstore, Rng, RngBackend, RngModel, Shmem, Tpm, Vsock, Watchdog,
};
use crate::numatune::{MemNode, NumaMemory, NumaTune};
use crate::os::{Os, OsKind, OsType};
use crate::storage::{ImageFormat, Source, SourceKind};
use crate::vcpu::Vcpu;

/// What a guest can have below `<devices>`, for [`DomainConfig::with_device`].
pub trait Device: sealed::Sealed {
    /// Adds it. Of what a guest has one, it replaces that.
    fn add_to(self, devices: &mut Devices);
}

mod sealed {
    /// Only the types of this crate are devices.
    pub trait Sealed {}
}

macro_rules! devices {
    ($($device:ty => $setter:ident),* $(,)?) => {$(
        impl sealed::Sealed for $device {}
        impl Device for $device {
            fn add_to(self, devices: &mut Devices) {
                *devices = std::mem::take(devices).$setter(self);
            }
        }
    )*};
}

devices!(
    Disk => with_disks, Controller => with_controllers, Lease => with_leases, Filesystem => with_filesystems,
    Interface => with_interfaces, Smartcard => with_smartcards, Serial => with_serials, Parallel => with_parallels,
    Console => with_consoles, Channel => with_channels, Input => with_inputs, Tpm => with_tpms,
    Graphics => with_graphics, Sound => with_sounds, Audio => with_audios, Video => with_videos,
    Hostdev => with_hostdevs, RedirDev => with_redirdevs, Hub => with_hubs, Watchdog => with_watchdogs,
    MemBalloon => with_memballoon, Rng => with_rngs, Panic => with_panics, Shmem => with_shmems,
    MemoryDevice => with_memories, Iommu => with_iommu, Vsock => with_vsock, Crypto => with_cryptos,
    Pstore => with_pstore,
);

impl DomainConfig {
    /// Adds a device. Of what a guest has one (balloon, vsock, pstore), it replaces that.
    ///
    /// ```
    /// use polyvirt_model::{DomainConfig, DomainKind, disk::Disk, chardev::Serial};
    ///
    /// let guest = DomainConfig::new(DomainKind::Kvm, "a").with_device(Disk::block("/dev/vg/a", "vda")).with_device(Serial::pty());
    /// assert_eq!((guest.devices.disks.len(), guest.devices.serials.len()), (1, 1));
    /// ```
    #[must_use]
    pub fn with_device(mut self, device: impl Device) -> Self {
        device.add_to(&mut self.devices);
        self
    }
}

impl Vcpu {
    /// So many vCPUs, all online.
    #[must_use]
    pub fn of(count: u32) -> Self {
        Self::default().with_count(count)
    }

    /// The placement engine decides where they run.
    ///
    /// ```
    /// use polyvirt_model::{DomainConfig, DomainKind, vcpu::Vcpu};
    ///
    /// let guest = DomainConfig::new(DomainKind::Kvm, "a").with_vcpu(Vcpu::of(4).auto());
    /// assert!(guest.to_xml().contains("<vcpu placement='auto'>4</vcpu>"));
    /// ```
    #[must_use]
    pub fn auto(self) -> Self {
        self.with_placement(VcpuPlacement::Auto)
    }
}

impl NumaTune {
    /// Memory comes from where the placement engine says.
    #[must_use]
    pub fn auto(mode: MemMode) -> Self {
        Self::default().with_memory(NumaMemory::default().with_mode(mode).with_placement(MemoryPlacement::Auto))
    }

    /// Memory comes from these host nodes.
    ///
    /// ```
    /// use polyvirt_model::numatune::NumaTune;
    /// use polyvirt_model::{DomainConfig, DomainKind, MemMode, NodeSet};
    ///
    /// let numatune = NumaTune::on(MemMode::Interleave, "0-3,^1".parse::<NodeSet>()?);
    /// let guest = DomainConfig::new(DomainKind::Kvm, "a").with_numatune(numatune);
    /// assert!(guest.to_xml().contains("<memory mode='interleave' nodeset='0,2-3'/>"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on(mode: MemMode, nodes: NodeSet) -> Self {
        Self::default().with_memory(NumaMemory::default().with_mode(mode).with_nodeset(nodes))
    }
}

impl MemNode {
    /// Memory of a guest cell comes from these host nodes.
    #[must_use]
    pub fn on(cell: u32, mode: MemMode, nodes: NodeSet) -> Self {
        Self::default().with_cellid(cell).with_mode(mode).with_nodeset(nodes)
    }
}

impl Cpu {
    /// The host's CPU as it is.
    #[must_use]
    pub fn host_passthrough() -> Self {
        Self::default().with_mode(CpuMode::HostPassthrough)
    }

    /// The host's CPU, as far as it can be described.
    #[must_use]
    pub fn host_model() -> Self {
        Self::default().with_mode(CpuMode::HostModel)
    }

    /// A CPU by the name of its model.
    #[must_use]
    pub fn named(model: impl Into<String>) -> Self {
        Self::default().with_mode(CpuMode::Custom).with_model(CpuModel::default().with_name(model))
    }

    /// Adds a NUMA cell. Cells are numbered in order.
    ///
    /// ```
    /// use polyvirt_model::cpu::{Cell, Cpu};
    /// use polyvirt_model::{Kib, VcpuSet};
    ///
    /// let cpu = Cpu::host_model()
    ///     .with_cell(Cell::new(Kib::from_gib(2)).with_cpus(VcpuSet::of_range(0, 3)))
    ///     .with_cell(Cell::new(Kib::from_gib(16)));
    /// assert_eq!(cpu.numa.unwrap().cell[1].cpus, None, "memory only");
    /// ```
    #[must_use]
    pub fn with_cell(mut self, cell: Cell) -> Self {
        self.numa.get_or_insert_default().cell.push(cell);
        self
    }
}

impl Os {
    /// A machine that boots like a real one.
    #[must_use]
    pub fn hvm(arch: impl Into<String>, machine: impl Into<String>) -> Self {
        Self::default().with_type(OsType::default().with_kind(OsKind::Hvm).with_arch(arch).with_machine(machine))
    }

    /// A container whose first process is this program.
    #[must_use]
    pub fn container(init: impl Into<String>) -> Self {
        Self::default().with_type(OsType::default().with_kind(OsKind::Exe)).with_init(init)
    }
}

impl Disk {
    /// A disk with its data in a file of the host. `target` is `vda` for virtio, `sda` for SCSI, …
    ///
    /// ```
    /// use polyvirt_model::disk::Disk;
    /// use polyvirt_model::storage::ImageFormat;
    ///
    /// let disk = Disk::file("/images/a.qcow2", "vda").with_format(ImageFormat::Qcow2).with_serial("a-1");
    /// assert_eq!(disk.source.unwrap().file.as_deref(), Some("/images/a.qcow2"));
    /// ```
    #[must_use]
    pub fn file(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self::at(SourceKind::File, Source::default().with_file(path), target)
    }

    /// A disk on a block device of the host.
    #[must_use]
    pub fn block(device: impl Into<String>, target: impl Into<String>) -> Self {
        Self::at(SourceKind::Block, Source::default().with_dev(device), target)
    }

    /// A CD-ROM drive with an image in it.
    #[must_use]
    pub fn cdrom(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self::file(path, target).with_device(DiskDevice::Cdrom).with_readonly(true)
    }

    /// Sets the format of the image.
    #[must_use]
    pub fn with_format(mut self, format: ImageFormat) -> Self {
        let driver: &mut DiskDriver = self.driver.get_or_insert_default();
        driver.kind = Some(format);
        self
    }

    fn at(kind: SourceKind, source: Source, target: impl Into<String>) -> Self {
        Self::default().with_kind(kind).with_source(source).with_target(DiskTarget::new(target))
    }
}

impl Filesystem {
    /// A directory of the host that the guest mounts by `tag` through virtiofs.
    #[must_use]
    pub fn virtiofs(directory: impl Into<String>, tag: impl Into<String>) -> Self {
        Self::default()
            .with_driver(FilesystemDriver::default().with_kind(FilesystemDriverType::Virtiofs))
            .with_source(FilesystemSource::default().with_dir(directory))
            .with_target(FilesystemTarget::new(tag))
    }
}

impl From<&str> for InterfaceModel {
    fn from(model: &str) -> Self {
        Self::new(model)
    }
}

impl Interface {
    /// A card on a virtual network.
    ///
    /// ```
    /// use polyvirt_model::interface::{Interface, Mac};
    ///
    /// let card = Interface::network("default").with_model("virtio").with_mac(Mac::new([0x52, 0x54, 0, 1, 2, 3]));
    /// assert_eq!(card.mac.unwrap().address.to_string(), "52:54:00:01:02:03");
    /// ```
    #[must_use]
    pub fn network(name: impl Into<String>) -> Self {
        Self::to(InterfaceKind::Network, InterfaceSource::default().with_network(name))
    }

    /// A card on a bridge of the host.
    #[must_use]
    pub fn bridge(name: impl Into<String>) -> Self {
        Self::to(InterfaceKind::Bridge, InterfaceSource::default().with_bridge(name))
    }

    /// A card whose packets leave through the hypervisor's own process, which needs no privileges.
    #[must_use]
    pub fn user() -> Self {
        Self::default().with_kind(InterfaceKind::User)
    }

    fn to(kind: InterfaceKind, source: InterfaceSource) -> Self {
        Self::default().with_kind(kind).with_source(source)
    }
}

impl CharSource {
    fn path(path: impl Into<String>) -> Self {
        Self::default().with_source(CharEndpoint::default().with_path(path))
    }

    fn listen(path: impl Into<String>) -> Self {
        Self::default().with_source(CharEndpoint::default().with_mode(CharMode::Bind).with_path(path))
    }
}

impl Serial {
    /// A serial port on a pseudo-terminal.
    #[must_use]
    pub fn pty() -> Self {
        Self::default().with_kind(CharBackend::Pty)
    }

    /// A serial port whose output is written to a file.
    ///
    /// ```
    /// use polyvirt_model::{DomainConfig, DomainKind, chardev::Serial};
    ///
    /// let guest = DomainConfig::new(DomainKind::Kvm, "a").with_device(Serial::file("/var/log/a.log"));
    /// assert!(guest.to_xml().contains("<serial type='file'>\n      <source path='/var/log/a.log'/>"));
    /// ```
    #[must_use]
    pub fn file(path: impl Into<String>) -> Self {
        Self::default().with_kind(CharBackend::File).with_backend(CharSource::path(path))
    }

    /// A serial port on a socket to which others connect.
    #[must_use]
    pub fn unix(path: impl Into<String>) -> Self {
        Self::default().with_kind(CharBackend::Unix).with_backend(CharSource::listen(path))
    }
}

impl Console {
    /// A console on a pseudo-terminal.
    #[must_use]
    pub fn pty() -> Self {
        Self::default().with_kind(CharBackend::Pty)
    }
}

impl Channel {
    /// The channel of the QEMU guest agent, on a socket whose path the driver picks.
    #[must_use]
    pub fn guest_agent() -> Self {
        let target = ChannelTarget::default().with_kind(ChannelTargetType::Virtio).with_name("org.qemu.guest_agent.0");
        Self::default().with_kind(CharBackend::Unix).with_target(target)
    }
}

impl Graphics {
    /// A VNC server on a port that is free at start.
    #[must_use]
    pub fn vnc() -> Self {
        Self::default().with_kind(GraphicsKind::Vnc).with_autoport(true)
    }
}

impl Video {
    /// A video device.
    #[must_use]
    pub fn of(kind: VideoType) -> Self {
        Self::default().with_model(VideoModel::default().with_kind(kind))
    }
}

impl Rng {
    /// Entropy from a device of the host, `/dev/urandom`.
    #[must_use]
    pub fn random(device: impl Into<String>) -> Self {
        Self::default().with_backend(RngBackend::default().with_model(RngModel::Random).with_path(device))
    }
}

impl Hostdev {
    /// A PCI function of the host, taken from its driver at start and given back at the end.
    ///
    /// ```
    /// use polyvirt_model::{DomainConfig, DomainKind, address::PciAddress, hostdev::Hostdev};
    ///
    /// let gpu = Hostdev::pci(PciAddress::at(0, 0x65, 0, 0));
    /// let xml = DomainConfig::new(DomainKind::Kvm, "a").with_device(gpu).to_xml();
    /// assert!(xml.contains("<address domain='0x0000' bus='0x65' slot='0x00' function='0x0'/>"));
    /// ```
    #[must_use]
    pub fn pci(address: crate::address::PciAddress) -> Self {
        let options = HostdevOptions::default().with_mode(HostdevMode::Subsystem).with_managed(true);
        let source = PciSource::default().with_address(address);
        PciHostdev::default().with_options(options).with_source(source).into()
    }
}
