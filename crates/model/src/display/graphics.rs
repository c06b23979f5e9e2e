//! `<graphics>`: how a guest's screen is shown, and where a server listens.

use polyvirt_xml::{Element, words};

use super::{AudioRef, DateTime};
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
    /// Until when the password is valid, in UTC.
    #[xml(attr, secret)]
    pub passwd_valid_to: Option<DateTime>,
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
    /// SPICE: single channels. Since 0.8.6.
    #[xml(child)]
    pub channel: Vec<SpiceChannel>,
    /// SPICE: images. Since 0.9.1.
    #[xml(child)]
    pub image: Option<ImageCompression>,
    /// SPICE: JPEG. Since 0.9.1.
    #[xml(child)]
    pub jpeg: Option<WanCompression>,
    /// SPICE: zlib. Since 0.9.1.
    #[xml(child)]
    pub zlib: Option<WanCompression>,
    /// SPICE: sound. Since 0.9.1.
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
