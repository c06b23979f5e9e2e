//! Arguments of the commands on what is written about a guest, and on its displays.

use clap::{Args, ValueEnum};

use super::{AffectArgs, Which};

/// `desc`.
#[derive(Debug, Args)]
#[command(after_help = "Without new words the present ones are shown; an empty word removes them.

Examples:
  polyvirt desc guest
  polyvirt desc guest --title \"mail, second node\" --live --config
  polyvirt desc guest --edit")]
pub(crate) struct DescArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The title, one line, instead of the description
    #[arg(long)]
    pub(crate) title: bool,
    /// Edit it in $VISUAL or $EDITOR
    #[arg(long)]
    pub(crate) edit: bool,
    /// The new words
    #[arg(value_name = "NEW_DESC", conflicts_with = "edit")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `metadata`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt metadata guest http://example.org/backup
  polyvirt metadata guest http://example.org/backup --key backup --set '<schedule at=\"02:00\"/>' --live --config
  polyvirt metadata guest http://example.org/backup --remove")]
pub(crate) struct MetadataArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The namespace of the application's element
    pub(crate) uri: String,
    /// Edit the element in $VISUAL or $EDITOR
    #[arg(long, requires = "key", conflicts_with_all = ["set", "remove"])]
    pub(crate) edit: bool,
    /// The prefix of the element in the definition
    #[arg(long, value_name = "PREFIX")]
    pub(crate) key: Option<String>,
    /// Put this element in its place
    #[arg(long, value_name = "XML", requires = "key", conflicts_with = "remove")]
    pub(crate) set: Option<String>,
    /// Remove the element
    #[arg(long)]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `set-lifecycle-action`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt set-lifecycle-action guest reboot destroy --live --config")]
pub(crate) struct LifecycleArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// When
    #[arg(value_name = "TYPE")]
    pub(crate) event: Stopping,
    /// What is done then: destroy, restart, rename-restart, preserve, coredump-destroy, coredump-restart
    pub(crate) action: String,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// What stops a guest.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Stopping {
    /// It powers off
    Poweroff,
    /// It reboots
    Reboot,
    /// It panics
    Crash,
}

/// `domrename`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt domrename guest mail-2")]
pub(crate) struct RenameArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The name it gets
    #[arg(value_name = "NEW_NAME")]
    pub(crate) new: String,
}

/// `domdisplay`.
#[derive(Debug, Args)]
#[command(after_help = "Example: remote-viewer \"$(polyvirt domdisplay guest)\"")]
pub(crate) struct DisplayArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// With the password
    #[arg(long)]
    pub(crate) include_password: bool,
    /// Only of this kind: vnc, spice, rdp, dbus
    #[arg(long = "type", value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// All, one a line, instead of the first
    #[arg(long)]
    pub(crate) all: bool,
}
