//! Every device of a definition that can have a place, by list and number.

use polyvirt_core::model::{DomainConfig, address::DeviceInfo, devices::Devices, hostdev::Hostdev};

macro_rules! lists {
    ($($name:ident, $element:literal, $list:ident;)*) => {
        /// The lists, in the order in which devices get channel numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum List {
            $($name,)*
            Hostdev,
        }

        impl Device {
            /// Its element's name, and how many there are.
            fn element(self, devices: &Devices) -> (&'static str, usize) {
                match self.list {
                    $(List::$name => ($element, devices.$list.as_slice().len()),)*
                    List::Hostdev => ("hostdev", devices.hostdevs.len()),
                }
            }

            /// Name and address.
            pub(super) fn info(self, devices: &Devices) -> Option<&DeviceInfo> {
                match self.list {
                    $(List::$name => devices.$list.as_slice().get(self.index).map(|it| &it.info),)*
                    List::Hostdev => devices.hostdevs.get(self.index).map(Hostdev::info),
                }
            }

            /// Name and address, to be changed.
            pub(super) fn info_mut(self, devices: &mut Devices) -> Option<&mut DeviceInfo> {
                match self.list {
                    $(List::$name => devices.$list.as_mut_slice().get_mut(self.index).map(|it| &mut it.info),)*
                    List::Hostdev => devices.hostdevs.get_mut(self.index).map(Hostdev::info_mut),
                }
            }
        }
    };
}

lists! {
    Disk, "disk", disks;
    Interface, "interface", interfaces;
    Sound, "sound", sounds;
    Video, "video", videos;
    Controller, "controller", controllers;
    Smartcard, "smartcard", smartcards;
    Serial, "serial", serials;
    Parallel, "parallel", parallels;
    Channel, "channel", channels;
    Console, "console", consoles;
    Input, "input", inputs;
    Filesystem, "filesystem", filesystems;
    RedirDev, "redirdev", redirdevs;
    Balloon, "memballoon", memballoon;
    Rng, "rng", rngs;
    Watchdog, "watchdog", watchdogs;
    Nvram, "nvram", nvram;
    Hub, "hub", hubs;
    Shmem, "shmem", shmems;
    Panic, "panic", panics;
    Memory, "memory", memories;
    Vsock, "vsock", vsock;
    Iommu, "iommu", iommu;
    Tpm, "tpm", tpms;
    Crypto, "crypto", cryptos;
    Pstore, "pstore", pstore;
}

/// The order in which devices get channel numbers (s390) and in which given places are looked at.
const ORDER: &[List] = &[
    List::Disk,
    List::Interface,
    List::Sound,
    List::Hostdev,
    List::Video,
    List::Controller,
    List::Smartcard,
    List::Serial,
    List::Parallel,
    List::Channel,
    List::Console,
    List::Input,
    List::Filesystem,
    List::RedirDev,
    List::Balloon,
    List::Rng,
    List::Watchdog,
    List::Nvram,
    List::Hub,
    List::Shmem,
    List::Panic,
    List::Memory,
    List::Vsock,
    List::Iommu,
    List::Tpm,
    List::Crypto,
    List::Pstore,
];

/// One device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) list: List,
    pub(super) index: usize,
}

impl Device {
    /// Its place in the document.
    pub(super) fn path(self, devices: &Devices) -> String {
        match self.element(devices) {
            (name, 1) => format!("/domain/devices/{name}"),
            (name, _) => format!("/domain/devices/{name}[{}]", self.index + 1),
        }
    }
}

/// All devices of one list.
pub(super) fn of(config: &DomainConfig, list: List) -> impl Iterator<Item = Device> + use<> {
    let (_, count) = Device { list, index: 0 }.element(&config.devices);
    (0..count).map(move |index| Device { list, index })
}

/// All devices.
pub(super) fn all(config: &DomainConfig) -> Vec<Device> {
    ORDER.iter().flat_map(|list| of(config, *list)).collect()
}
