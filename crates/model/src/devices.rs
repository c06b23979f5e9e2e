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
    /// Disks.
    #[xml(child, name = "disk")]
    pub disks: Vec<Disk>,
    /// Controllers.
    #[xml(child, name = "controller")]
    pub controllers: Vec<Controller>,
    /// Locks.
    #[xml(child, name = "lease")]
    pub leases: Vec<Lease>,
    /// File systems.
    #[xml(child, name = "filesystem")]
    pub filesystems: Vec<Filesystem>,
    /// Network cards.
    #[xml(child, name = "interface")]
    pub interfaces: Vec<Interface>,
    /// Smart card readers.
    #[xml(child, name = "smartcard")]
    pub smartcards: Vec<Smartcard>,
    /// Serial ports.
    #[xml(child, name = "serial")]
    pub serials: Vec<Serial>,
    /// Parallel ports.
    #[xml(child, name = "parallel")]
    pub parallels: Vec<Parallel>,
    /// Consoles.
    #[xml(child, name = "console")]
    pub consoles: Vec<Console>,
    /// Channels.
    #[xml(child, name = "channel")]
    pub channels: Vec<Channel>,
    /// Input devices.
    #[xml(child, name = "input")]
    pub inputs: Vec<Input>,
    /// TPMs.
    #[xml(child, name = "tpm")]
    pub tpms: Vec<Tpm>,
    /// How screens are shown.
    #[xml(child)]
    pub graphics: Vec<Graphics>,
    /// Sound devices.
    #[xml(child, name = "sound")]
    pub sounds: Vec<Sound>,
    /// Where sound goes.
    #[xml(child, name = "audio")]
    pub audios: Vec<Audio>,
    /// Video devices.
    #[xml(child, name = "video")]
    pub videos: Vec<Video>,
    /// Devices of the host.
    #[xml(child, name = "hostdev")]
    pub hostdevs: Vec<Hostdev>,
    /// USB devices of the client.
    #[xml(child, name = "redirdev")]
    pub redirdevs: Vec<RedirDev>,
    /// Which of them are allowed.
    #[xml(child)]
    pub redirfilter: Option<RedirFilter>,
    /// Hubs.
    #[xml(child, name = "hub")]
    pub hubs: Vec<Hub>,
    /// Watchdogs.
    #[xml(child, name = "watchdog")]
    pub watchdogs: Vec<Watchdog>,
    /// The balloon.
    #[xml(child)]
    pub memballoon: Option<MemBalloon>,
    /// Sources of entropy.
    #[xml(child, name = "rng")]
    pub rngs: Vec<Rng>,
    /// pSeries' NVRAM.
    #[xml(child)]
    pub nvram: Option<NvramDevice>,
    /// Crash notifiers.
    #[xml(child, name = "panic")]
    pub panics: Vec<Panic>,
    /// Memory shared between guests.
    #[xml(child, name = "shmem")]
    pub shmems: Vec<Shmem>,
    /// Memory devices.
    #[xml(child, name = "memory")]
    pub memories: Vec<MemoryDevice>,
    /// IOMMUs.
    #[xml(child)]
    pub iommu: Vec<Iommu>,
    /// The vsock.
    #[xml(child)]
    pub vsock: Option<Vsock>,
    /// Crypto devices.
    #[xml(child, name = "crypto")]
    pub cryptos: Vec<Crypto>,
    /// Crash records.
    #[xml(child)]
    pub pstore: Option<Pstore>,
}
