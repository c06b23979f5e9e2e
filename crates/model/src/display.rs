//! Graphics, video, sound, audio, input.

use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioModel, VirtioOptions};
use crate::chardev::{Clipboard, MouseMode};

words! {
    /// How a guest's screen is shown.
    pub enum GraphicsKind {
        Sdl = "sdl", Vnc = "vnc", Rdp = "rdp", Desktop = "desktop", Spice = "spice",
        EglHeadless = "egl-headless", Dbus = "dbus",
    }
}
words! {
    /// Which SPICE channels are encrypted.
    pub enum SpiceMode { Any = "any", Secure = "secure", Insecure = "insecure" }
}
words! {
    /// What happens to VNC clients that want the guest alone.
    pub enum SharePolicy { AllowExclusive = "allow-exclusive", ForceShared = "force-shared", Ignore = "ignore" }
}
words! {
    /// What happens to a SPICE client that is there already.
    pub enum ConnectedPolicy { Fail = "fail", Disconnect = "disconnect", Keep = "keep" }
}

/// `<graphics>`. Which fields count follows from the kind.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Graphics {
    /// How the screen is shown.
    #[xml(attr, name = "type")]
    pub kind: Option<GraphicsKind>,
    /// The TCP port; -1: any.
    #[xml(attr)]
    pub port: Option<i32>,
    /// SPICE: the encrypted port.
    #[xml(attr)]
    pub tls_port: Option<i32>,
    /// Whether ports are chosen at start.
    #[xml(attr, yesno)]
    pub autoport: Option<bool>,
    /// VNC: the port of web sockets. Since 1.0.6.
    #[xml(attr)]
    pub websocket: Option<i32>,
    /// VNC: whether that was chosen at start.
    #[xml(attr, yesno, live)]
    pub websocket_generated: Option<bool>,
    /// The address it listens on (old place).
    #[xml(attr)]
    pub listen: Option<String>,
    /// A socket (old place). Since 0.8.8.
    #[xml(attr)]
    pub socket: Option<String>,
    /// The keyboard layout.
    #[xml(attr)]
    pub keymap: Option<String>,
    /// The password.
    #[xml(attr, secret)]
    pub passwd: Option<String>,
    /// Until when the password is valid.
    #[xml(attr, secret)]
    pub passwd_valid_to: Option<String>,
    /// What happens to a client that is there already. Since 0.9.3.
    #[xml(attr)]
    pub connected: Option<ConnectedPolicy>,
    /// RDP: the user.
    #[xml(attr)]
    pub username: Option<String>,
    /// VNC: clients that want the guest alone; absent: `allow-exclusive`. Since 1.0.6.
    #[xml(attr)]
    pub share_policy: Option<SharePolicy>,
    /// VNC: whether the client may switch the guest off. Since 7.1.0.
    #[xml(attr, yesno)]
    pub power_control: Option<bool>,
    /// RDP: whether several clients may connect.
    #[xml(attr, yesno)]
    pub multi_user: Option<bool>,
    /// RDP: whether a new client replaces the old one.
    #[xml(attr, yesno)]
    pub replace_user: Option<bool>,
    /// SPICE: which channels are encrypted; absent: `any`. Since 0.9.12.
    #[xml(attr)]
    pub default_mode: Option<SpiceMode>,
    /// SDL and desktop: the display.
    #[xml(attr)]
    pub display: Option<String>,
    /// SDL: the authority file.
    #[xml(attr)]
    pub xauth: Option<String>,
    /// SDL and desktop: whether it fills the screen.
    #[xml(attr, yesno)]
    pub fullscreen: Option<bool>,
    /// D-Bus: whether clients connect directly. Since 8.4.0.
    #[xml(attr, yesno)]
    pub p2p: Option<bool>,
    /// D-Bus: the bus. Since 8.4.0.
    #[xml(attr)]
    pub address: Option<String>,
    /// D-Bus: whether the address was chosen at start.
    #[xml(attr, yesno, live)]
    pub from_config: Option<bool>,
    /// Where it listens. Since 0.9.4.
    #[xml(child, name = "listen")]
    pub listens: Vec<Listen>,
    /// The audio backend. Since 7.2.0.
    #[xml(child)]
    pub audio: Option<AudioRef>,
    /// SPICE: single channels.
    #[xml(child)]
    pub channel: Vec<SpiceChannel>,
    /// SPICE: images.
    #[xml(child)]
    pub image: Option<ImageCompression>,
    /// SPICE: JPEG.
    #[xml(child)]
    pub jpeg: Option<WanCompression>,
    /// SPICE: zlib.
    #[xml(child)]
    pub zlib: Option<WanCompression>,
    /// SPICE: sound.
    #[xml(child)]
    pub playback: Option<PlaybackCompression>,
    /// SPICE: video streams. Since 0.9.2.
    #[xml(child)]
    pub streaming: Option<Streaming>,
    /// SPICE: the mouse. Since 0.9.11.
    #[xml(child)]
    pub mouse: Option<MouseMode>,
    /// The clipboard.
    #[xml(child)]
    pub clipboard: Option<Clipboard>,
    /// SPICE: file transfer. Since 1.2.2.
    #[xml(child)]
    pub filetransfer: Option<Enabled>,
    /// OpenGL. Since 1.3.3.
    #[xml(child)]
    pub gl: Option<Gl>,
}

words! {
    /// What a server listens on.
    pub enum ListenType { None = "none", Address = "address", Network = "network", Socket = "socket" }
}

/// `<listen>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Listen {
    /// What it listens on.
    #[xml(attr, name = "type")]
    pub kind: Option<ListenType>,
    /// An address.
    #[xml(attr)]
    pub address: Option<String>,
    /// A virtual network.
    #[xml(attr)]
    pub network: Option<String>,
    /// A socket.
    #[xml(attr)]
    pub socket: Option<String>,
    /// Whether the socket was chosen at start.
    #[xml(attr, yesno, live)]
    pub auto_generated: Option<bool>,
}

/// `<audio id='…'>` of a device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AudioRef {
    /// The backend's number.
    #[xml(attr)]
    pub id: u32,
}

words! {
    /// Channels of SPICE.
    pub enum SpiceChannelName {
        Main = "main", Display = "display", Inputs = "inputs", Cursor = "cursor", Playback = "playback",
        Record = "record", Smartcard = "smartcard", Usbredir = "usbredir",
    }
}

/// `<channel>` of SPICE.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SpiceChannel {
    /// Which one.
    #[xml(attr)]
    pub name: Option<SpiceChannelName>,
    /// Whether it is encrypted; absent: as `defaultMode`.
    #[xml(attr)]
    pub mode: Option<SpiceMode>,
}

words! {
    /// How SPICE compresses images.
    pub enum ImageCodec {
        AutoGlz = "auto_glz", AutoLz = "auto_lz", Quic = "quic", Glz = "glz", Lz = "lz", Off = "off",
    }
}
words! {
    /// When SPICE compresses for slow connections.
    pub enum WanCodec { Auto = "auto", Never = "never", Always = "always" }
}
words! {
    /// What is recognised as a video stream.
    pub enum StreamingMode { Filter = "filter", All = "all", Off = "off" }
}

/// `<image>` of SPICE.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ImageCompression {
    /// How images are compressed.
    #[xml(attr)]
    pub compression: Option<ImageCodec>,
}

/// `<jpeg>` and `<zlib>` of SPICE.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct WanCompression {
    /// When this method is used.
    #[xml(attr)]
    pub compression: Option<WanCodec>,
}

/// `<playback>` of SPICE.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PlaybackCompression {
    /// Whether sound is compressed.
    #[xml(attr, onoff)]
    pub compression: Option<bool>,
}

/// `<streaming>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Streaming {
    /// What is recognised as a video stream.
    #[xml(attr)]
    pub mode: Option<StreamingMode>,
}

/// Something that is enabled or not.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Enabled {
    /// Whether it is.
    #[xml(attr, yesno)]
    pub enable: Option<bool>,
}

/// `<gl>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Gl {
    /// Whether OpenGL is used.
    #[xml(attr, yesno)]
    pub enable: Option<bool>,
    /// The device that renders.
    #[xml(attr)]
    pub rendernode: Option<String>,
}

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

words! {
    /// Sound devices.
    pub enum SoundModel {
        Sb16 = "sb16", Es1370 = "es1370", Pcspk = "pcspk", Ac97 = "ac97", Ich6 = "ich6", Ich9 = "ich9",
        Usb = "usb", Ich7 = "ich7", Virtio = "virtio",
    }
}

/// `<sound>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Sound {
    /// The device.
    #[xml(attr)]
    pub model: Option<SoundModel>,
    /// Whether several channels are used.
    #[xml(attr, yesno)]
    pub multichannel: Option<bool>,
    /// virtio: streams.
    #[xml(attr)]
    pub streams: Option<u32>,
    /// What hangs off an HDA device. Since 0.9.13.
    #[xml(child)]
    pub codec: Vec<SoundCodec>,
    /// The audio backend. Since 6.7.0.
    #[xml(child)]
    pub audio: Option<AudioRef>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
    /// Options of virtio.
    #[xml(child)]
    pub driver: Option<crate::address::VirtioDriver>,
}

words! {
    /// Codecs of HDA devices.
    pub enum SoundCodecType { Duplex = "duplex", Micro = "micro", Output = "output" }
}

/// `<codec>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SoundCodec {
    /// Which one.
    #[xml(attr, name = "type")]
    pub kind: Option<SoundCodecType>,
}

words! {
    /// Where sound goes on the host.
    pub enum AudioType {
        None = "none", Alsa = "alsa", Coreaudio = "coreaudio", Jack = "jack", Oss = "oss",
        Pulseaudio = "pulseaudio", Sdl = "sdl", Spice = "spice", File = "file", Dbus = "dbus",
        Pipewire = "pipewire", Sndio = "sndio",
    }
}

words! {
    /// Drivers of SDL for sound.
    pub enum SdlDriver { Esd = "esd", Alsa = "alsa", Arts = "arts", Pulseaudio = "pulseaudio" }
}

/// `<audio>`: a backend.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Audio {
    /// Its number, from 1.
    #[xml(attr)]
    pub id: u32,
    /// Where sound goes.
    #[xml(attr, name = "type")]
    pub kind: Option<AudioType>,
    /// Microseconds between wake-ups.
    #[xml(attr)]
    pub timer_period: Option<u32>,
    /// Pulseaudio and Jack: the server.
    #[xml(attr)]
    pub server_name: Option<String>,
    /// Pipewire: the socket's directory.
    #[xml(attr)]
    pub runtime_dir: Option<String>,
    /// SDL: the driver.
    #[xml(attr)]
    pub driver: Option<SdlDriver>,
    /// The file.
    #[xml(attr)]
    pub path: Option<String>,
    /// sndio: the device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// OSS: whether memory is mapped.
    #[xml(attr, name = "tryMMap", yesno)]
    pub try_mmap: Option<bool>,
    /// OSS: whether the device is exclusive.
    #[xml(attr, yesno)]
    pub exclusive: Option<bool>,
    /// OSS: the timing policy.
    #[xml(attr)]
    pub dsp_policy: Option<i32>,
    /// From the host.
    #[xml(child)]
    pub input: Option<AudioStream>,
    /// To the host.
    #[xml(child)]
    pub output: Option<AudioStream>,
}

/// `<input>` and `<output>` of `<audio>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AudioStream {
    /// Whether the hypervisor mixes.
    #[xml(attr, yesno)]
    pub mixing_engine: Option<bool>,
    /// Whether the settings below hold.
    #[xml(attr, yesno)]
    pub fixed_settings: Option<bool>,
    /// Voices.
    #[xml(attr)]
    pub voices: Option<u32>,
    /// Microseconds of the buffer.
    #[xml(attr)]
    pub buffer_length: Option<u32>,
    /// The device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Buffers.
    #[xml(attr)]
    pub buffer_count: Option<u32>,
    /// OSS: whether polling is tried.
    #[xml(attr, yesno)]
    pub try_poll: Option<bool>,
    /// Pulseaudio: the name of the sink.
    #[xml(attr)]
    pub name: Option<String>,
    /// Pulseaudio: the stream.
    #[xml(attr)]
    pub stream_name: Option<String>,
    /// Pulseaudio: microseconds of latency.
    #[xml(attr)]
    pub latency: Option<u32>,
    /// Jack: the server.
    #[xml(attr)]
    pub server_name: Option<String>,
    /// Jack: our name.
    #[xml(attr)]
    pub client_name: Option<String>,
    /// Jack: ports to connect to.
    #[xml(attr)]
    pub connect_ports: Option<String>,
    /// Jack: whether the name must be exact.
    #[xml(attr, yesno)]
    pub exact_name: Option<bool>,
    /// The settings.
    #[xml(child)]
    pub settings: Option<AudioSettings>,
}

/// `<settings>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AudioSettings {
    /// Hz.
    #[xml(attr)]
    pub frequency: Option<u32>,
    /// Channels.
    #[xml(attr)]
    pub channels: Option<u32>,
    /// The format of a sample.
    #[xml(attr)]
    pub format: Option<AudioFormat>,
}

words! {
    /// Formats of samples.
    pub enum AudioFormat { S8 = "s8", U8 = "u8", S16 = "s16", U16 = "u16", S32 = "s32", U32 = "u32", F32 = "f32" }
}

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
    pub driver: Option<crate::address::VirtioDriver>,
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
