//! The tiny guest that tests and the demo boot: Debian's cloud kernel and an initramfs of our own.
//!
//! Made once below `target/guest` and again only when an input changed. The names there are stable:
//! `target/guest/vmlinuz`, `target/guest/initramfs.cpio`. Nothing is installed: the kernel's package is downloaded and unpacked.
//! Where apt is not, a kernel of the host that we may read is taken.

mod cpio;
mod initramfs;
mod kernel;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{checkout::Checkout, debian, progress::Progress};

/// A guest that can be booted.
pub(crate) struct GuestImage {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// What a person should know about it.
    pub(crate) notice: Option<String>,
}

/// `cargo xtask guest-image`.
pub(crate) fn run(checkout: &Checkout) -> Result<bool, String> {
    let progress = Progress::begin("guest-image", "a kernel and an initramfs");
    let image = make(&checkout.target, &progress);
    progress.clear();
    let image = image?;
    if let Some(notice) = &image.notice {
        println!("note: {notice}");
    }
    let (kernel, initramfs) = (image.kernel.display(), image.initramfs.display());
    println!("kernel     {kernel}\ninitramfs  {initramfs}\n\nboot it with:");
    println!("  qemu-system-x86_64 -accel tcg -m 256 -nographic -no-reboot \\");
    println!("    -kernel {kernel} -initrd {initramfs} -append 'console=ttyS0 quiet'");
    Ok(true)
}

/// Makes the image, or finds the one made before.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn make(target: &Path, progress: &Progress) -> Result<GuestImage, String> {
    let dir = target.join("guest");
    fs::create_dir_all(&dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    progress.tell("looking for a kernel");
    let kernel = kernel::find(&dir, progress)?;
    let busybox = debian::find_program("busybox").ok_or_else(|| {
        format!("no busybox for the guest; {}", debian::remedy(&debian::GUEST.iter().collect::<Vec<_>>()))
    })?;
    let busybox = fs::read(&busybox).map_err(|e| format!("cannot read {}: {e}", busybox.display()))?;
    let archive = initramfs::build(&busybox, &kernel.modules)?;
    let initramfs = dir.join("initramfs.cpio");
    write_if_new(&initramfs, &archive)?;
    Ok(GuestImage { kernel: kernel.image, initramfs, notice: kernel.notice })
}

/// Writes a file as a whole, and only when its content is new: who reads it never sees half of it.
fn write_if_new(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let part = path.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
}
