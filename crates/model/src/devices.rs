//! `<devices>`, in the order in which libvirt prints them.

use std::fmt;

use polyvirt_xml::Element;

use crate::address::DeviceInfo;
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
    /// File systems. Manual: Filesystems. Since 0.3.3.
    #[xml(child, name = "filesystem")]
    pub filesystems: Vec<Filesystem>,
    /// Network cards. Manual: Network interfaces.
    #[xml(child, name = "interface")]
    pub interfaces: Vec<Interface>,
    /// Smart card readers. Manual: Smartcard devices. Since 0.8.8.
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
    /// TPMs. Manual: TPM device. Since 1.0.5.
    #[xml(child, name = "tpm")]
    pub tpms: Vec<Tpm>,
    /// How screens are shown. Manual: Graphical framebuffers.
    #[xml(child)]
    pub graphics: Vec<Graphics>,
    /// Sound devices. Manual: Sound devices. Since 0.4.3.
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
    /// Watchdogs. Manual: Watchdog device. Since 0.7.3.
    #[xml(child, name = "watchdog")]
    pub watchdogs: Vec<Watchdog>,
    /// The balloon. Manual: Memory balloon device. Since 0.8.3.
    #[xml(child)]
    pub memballoon: Option<MemBalloon>,
    /// Sources of entropy. Manual: Random number generator device. Since 1.0.3.
    #[xml(child, name = "rng")]
    pub rngs: Vec<Rng>,
    /// pSeries' NVRAM. Manual: NVRAM device. Since 1.0.5.
    #[xml(child)]
    pub nvram: Option<NvramDevice>,
    /// Crash notifiers. Manual: panic device. Since 1.2.1.
    #[xml(child, name = "panic")]
    pub panics: Vec<Panic>,
    /// Memory shared between guests. Manual: Shared memory device. Since 1.2.10.
    #[xml(child, name = "shmem")]
    pub shmems: Vec<Shmem>,
    /// Memory devices. Manual: Memory devices. Since 1.2.14.
    #[xml(child, name = "memory")]
    pub memories: Vec<MemoryDevice>,
    /// IOMMUs. Manual: IOMMU devices. Since 2.1.0.
    #[xml(child)]
    pub iommu: Vec<Iommu>,
    /// The vsock. Manual: Vsock. Since 4.4.0.
    #[xml(child)]
    pub vsock: Option<Vsock>,
    /// Crypto devices.
    #[xml(child, name = "crypto")]
    pub cryptos: Vec<Crypto>,
    /// Crash records.
    #[xml(child)]
    pub pstore: Option<Pstore>,
}

/// Where a device stands in the document: the name of its element, how many of the name there are, and which it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    name: &'static str,
    count: usize,
    index: usize,
}

/// `/domain/devices/disk[2]`. Rules write it where one of them is broken, and nowhere else: most never are.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, count, index } = *self;
        if count == 1 {
            write!(f, "/domain/devices/{name}")
        } else {
            write!(f, "/domain/devices/{name}[{}]", index + 1)
        }
    }
}

impl Place {
    pub(crate) const fn new(name: &'static str, count: usize, index: usize) -> Self {
        Self { name, count, index }
    }

    /// As text.
    pub(crate) fn path(self) -> String {
        self.to_string()
    }

    /// The first console can be the first serial port once more, with its name and address.
    pub(crate) fn is_first_console(self) -> bool {
        self.name == "console" && self.index == 0
    }
}

impl Devices {
    /// Every device that can have a name, an address and a place in the boot order, and where it stands.
    pub(crate) fn infos(&self) -> Vec<(Place, &DeviceInfo)> {
        macro_rules! lists {
            ($($name:literal: $list:ident),* $(,)?) => {{
                let mut out = Vec::with_capacity(self.hostdevs.len() $(+ self.$list.as_slice().len())*);
                $(
                    let count = self.$list.as_slice().len();
                    for (index, device) in self.$list.as_slice().iter().enumerate() {
                        out.push((Place { name: $name, count, index }, &device.info));
                    }
                )*
                out
            }};
        }
        let mut out = lists!(
            "disk": disks, "controller": controllers, "filesystem": filesystems, "interface": interfaces,
            "smartcard": smartcards, "serial": serials, "parallel": parallels, "console": consoles,
            "channel": channels, "input": inputs, "tpm": tpms, "sound": sounds, "video": videos,
            "redirdev": redirdevs, "hub": hubs, "watchdog": watchdogs, "memballoon": memballoon, "rng": rngs,
            "nvram": nvram, "panic": panics, "shmem": shmems, "memory": memories, "iommu": iommu, "vsock": vsock,
            "crypto": cryptos, "pstore": pstore,
        );
        let count = self.hostdevs.len();
        let places = (0..count).map(|index| Place { name: "hostdev", count, index });
        out.extend(places.zip(self.hostdevs.iter().map(crate::hostdev::Hostdev::info)));
        out
    }
}
