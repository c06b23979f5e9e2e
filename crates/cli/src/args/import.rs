//! Arguments of `import`.

use std::path::PathBuf;

use clap::Args;

use super::DriverName;

/// `import …`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt import /etc/libvirt/qemu --dry-run      what would become of every guest; nothing is stored
  polyvirt import /etc/libvirt/qemu
  polyvirt import backup/qemu --root /srv/trial    into a root of its own, to try

Nothing in DIR is changed, and libvirt keeps its guests: end them there before they are started here.
Status 1 if a definition was refused; the others are imported all the same.")]
pub(crate) struct ImportArgs {
    /// The directory of libvirt's definitions
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Show what would be done, store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take these definitions instead of those of the same guests that are here and differ
    #[arg(long)]
    pub(crate) replace: bool,
    /// Whose guests they become: the system's for root, else one's own (default: as for every command)
    #[arg(long)]
    pub(crate) driver: Option<DriverName>,
    /// Keep them below this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}
