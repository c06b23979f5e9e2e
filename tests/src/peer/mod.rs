//! Our command lines beside those of the libvirt that Debian has: the same definitions, the same QEMU, compared in meaning.
//!
//! What it does not do: it starts no libvirtd, and nothing that either side writes is ever run.

mod argv;
mod differences;
mod ours;
mod recording;
mod verdict;

pub use argv::{CommandLine, Opt, Unreadable};
pub use differences::{DIFFERENCES, Difference, REFUSALS, Refusal, Sides};
pub use ours::Polyvirt;
pub use recording::record;
pub use verdict::{Answer, Verdict, compare};

use std::{path::Path, process::Command};

/// What libvirt makes of a definition.
///
/// # Errors
/// When virsh cannot be run.
pub fn libvirt(file: &Path) -> Result<Answer, String> {
    let mut virsh = Command::new("virsh");
    virsh.args(["-q", "-c", "qemu:///system", "domxml-to-native", "qemu-argv", "--xml"]).arg(file).env("LC_ALL", "C");
    let output = virsh.output().map_err(|error| format!("virsh does not start: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(Answer::Taken(text(&output.stdout)));
    }
    let said = text(&output.stderr);
    if said.contains("failed to connect") || said.contains("Failed to connect") {
        return Err(format!("libvirtd does not answer: {said}"));
    }
    Ok(Answer::Refused(said))
}
