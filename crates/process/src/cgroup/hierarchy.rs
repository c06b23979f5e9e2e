//! Finding the hierarchy that has the cpuset controller.

use std::{
    ffi::OsString,
    fs, io,
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

/// A mounted hierarchy in which groups with the cpuset controller can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
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
        let path = Path::new("/proc/self/mountinfo");
        let unreadable = |source| Unusable::Unreadable { path: path.into(), source };
        let found = find(&fs::read(path).map_err(unreadable)?).ok_or(Unusable::NoController)?;
        if found.version == Version::V2 {
            let controllers = found.words("cgroup.controllers")?;
            if !controllers.contains(&"cpuset".to_owned()) {
                return Err(Unusable::NoController);
            }
            if !found.words("cgroup.subtree_control")?.contains(&"cpuset".to_owned()) {
                return Err(Unusable::NotEnabled { path: found.mount });
            }
        }
        match eaccess(&found.mount, AccessFlags::W_OK) {
            Ok(()) => Ok(found),
            Err(errno) => Err(Unusable::NotPermitted { path: found.mount, source: io::Error::from(errno) }),
        }
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
fn find(mountinfo: &[u8]) -> Option<Hierarchy> {
    let mut unified = None;
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == b"-") else { continue };
        let (Some(point), Some(kind)) = (fields.get(4), fields.get(dash + 1)) else { continue };
        let mount = unescape(point);
        match *kind {
            b"cgroup" => {
                let options = fields.get(dash + 3).copied().unwrap_or_default();
                if options.split(|byte| *byte == b',').any(|option| option == b"cpuset") {
                    return Some(Hierarchy { version: Version::V1, mount });
                }
            }
            b"cgroup2" if unified.is_none() => unified = Some(Hierarchy { version: Version::V2, mount }),
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
        assert_eq!(find(b""), None);
        assert_eq!(find(b"1 2 3\n- - -\nx - cgroup"), None);
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
