//! Debian packages that tests and the demo need: installed when we may, named when we may not.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{command, progress::Progress};

/// A program, and the package that has it on Debian.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    pub(crate) used_for: &'static str,
}

/// What boots a guest.
pub(crate) const GUEST: &[Tool] = &[
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", used_for: "starting guests" },
    Tool { program: "qemu-img", package: "qemu-utils", used_for: "disk images" },
    Tool { program: "swtpm", package: "swtpm", used_for: "guests with a TPM" },
    Tool { program: "busybox", package: "busybox-static", used_for: "the guest image" },
    Tool { program: "qemu-ga", package: "qemu-guest-agent", used_for: "a guest with an agent" },
];

/// What conformance and the NUMA lab need beside [`GUEST`].
pub(crate) const LAB: &[Tool] = &[
    Tool { program: "python3", package: "python3-minimal", used_for: "the conformance runner" },
    Tool { program: "mmdebstrap", package: "mmdebstrap", used_for: "numa-lab" },
    Tool { program: "sqfstar", package: "squashfs-tools", used_for: "numa-lab" },
    Tool { program: "depmod", package: "kmod", used_for: "numa-lab" },
    Tool { program: "cpio", package: "cpio", used_for: "numa-lab" },
    Tool { program: "xz", package: "xz-utils", used_for: "numa-lab and the guest image" },
];

/// Finds a program as a shell would, and in the directories that only root has in its path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0))
}

/// Whether we may install packages: root, on Debian or what descends from it.
pub(crate) fn may_install() -> Result<(), String> {
    let root = fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    match (root, find_program("apt-get").is_some()) {
        (true, true) => Ok(()),
        (false, true) => Err("not root".to_owned()),
        (_, false) => Err("no apt-get on this system".to_owned()),
    }
}

/// Which of `tools` are missing.
pub(crate) fn missing<'a>(tools: impl IntoIterator<Item = &'a Tool>) -> Vec<&'a Tool> {
    tools.into_iter().filter(|tool| find_program(tool.program).is_none()).collect()
}

/// What a person would type to get `tools`.
pub(crate) fn remedy(tools: &[&Tool]) -> String {
    let packages: BTreeSet<_> = tools.iter().map(|t| t.package).collect();
    let list = packages.into_iter().collect::<Vec<_>>().join(" ");
    format!("as root on Debian: apt-get update && apt-get install --no-install-recommends {list}")
}

/// Names `tools` with what each is used for.
pub(crate) fn names(tools: &[&Tool]) -> String {
    tools.iter().map(|t| format!("{} ({})", t.program, t.used_for)).collect::<Vec<_>>().join(", ")
}

/// Installs what has `tools`.
///
/// # Errors
/// apt-get's output when it fails.
pub(crate) fn install(tools: &[&Tool], progress: &Progress) -> Result<(), String> {
    let packages: BTreeSet<_> = tools.iter().map(|t| t.package).collect();
    apt(&["update"], progress)?;
    let plain: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    let Err(first) = apt(&plain, progress) else { return Ok(()) };
    // A system may carry a qemu-utils from backports, newer than its release's qemu-system can live with. Then, and only then,
    // the release's own is taken.
    let (Some(release), true) = (release_name(), packages.contains("qemu-system-x86")) else { return Err(first) };
    let release_utils = format!("qemu-utils/{release}");
    let others = packages.iter().copied().filter(|p| *p != "qemu-utils");
    let options = ["install", "-y", "--no-install-recommends", "--allow-downgrades", release_utils.as_str()];
    let downgrading: Vec<&str> = options.into_iter().chain(others).collect();
    apt(&downgrading, progress).map_err(|second| format!("{first}\nand with {release_utils}:\n{second}"))
}

/// Runs apt-get, without questions.
///
/// # Errors
/// Its output when it fails.
pub(crate) fn apt(arguments: &[&str], progress: &Progress) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    let outcome = command::run(&mut command, Duration::from_secs(900), progress)?;
    match outcome.failure {
        None => Ok(()),
        Some(why) => Err(format!("{why}: apt-get {}\n{}", arguments.join(" "), outcome.output)),
    }
}

fn release_name() -> Option<String> {
    let text = fs::read_to_string(Path::new("/etc/os-release")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VERSION_CODENAME="))?;
    Some(line.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Tool = Tool { program: "no-such-program-anywhere", package: "some-package", used_for: "nothing" };
    const SHELL: Tool = Tool { program: "sh", package: "dash", used_for: "everything" };

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let tools = [SHELL, NOWHERE];
        let missing = missing(&tools);
        assert_eq!(names(&missing), "no-such-program-anywhere (nothing)");
        assert!(remedy(&missing).ends_with(" some-package"), "{}", remedy(&missing));
    }
}
