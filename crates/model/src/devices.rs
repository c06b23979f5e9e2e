//! `<devices>`, in the order in which libvirt prints them.

use polyvirt_xml::Element;

use crate::chardev::{Channel, Console, Parallel, RedirDev, RedirFilter, Serial, Smartcard};
use crate::controller::Controller;
use crate::disk::Disk;
use crate::display::{Audio, Graphics, Input, Sound, Video};
use crate::filesystem::Filesystem;
use crate::hostdev::{Hostdev, Lease};
use crate::interface::Interface;
use crate::memory_device::MemoryDevice;
use crate::misc::{Crypto, Hub, Iommu, MemBalloon, NvramDevice, Panic, Pstore, Rng, Shmem, Tpm, Vsock, Watchdog};

/// `<devices>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Devices {
    /// The program that runs the guest.
    #[xml(leaf)]
    pub emulator: Option<String>,
    /// Disks. Manual: Hard drives, floppy disks, CDROMs.
    #[xml(child, name = "disk")]
    pub disks: Vec<Disk>,
    /// Controllers. Manual: Controllers.
    #[xml(child, name = "controller")]
    pub controllers: Vec<Controller>,
    /// Locks. Manual: Device leases.
    #[xml(child, name = "lease")]
    pub leases: Vec<Lease>,
    /// File systems. Manual: Filesystems.
    #[xml(child, name = "filesystem")]
    pub filesystems: Vec<Filesystem>,
    /// Network cards. Manual: Network interfaces.
    #[xml(child, name = "interface")]
    pub interfaces: Vec<Interface>,
    /// Smart card readers. Manual: Smartcard devices.
    #[xml(child, name = "smartcard")]
    pub smartcards: Vec<Smartcard>,
    /// Serial ports. Manual: Consoles, serial, parallel & channel devices.
    #[xml(child, name = "serial")]
    pub serials: Vec<Serial>,
    /// Parallel ports. Manual: Consoles, serial, parallel & channel devices.
    #[xml(child, name = "parallel")]
    pub parallels: Vec<Parallel>,
    /// Consoles. Manual: Consoles, serial, parallel & channel devices.
    #[xml(child, name = "console")]
    pub consoles: Vec<Console>,
    /// Channels. Manual: Consoles, serial, parallel & channel devices.
    #[xml(child, name = "channel")]
    pub channels: Vec<Channel>,
    /// Input devices. Manual: Input devices.
    #[xml(child, name = "input")]
    pub inputs: Vec<Input>,
    /// TPMs. Manual: TPM device.
    #[xml(child, name = "tpm")]
    pub tpms: Vec<Tpm>,
    /// How screens are shown. Manual: Graphical framebuffers.
    #[xml(child)]
    pub graphics: Vec<Graphics>,
    /// Sound devices. Manual: Sound devices.
    #[xml(child, name = "sound")]
    pub sounds: Vec<Sound>,
    /// Where sound goes. Manual: Audio backends.
    #[xml(child, name = "audio")]
    pub audios: Vec<Audio>,
    /// Video devices. Manual: Video devices.
    #[xml(child, name = "video")]
    pub videos: Vec<Video>,
    /// Devices of the host. Manual: Host device assignment.
    #[xml(child, name = "hostdev")]
    pub hostdevs: Vec<Hostdev>,
    /// USB devices of the client. Manual: Redirected devices.
    #[xml(child, name = "redirdev")]
    pub redirdevs: Vec<RedirDev>,
    /// Which of them are allowed. Manual: Redirected devices.
    #[xml(child)]
    pub redirfilter: Option<RedirFilter>,
    /// Hubs. Manual: Hub devices.
    #[xml(child, name = "hub")]
    pub hubs: Vec<Hub>,
    /// Watchdogs. Manual: Watchdog device.
    #[xml(child, name = "watchdog")]
    pub watchdogs: Vec<Watchdog>,
    /// The balloon. Manual: Memory balloon device.
    #[xml(child)]
    pub memballoon: Option<MemBalloon>,
    /// Sources of entropy. Manual: Random number generator device.
    #[xml(child, name = "rng")]
    pub rngs: Vec<Rng>,
    /// pSeries' NVRAM. Manual: NVRAM device.
    #[xml(child)]
    pub nvram: Option<NvramDevice>,
    /// Crash notifiers. Manual: panic device.
    #[xml(child, name = "panic")]
    pub panics: Vec<Panic>,
    /// Memory shared between guests. Manual: Shared memory device.
    #[xml(child, name = "shmem")]
    pub shmems: Vec<Shmem>,
    /// Memory devices. Manual: Memory devices.
    #[xml(child, name = "memory")]
    pub memories: Vec<MemoryDevice>,
    /// IOMMUs. Manual: IOMMU devices.
    #[xml(child)]
    pub iommu: Vec<Iommu>,
    /// The vsock. Manual: Vsock.
    #[xml(child)]
    pub vsock: Option<Vsock>,
    /// Crypto devices.
    #[xml(child, name = "crypto")]
    pub cryptos: Vec<Crypto>,
    /// Crash records.
    #[xml(child)]
    pub pstore: Option<Pstore>,
}
