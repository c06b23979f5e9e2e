//! `<input>`: keyboards, mice, tablets.

use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioDriver, VirtioModel};

words! {
    /// Input devices.
    pub enum InputKind {
        Mouse = "mouse", Tablet = "tablet", Keyboard = "keyboard", Passthrough = "passthrough", Evdev = "evdev",
    }
}
words! {
    /// Buses of input devices.
    pub enum InputBus {
        Ps2 = "ps2", Usb = "usb", Xen = "xen", Parallels = "parallels", Virtio = "virtio", None = "none",
    }
}

/// `<input>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Input {
    /// The device.
    #[xml(attr, name = "type")]
    pub kind: Option<InputKind>,
    /// Its bus.
    #[xml(attr)]
    pub bus: Option<InputBus>,
    /// The variant of virtio. Since 5.2.0.
    #[xml(attr)]
    pub model: Option<VirtioModel>,
    /// Options of virtio. Since 3.5.0.
    #[xml(child)]
    pub driver: Option<VirtioDriver>,
    /// The device of the host.
    #[xml(child)]
    pub source: Option<InputSource>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// Which devices are taken together.
    pub enum InputGrab { All = "all" }
}
words! {
    /// Keys that switch input between host and guest.
    pub enum GrabToggle {
        CtrlCtrl = "ctrl-ctrl", AltAlt = "alt-alt", ShiftShift = "shift-shift", MetaMeta = "meta-meta",
        Scrolllock = "scrolllock", CtrlScrolllock = "ctrl-scrolllock",
    }
}

/// `<source>` of `<input>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InputSource {
    /// evdev: the node.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Passthrough: the node.
    #[xml(attr)]
    pub evdev: Option<String>,
    /// evdev: `all` takes all devices at once.
    #[xml(attr)]
    pub grab: Option<InputGrab>,
    /// evdev: whether keys repeat.
    #[xml(attr, onoff)]
    pub repeat: Option<bool>,
    /// evdev: the keys that switch between host and guest. Since 7.6.0.
    #[xml(attr)]
    pub grab_toggle: Option<GrabToggle>,
}
