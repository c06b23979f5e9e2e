//! Where the conformance corpus is: beside the checkout, or where `POLYVIRT_CORPUS` says. It is no part of the project.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use crate::{checkout::Checkout, command, progress::Progress};

/// Unpacking takes seconds; a step that needs longer hangs.
const LONG: Duration = Duration::from_secs(600);

/// The archive; its runner `conform.py` lies beside it.
///
/// # Errors
/// Where it was looked for.
pub(crate) fn archive(checkout: &Checkout) -> Result<PathBuf, String> {
    let archive = checkout.beside("POLYVIRT_CORPUS", "shared/corpus")?.join("visible.tar.xz");
    if archive.is_file() { Ok(archive) } else { Err(format!("there is no {}", archive.display())) }
}

/// The archive's files, unpacked below the target directory; unpacked anew when the archive changed.
///
/// # Errors
/// When it cannot be unpacked.
pub(crate) fn unpacked(checkout: &Checkout, progress: &Progress, archive: &Path) -> Result<PathBuf, String> {
    let dir = checkout.target.join("corpus");
    let stamp = dir.join(".unpacked");
    if let (Some(done), Some(changed)) = (modified(&stamp), modified(archive))
        && done >= changed
    {
        return Ok(dir);
    }
    fs::create_dir_all(&dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    let mut tar = Command::new("tar");
    tar.arg("-xJf").arg(archive).arg("-C").arg(&dir);
    let outcome = command::run(&mut tar, LONG, progress)?;
    if let Some(why) = outcome.failure {
        return Err(format!("{} cannot be unpacked ({why}): {}", archive.display(), outcome.output.trim()));
    }
    fs::write(&stamp, "").map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
    Ok(dir)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}
