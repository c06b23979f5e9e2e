//! Whether a process could use a file: every directory on the way, as path_resolution(7) goes it, and acl(5) at each.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::Metadata,
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Component, Path, PathBuf},
};

use nix::unistd::{Gid, Group, Uid, User};
use polyvirt_core::ProcessIdentity;

use crate::acl::{Acl, Who};

/// As the kernel: more links on one way are a loop.
const MAX_LINKS: usize = 40;

/// What is wanted of a file, or of a directory on the way (`SEARCH`).
pub(crate) const SEARCH: u32 = 1;
pub(crate) const READ: u32 = 4;
pub(crate) const WRITE: u32 = 2;

/// A file or directory as it is met on the way.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The permission bits.
    pub(crate) mode: u32,
    pub(crate) acl: Option<Acl>,
}

impl Step {
    fn new(path: PathBuf, about: &Metadata) -> Self {
        let acl = Acl::of(&path);
        Self { path, uid: about.uid(), gid: about.gid(), mode: about.mode() & 0o7777, acl }
    }

    /// Whether this identity may do all of that.
    pub(crate) fn allows(&self, who: &ProcessIdentity, wanted: u32) -> bool {
        if who.uid == 0 {
            // CAP_DAC_OVERRIDE.
            return true;
        }
        let has = |permissions: u32| permissions & wanted == wanted;
        if who.uid == self.uid {
            return has(self.mode >> 6 & 7);
        }
        let in_group = |gid: u32| who.gid == gid || who.groups.contains(&gid);
        let Some(acl) = &self.acl else {
            return has(if in_group(self.gid) { self.mode >> 3 & 7 } else { self.mode & 7 });
        };
        let mask = acl.get(Who::Mask).unwrap_or(7);
        if let Some(permissions) = acl.get(Who::User(who.uid)) {
            return has(permissions & mask);
        }
        let groups = acl.0.iter().filter(|(it, _)| match it {
            Who::OwningGroup => in_group(self.gid),
            Who::Group(gid) => in_group(*gid),
            _ => false,
        });
        let mut groups = groups.map(|(_, permissions)| permissions & mask).peekable();
        if groups.peek().is_some() { groups.any(has) } else { has(acl.get(Who::Other).unwrap_or(0)) }
    }

    /// Mode, owner and access list, as ls(1) and getfacl(1) have them.
    pub(crate) fn describe(&self) -> String {
        let user = User::from_uid(Uid::from_raw(self.uid)).ok().flatten().map_or(self.uid.to_string(), |it| it.name);
        let group = Group::from_gid(Gid::from_raw(self.gid)).ok().flatten().map_or(self.gid.to_string(), |it| it.name);
        let acl = self.acl.as_ref().map(ToString::to_string).filter(|it| !it.is_empty());
        format!("mode {:04o}, owner {user}:{group}{}", self.mode, acl.map_or(String::new(), |it| format!(", acl {it}")))
    }
}

/// What kind of file stands at the end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    BlockDevice,
    Other,
}

/// A way that was gone to its end.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The directories that have to be passed, each once.
    pub(crate) directories: Vec<Step>,
    /// What stands at the end; links are followed.
    pub(crate) end: Step,
    pub(crate) kind: Kind,
    /// Which file it is.
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// Goes a way, through all links.
///
/// # Errors
/// The file system's; a loop is `FilesystemLoop`.
pub(crate) fn walk(path: &Path) -> io::Result<Way> {
    let absolute = std::path::absolute(path)?;
    let mut left: VecDeque<OsString> = names(&absolute).collect();
    let mut at = PathBuf::from("/");
    let mut directories = vec![Step::new(at.clone(), &std::fs::metadata(&at)?)];
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let about = std::fs::symlink_metadata(&next)?;
        if about.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(nix::errno::Errno::ELOOP as i32));
            }
            let target = std::fs::read_link(&next)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(name);
            }
        } else if left.is_empty() {
            let kind = match about.file_type() {
                it if it.is_file() => Kind::File,
                it if it.is_block_device() => Kind::BlockDevice,
                _ => Kind::Other,
            };
            let (device, inode) = (about.dev(), about.ino());
            return Ok(Way { directories, end: Step::new(next, &about), kind, device, inode });
        } else {
            if !directories.iter().any(|it| it.path == next) {
                directories.push(Step::new(next.clone(), &about));
            }
            at = next;
        }
    }
    let about = std::fs::metadata(&at)?;
    let (device, inode) = (about.dev(), about.ino());
    Ok(Way { directories, end: Step::new(at, &about), kind: Kind::Other, device, inode })
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|it| match it {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn step(uid: u32, gid: u32, mode: u32, acl: Option<Acl>) -> Step {
        Step { path: "/x".into(), uid, gid, mode, acl }
    }

    #[test]
    fn the_kernels_order_of_owner_group_and_others() {
        let me = ProcessIdentity::new(10, 20, vec![30]);
        // The owner's own bits count even where those of others would give more.
        assert!(!step(10, 20, 0o077, None).allows(&me, READ));
        assert!(!step(1, 20, 0o707, None).allows(&me, READ));
        assert!(step(1, 30, 0o040, None).allows(&me, READ));
        assert!(!step(1, 30, 0o040, None).allows(&me, READ | WRITE));
        assert!(step(1, 1, 0o006, None).allows(&me, READ | WRITE));
        assert!(step(1, 1, 0o000, None).allows(&ProcessIdentity::new(0, 0, vec![]), READ | WRITE));
    }

    #[test]
    fn lists_go_before_the_group_and_are_masked() {
        let me = ProcessIdentity::new(10, 20, vec![30]);
        let acl = |mask: u32, more: &[(Who, u32)]| {
            let mut all = vec![(Who::Owner, 7), (Who::OwningGroup, 0), (Who::Mask, mask), (Who::Other, 7)];
            all.extend(more);
            Some(Acl(all))
        };
        assert!(step(1, 1, 0o770, acl(7, &[(Who::User(10), 6)])).allows(&me, READ | WRITE));
        assert!(!step(1, 1, 0o740, acl(4, &[(Who::User(10), 6)])).allows(&me, WRITE));
        assert!(step(1, 1, 0o770, acl(7, &[(Who::Group(30), 4), (Who::Group(20), 2)])).allows(&me, WRITE));
        assert!(!step(1, 1, 0o770, acl(7, &[(Who::Group(30), 4), (Who::Group(20), 2)])).allows(&me, READ | WRITE));
        // The owning group gives nothing, and who is in it is none of the others.
        assert!(!step(1, 20, 0o707, acl(7, &[])).allows(&me, READ));
    }

    #[test]
    fn links_are_followed_and_loops_end() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/file"), "").unwrap();
        std::fs::set_permissions(at("a"), std::fs::Permissions::from_mode(0o710)).unwrap();
        symlink("a/b", at("short")).unwrap();
        symlink("../short/../b/file", at("a/link")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let way = walk(&at("a/link")).unwrap();
        assert_eq!((way.end.path.as_path(), way.kind), (at("a/b/file").as_path(), Kind::File));
        let passed: Vec<_> = way.directories.iter().map(|it| it.path.as_path()).collect();
        assert!(passed.contains(&at("a/b").as_path()) && passed.contains(&Path::new("/")), "{passed:?}");
        assert_eq!(way.directories.iter().find(|it| it.path == at("a")).unwrap().mode, 0o710);
        assert_eq!(walk(&at("loop")).unwrap_err().raw_os_error(), Some(nix::errno::Errno::ELOOP as i32));
        assert_eq!(walk(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(walk(dir.path()).unwrap().kind, Kind::Other);
    }
}
