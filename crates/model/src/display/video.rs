//! `<video>`: what draws the guest's screen.

use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioOptions};

/// `<video>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Video {
    /// How the hypervisor serves it.
    #[xml(child)]
    pub driver: Option<VideoDriver>,
    /// The device.
    #[xml(child)]
    pub model: Option<VideoModel>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// Who draws the picture of a video device.
    pub enum VideoBackend { Qemu = "qemu", VhostUser = "vhostuser" }
}
words! {
    /// How bhyve decodes VGA.
    pub enum VgaConf { Io = "io", On = "on", Off = "off" }
}

/// `<driver>` of `<video>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VideoDriver {
    /// Whether QEMU itself or a vhost-user process draws; absent: QEMU. Since 5.8.0.
    #[xml(attr)]
    pub name: Option<VideoBackend>,
    /// bhyve: how VGA is decoded. Since 3.5.0.
    #[xml(attr)]
    pub vgaconf: Option<VgaConf>,
    /// Options of virtio.
    #[xml(group)]
    pub virtio: VirtioOptions,
}

words! {
    /// Video devices.
    pub enum VideoType {
        Default = "default", Vga = "vga", Cirrus = "cirrus", Vmvga = "vmvga", Xen = "xen", Vbox = "vbox",
        Qxl = "qxl", Parallels = "parallels", Virtio = "virtio", Gop = "gop", None = "none", Bochs = "bochs",
        Ramfb = "ramfb",
    }
}

/// `<model>` of `<video>`; sizes in KiB.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VideoModel {
    /// The device.
    #[xml(attr, name = "type")]
    pub kind: Option<VideoType>,
    /// QXL: the first memory bar. Since 1.0.2.
    #[xml(attr)]
    pub ram: Option<u32>,
    /// Video memory.
    #[xml(attr)]
    pub vram: Option<u32>,
    /// QXL: the second memory bar for 64-bit guests. Since 1.3.3.
    #[xml(attr)]
    pub vram64: Option<u32>,
    /// QXL: the frame buffer. Since 1.2.11.
    #[xml(attr)]
    pub vgamem: Option<u32>,
    /// Screens.
    #[xml(attr)]
    pub heads: Option<u32>,
    /// Whether it is the first device. Since 1.0.2.
    #[xml(attr, yesno)]
    pub primary: Option<bool>,
    /// Whether blobs are used.
    #[xml(attr, onoff)]
    pub blob: Option<bool>,
    /// Whether EDID is offered.
    #[xml(attr, onoff)]
    pub edid: Option<bool>,
    /// Acceleration.
    #[xml(child)]
    pub acceleration: Option<Acceleration>,
    /// The resolution. Since 5.9.0.
    #[xml(child)]
    pub resolution: Option<Resolution>,
}

/// `<acceleration>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Acceleration {
    /// In two dimensions.
    #[xml(attr, yesno)]
    pub accel2d: Option<bool>,
    /// In three dimensions.
    #[xml(attr, yesno)]
    pub accel3d: Option<bool>,
    /// The device that renders. Since 5.8.0.
    #[xml(attr)]
    pub rendernode: Option<String>,
}

/// `<resolution>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Resolution {
    /// Columns.
    #[xml(attr)]
    pub x: u32,
    /// Rows.
    #[xml(attr)]
    pub y: u32,
}
