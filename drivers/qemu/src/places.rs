//! Where a guest's files, socket and cgroup are. Names follow from name and identity, so that they are found without a
//! record.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use polyvirt_core::{Error, ErrorKind, GuestRef, Result, Roots, io_error};
use polyvirt_process::{
    Credentials,
    cgroup::{Cgroup, GroupName, Hierarchy},
};

use crate::{command::Folders, config::Config};

/// Longest path of a socket: `sun_path` of unix(7) has 108 bytes with its final NUL.
const SOCKET_PATH: usize = 107;

/// The places of one guest.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) folders: Folders,
    pub(crate) monitor: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) group: GroupName,
}

impl Places {
    pub(crate) fn of(guest: &GuestRef, roots: &Roots) -> Self {
        // Two roots of one host may have guests of the same name and even identity; cgroups they share.
        let tag = fnv(&[roots.run.as_os_str().as_encoded_bytes(), b"\0", guest.uuid.as_bytes(), guest.name.as_bytes()]);
        let short: String = GroupName::new(&guest.name).as_str().chars().take(20).collect();
        let folder = format!("{short}-{tag:08x}");
        let run = roots.run.join(&folder);
        Self {
            monitor: run.join("monitor"),
            folders: Folders {
                run,
                ram: roots.state.join("ram").join(&folder),
                nvram: nvram(roots),
                tpm: roots.state.join("swtpm").join(&guest.uuid),
            },
            log: roots.log.join(format!("{}.log", file_name(&guest.name))),
            group: GroupName::new(&format!("qemu-{folder}")),
        }
    }

    /// Those that a command line names which is shown and not run, of a guest that has no number yet.
    pub(crate) fn described(name: &str, config: &Config) -> Self {
        let short: String = file_name(name).chars().take(20).collect();
        let run = config.lib_dir.join(format!("domain--1-{short}"));
        Self {
            monitor: run.join("monitor.sock"),
            folders: Folders {
                run,
                ram: config.memory_backing_dir.join(format!("-1-{short}")),
                nvram: config.nvram_dir.clone(),
                tpm: config.lib_dir.join("swtpm"),
            },
            log: PathBuf::new(),
            group: GroupName::new(name),
        }
    }

    /// Makes the folder for sockets, for the user who runs QEMU.
    ///
    /// # Errors
    /// `InvalidArgument` if the socket's path would be too long; those of the file system.
    pub(crate) fn make(&self, user: Option<&Credentials>) -> Result<()> {
        let length = self.monitor.as_os_str().len();
        if length > SOCKET_PATH {
            let problem =
                format!("the socket path '{}' has {length} bytes, at most {SOCKET_PATH} work", self.monitor.display());
            return Err(Error::new(ErrorKind::InvalidArgument, problem).hint("choose a shorter root"));
        }
        remove_folder(&self.folders.run).map_err(|error| io_error("clear", &self.folders.run, error))?;
        make_folder(&self.folders.run, 0o700, user)
    }

    /// Removes what goes when the guest is gone; says what was there.
    pub(crate) async fn sweep(&self, within: Duration) -> Vec<String> {
        let mut removed = Vec::new();
        for group in Hierarchy::all().iter().filter_map(|it| it.open(&self.group)) {
            let path = group.path().display().to_string();
            match group.destroy(within).await {
                Ok(()) => removed.push(format!("cgroup {path}")),
                Err(error) => tracing::warn!(%error, "cgroup stays behind"),
            }
        }
        for folder in [&self.folders.run, &self.folders.ram] {
            match remove_folder(folder) {
                Ok(true) => removed.push(format!("folder {}", folder.display())),
                Ok(false) => {}
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "folder stays behind"),
            }
        }
        removed
    }

    /// The guest's cgroup, if there is one.
    pub(crate) fn cgroup(&self) -> Option<Cgroup> {
        Hierarchy::detect().ok()?.open(&self.group)
    }
}

/// Where the firmware variables of a root's guests are.
pub(crate) fn nvram(roots: &Roots) -> PathBuf {
    roots.state.join("nvram")
}

/// A guest's name as a file's. Names have no slash; a leading dot would hide it.
fn file_name(name: &str) -> String {
    name.chars()
        .enumerate()
        .map(|(at, it)| if it == '/' || it == '\0' || (at == 0 && it == '.') { '_' } else { it })
        .collect()
}

fn fnv(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|it| it.iter());
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Makes a folder with the rights given, and those above it.
///
/// # Errors
/// Those of the file system.
pub(crate) fn make_folder(path: &Path, mode: u32, user: Option<&Credentials>) -> Result<()> {
    let made = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        match user {
            Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    };
    made().map_err(|error| io_error("create", path, error))
}

/// Removes a folder and the files in it, but no folders below: nobody should have made any. Whether it was there.
fn remove_folder(path: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    for entry in entries {
        fs::remove_file(entry?.path())?;
    }
    fs::remove_dir(path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str) -> GuestRef {
        GuestRef::new(name, "11111111-2222-3333-4444-555555555555", None)
    }

    #[test]
    fn names_stay_within_their_folders() {
        let roots = Roots::embedded(Path::new("/r"), "qemu", false);
        let places = Places::of(&guest("../../etc/x"), &roots);
        assert_eq!(places.folders.run.parent(), Some(Path::new("/r/run/qemu")));
        assert_eq!(places.log.parent(), Some(Path::new("/r/log/qemu")));
        assert_eq!(places.log.file_name().unwrap(), "_._.._etc_x.log");
        assert!(places.group.as_str().starts_with("qemu-_._.._etc_x-"));
    }

    #[test]
    fn guests_of_two_roots_do_not_meet() {
        let places = |root: &str| Places::of(&guest("a"), &Roots::embedded(Path::new(root), "qemu", false));
        assert_ne!(places("/r").group, places("/s").group);
        assert_eq!(places("/r").group, places("/r").group);
    }

    #[tokio::test]
    async fn sweeping_twice_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places::of(&guest("a"), &Roots::embedded(directory.path(), "qemu", false));
        places.make(None).unwrap();
        fs::write(&places.monitor, "").unwrap();
        assert_eq!(fs::metadata(&places.folders.run).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(places.sweep(Duration::ZERO).await.len(), 1);
        assert!(places.sweep(Duration::ZERO).await.is_empty());
        assert!(!places.folders.run.exists());
    }

    #[test]
    fn a_socket_path_that_is_too_long_is_told() {
        let roots = Roots::embedded(Path::new(&format!("/{}", "x".repeat(90))), "qemu", false);
        let error = Places::of(&guest("a"), &roots).make(None).unwrap_err();
        assert!(error.to_string().contains("at most 107 work"), "{error}");
    }
}
