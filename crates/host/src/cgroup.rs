//! Where the cgroups of this process are, from `/proc/self/mountinfo` and `/proc/self/cgroup` (`cgroups(7)`).
//!
//! Version 1 has a tree per controller (or group of controllers), version 2 one tree; both may be mounted at once, and
//! then a controller belongs to one of them.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Host, HostError, bounded};

/// A hierarchy of version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CgroupV1 {
    /// Its controllers, such as `cpu` and `cpuacct`.
    pub controllers: Vec<String>,
    /// Where it is mounted, without the host's root.
    pub mount: PathBuf,
    /// Our own group in it, as `/proc/self/cgroup` says.
    pub own: String,
    /// The directory of our own group, without the host's root.
    pub directory: PathBuf,
    /// Whether we may change it.
    pub writable: bool,
}

/// The hierarchy of version 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CgroupV2 {
    /// Where it is mounted, without the host's root.
    pub mount: PathBuf,
    /// Our own group in it, as `/proc/self/cgroup` says.
    pub own: String,
    /// The directory of our own group, without the host's root.
    pub directory: PathBuf,
    /// Controllers that our group has (`cgroup.controllers`).
    pub controllers: Vec<String>,
    /// Controllers that its children get (`cgroup.subtree_control`).
    pub delegated: Vec<String>,
    /// Whether we may change it.
    pub writable: bool,
}

/// All hierarchies that this process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CgroupLayout {
    /// Hierarchies of version 1.
    pub v1: Vec<CgroupV1>,
    /// The hierarchy of version 2.
    pub v2: Option<CgroupV2>,
}

/// Whether guests can be confined to CPUs and nodes by a cpuset controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cpuset {
    /// By version 1, below this directory.
    V1(PathBuf),
    /// By version 2, below this directory.
    V2 {
        /// Our own group.
        directory: PathBuf,
        /// Whether children get the controller already; else it has to be enabled in `cgroup.subtree_control`, which
        /// the kernel refuses while the group itself holds processes (unless it is the root).
        delegated: bool,
    },
    /// Not at all; this is why.
    None(String),
}

impl Cpuset {
    /// Whether there is one.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !matches!(self, Cpuset::None(_))
    }
}

impl CgroupLayout {
    /// Where a controller is, in either version.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.v1_of(controller).is_some()
            || self.v2.as_ref().is_some_and(|v2| v2.controllers.iter().any(|name| name == controller))
    }

    /// The hierarchy of version 1 that has this controller.
    #[must_use]
    pub fn v1_of(&self, controller: &str) -> Option<&CgroupV1> {
        self.v1.iter().find(|tree| tree.controllers.iter().any(|name| name == controller))
    }

    /// Whether and where guests can be confined to CPUs and nodes.
    #[must_use]
    pub fn cpuset(&self) -> Cpuset {
        if let Some(tree) = self.v1_of("cpuset") {
            return if tree.writable {
                Cpuset::V1(tree.directory.clone())
            } else {
                Cpuset::None(format!("'{}' cannot be written by this user", tree.directory.display()))
            };
        }
        let Some(v2) = &self.v2 else {
            return Cpuset::None("no cgroup file system with a cpuset controller is mounted".to_owned());
        };
        if !v2.controllers.iter().any(|name| name == "cpuset") {
            return Cpuset::None(format!("the cgroup '{}' has no cpuset controller", v2.directory.display()));
        }
        if !v2.writable {
            return Cpuset::None(format!("'{}' cannot be written by this user", v2.directory.display()));
        }
        let delegated = v2.delegated.iter().any(|name| name == "cpuset");
        Cpuset::V2 { directory: v2.directory.clone(), delegated }
    }
}

pub(crate) fn read(host: &Host) -> Result<CgroupLayout, HostError> {
    let mounts = bounded::required(&host.root().join("proc/self/mountinfo"))?;
    let own = bounded::required(&host.root().join("proc/self/cgroup"))?;
    let mut layout = CgroupLayout::default();
    for mount in mounts.lines().filter_map(Mount::parse) {
        match mount.kind {
            // Only the first mount of a hierarchy counts; the others show the same.
            "cgroup" => {
                let Some((controllers, own)) = v1_membership(&own, &mount) else { continue };
                if layout.v1.iter().any(|tree| tree.controllers == controllers) {
                    continue;
                }
                let directory = directory(&mount, &own);
                let writable = is_writable(host, &directory);
                layout.v1.push(CgroupV1 { controllers, mount: mount.at, own, directory, writable });
            }
            "cgroup2" if layout.v2.is_none() => {
                let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::")) else { continue };
                let directory = directory(&mount, own);
                let words = |file: &str| -> Result<Vec<String>, HostError> {
                    let path = below(host, &directory).join(file);
                    Ok(bounded::optional(&path)?
                        .unwrap_or_default()
                        .split_ascii_whitespace()
                        .map(str::to_owned)
                        .collect())
                };
                layout.v2 = Some(CgroupV2 {
                    controllers: words("cgroup.controllers")?,
                    delegated: words("cgroup.subtree_control")?,
                    writable: is_writable(host, &directory),
                    own: own.to_owned(),
                    mount: mount.at,
                    directory,
                });
            }
            _ => {}
        }
    }
    Ok(layout)
}

/// One line of mountinfo, as far as it matters.
struct Mount<'a> {
    /// The directory of the file system that is mounted.
    root: PathBuf,
    at: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl Mount<'_> {
    /// `ID PARENT MAJOR:MINOR ROOT AT OPTIONS [TAGS…] - KIND SOURCE SUPER-OPTIONS`, see `proc(5)`.
    fn parse(line: &str) -> Option<Mount<'_>> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, at) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        let (kind, _source, options) = (back.next()?, back.next()?, back.next()?);
        Some(Mount { root: unescaped(root), at: unescaped(at), kind, options })
    }
}

/// Blank, tab, newline and backslash stand in mountinfo as `\` and three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    plain.push_str(rest);
    PathBuf::from(plain)
}

/// Our group in the hierarchy of this mount: the line whose controllers are among the mount's options.
fn v1_membership(own: &str, mount: &Mount<'_>) -> Option<(Vec<String>, String)> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let controllers: Vec<String> = controllers.split(',').map(str::to_owned).collect();
        let mut options = mount.options.split(',');
        let ours = !controllers[0].is_empty() && options.any(|option| option == controllers[0]);
        ours.then(|| (controllers, path.to_owned()))
    })
}

/// The directory of a group: its path below what is mounted. A group outside of what we can see (`/../x` in a cgroup
/// namespace, or a mount of another subtree) is shown as the mount itself.
fn directory(mount: &Mount<'_>, own: &str) -> PathBuf {
    let own = Path::new(own);
    let hidden = own.components().any(|part| part == std::path::Component::ParentDir);
    match own.strip_prefix(&mount.root) {
        Ok(below) if !hidden && !below.as_os_str().is_empty() => mount.at.join(below),
        _ => mount.at.clone(),
    }
}

/// A path of the host, below its root.
pub(crate) fn below(host: &Host, path: &Path) -> PathBuf {
    host.root().join(path.strip_prefix("/").unwrap_or(path))
}

/// Opening for writing asks the kernel for every reason at once: mode, owner, read-only mount. Nothing is written.
fn is_writable(host: &Host, directory: &Path) -> bool {
    OpenOptions::new().write(true).open(below(host, directory).join("cgroup.procs")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_are_read() {
        let mount = Mount::parse(r"31 23 0:28 / /a\040b\134c rw - cgroup2 cgroup2 rw").unwrap();
        assert_eq!(mount.at, Path::new(r"/a b\c"));
        assert_eq!(unescaped(r"x\04"), Path::new(r"x\04"));
        assert_eq!(unescaped("\\\u{e4}\u{e4}"), Path::new("\\\u{e4}\u{e4}"));
        assert!(Mount::parse("garbage").is_none());
    }

    #[test]
    fn our_directory_below_a_mounted_subtree() {
        let mount = |root: &str| Mount { root: root.into(), at: "/sys/fs/cgroup".into(), kind: "cgroup2", options: "" };
        assert_eq!(directory(&mount("/"), "/"), Path::new("/sys/fs/cgroup"));
        assert_eq!(directory(&mount("/"), "/user.slice/x"), Path::new("/sys/fs/cgroup/user.slice/x"));
        assert_eq!(directory(&mount("/pod"), "/pod/x"), Path::new("/sys/fs/cgroup/x"));
        assert_eq!(directory(&mount("/pod"), "/other"), Path::new("/sys/fs/cgroup"));
        assert_eq!(directory(&mount("/"), "/../../x"), Path::new("/sys/fs/cgroup"));
    }
}
