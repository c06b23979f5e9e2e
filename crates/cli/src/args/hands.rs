//! Arguments of the commands that look at a guest and poke it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use polyvirt::CodeSet;

use super::Which;

/// `screenshot`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt screenshot guest
  polyvirt screenshot guest second.png --screen 1")]
pub(crate) struct ScreenshotArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Where to; without it, a file in this directory, named after the guest and the time
    pub(crate) file: Option<PathBuf>,
    /// Which screen: heads of video cards, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) screen: u32,
}

/// `send-key`.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys are pressed in order and let go together. They are places on a PC keyboard, not the signs of a layout.

Examples:
  polyvirt send-key guest KEY_LEFTCTRL KEY_LEFTALT KEY_DELETE
  polyvirt send-key guest --holdtime 500 KEY_ENTER
  polyvirt send-key guest --codeset xt 0x1d 0x38 0xe053"
)]
pub(crate) struct SendKeyArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How keys are named
    #[arg(long, value_enum, default_value_t)]
    pub(crate) codeset: CodeSetName,
    /// How long they are held, in milliseconds; without it, as the hypervisor likes
    #[arg(long, value_name = "MS")]
    pub(crate) holdtime: Option<u64>,
    /// Names (KEY_A, with 'linux') or codes, decimal or with 0x; at most 16
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
}

/// A code set.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum CodeSetName {
    /// Linux' names and codes
    #[default]
    Linux,
    /// Set 1 with its prefix, 0xe01d
    Xt,
    /// The same as xt
    Atset1,
    /// Usages of USB's keyboard page
    Usb,
    /// Set 1 with bit 7 for the prefix, 0x9d
    Qnum,
    /// The same as qnum
    Rfb,
}

impl From<CodeSetName> for CodeSet {
    fn from(name: CodeSetName) -> Self {
        match name {
            CodeSetName::Linux => Self::Linux,
            CodeSetName::Xt => Self::Xt,
            CodeSetName::Atset1 => Self::AtSet1,
            CodeSetName::Usb => Self::Usb,
            CodeSetName::Qnum => Self::Qnum,
            CodeSetName::Rfb => Self::Rfb,
        }
    }
}
