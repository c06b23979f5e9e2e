//! Finding the hierarchy that has a controller.

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, eaccess};

use super::Unusable;

/// Version of the cgroup interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// Where threads run and pages lie.
    Cpuset,
    /// Shares of CPU time and limits of it.
    Cpu,
    /// Limits of memory.
    Memory,
    /// Weights and limits of block devices.
    Io,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpuset, Self::Cpu, Self::Memory, Self::Io];

    /// Its name in one version of the interface.
    pub fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Cpuset, _) => "cpuset",
            (Self::Cpu, _) => "cpu",
            (Self::Memory, _) => "memory",
            (Self::Io, Version::V1) => "blkio",
            (Self::Io, Version::V2) => "io",
        }
    }

    /// Whether its limits are of single threads too (cgroup-v2.rst, "Threads").
    pub(super) fn is_threaded(self) -> bool {
        matches!(self, Self::Cpuset | Self::Cpu)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name(Version::V1))
    }
}

/// A mounted hierarchy in which groups with a controller can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub(super) controller: Controller,
    pub(super) version: Version,
    pub(super) mount: PathBuf,
}

impl Hierarchy {
    /// The hierarchy that has cpuset on this host; version 1 if both are mounted, because a controller bound there
    /// is missing in the other.
    ///
    /// # Errors
    /// [`Unusable`], with what to do about it.
    pub fn detect() -> Result<Self, Unusable> {
        Self::with(Controller::Cpuset)
    }

    /// The hierarchy that has a controller, likewise.
    ///
    /// # Errors
    /// As [`Hierarchy::detect`].
    pub fn with(controller: Controller) -> Result<Self, Unusable> {
        let found = Self::mounted(controller)?;
        let name = controller.name(found.version);
        if found.version == Version::V2 {
            if !found.words("cgroup.controllers")?.iter().any(|it| it == name) {
                return Err(Unusable::NoController(controller));
            }
            if !found.words("cgroup.subtree_control")?.iter().any(|it| it == name) {
                return Err(Unusable::NotEnabled { controller: name, path: found.mount });
            }
        }
        match eaccess(&found.mount, AccessFlags::W_OK) {
            Ok(()) => Ok(found),
            Err(errno) => Err(Unusable::NotPermitted { path: found.mount, source: io::Error::from(errno) }),
        }
    }

    /// Every hierarchy in which a guest can have a group, each once: for what is to be removed.
    pub fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for found in Controller::ALL.into_iter().filter_map(|it| Self::mounted(it).ok()) {
            if all.iter().all(|it| it.mount != found.mount) {
                all.push(found);
            }
        }
        all
    }

    fn mounted(controller: Controller) -> Result<Self, Unusable> {
        let path = Path::new("/proc/self/mountinfo");
        let unreadable = |source| Unusable::Unreadable { path: path.into(), source };
        find(&fs::read(path).map_err(unreadable)?, controller).ok_or(Unusable::NoController(controller))
    }

    /// Which interface it has.
    pub fn version(&self) -> Version {
        self.version
    }

    fn words(&self, file: &str) -> Result<Vec<String>, Unusable> {
        let path = self.mount.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.split_ascii_whitespace().map(str::to_owned).collect()),
            Err(source) => Err(Unusable::Unreadable { path, source }),
        }
    }
}

/// Reads mountinfo (proc(5)): `36 35 98:0 /root /mount/point opts [tags…] - type source super-options`.
fn find(mountinfo: &[u8], controller: Controller) -> Option<Hierarchy> {
    let name = controller.name(Version::V1).as_bytes();
    let mut unified = None;
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == b"-") else { continue };
        let (Some(point), Some(kind)) = (fields.get(4), fields.get(dash + 1)) else { continue };
        let mount = unescape(point);
        match *kind {
            b"cgroup" => {
                let options = fields.get(dash + 3).copied().unwrap_or_default();
                if options.split(|byte| *byte == b',').any(|option| option == name) {
                    return Some(Hierarchy { controller, version: Version::V1, mount });
                }
            }
            b"cgroup2" if unified.is_none() => unified = Some(Hierarchy { controller, version: Version::V2, mount }),
            _ => {}
        }
    }
    unified
}

/// Blank, tab, newline and backslash stand as `\040` and so on.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "34 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 25 0:32 / /sys/fs/cgroup/cpu\\040set rw shared:1 master:2 - cgroup cgroup rw,cpuset\n";

    #[test]
    fn finds_the_controller_wherever_it_is() {
        let find = |text: &[u8]| super::find(text, Controller::Cpuset);
        assert_eq!(find(b""), None);
        assert_eq!(find(b"1 2 3\n- - -\nx - cgroup"), None);
        let cpu = super::find(V1.as_bytes(), Controller::Cpu).unwrap();
        assert_eq!(cpu.mount.to_str(), Some("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(super::find(V1.as_bytes(), Controller::Io), None);
        let unified = find(UNIFIED.as_bytes()).unwrap();
        assert_eq!((unified.version, unified.mount.to_str()), (Version::V2, Some("/sys/fs/cgroup")));
        for text in [format!("{UNIFIED}{V1}"), format!("{V1}{UNIFIED}")] {
            let found = find(text.as_bytes()).unwrap();
            assert_eq!((found.version, found.mount.to_str()), (Version::V1, Some("/sys/fs/cgroup/cpu set")));
        }
    }

    #[test]
    fn odd_escapes_stay_as_they_are() {
        assert_eq!(unescape(br"a\134b\04\9\777"), PathBuf::from(r"a\b\04\9\777"));
    }
}
