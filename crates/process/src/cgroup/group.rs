//! Making groups, setting what they may use, and putting threads into them.

use std::{
    fs, io,
    io::ErrorKind,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use super::{CgroupError, Controller, GroupName, Hierarchy, OURS, Part, Version};
use crate::{CpuMask, NodeMask, id::is_gone};

impl Hierarchy {
    /// Makes the group of a guest. One that exists and is empty is taken over.
    ///
    /// # Errors
    /// [`CgroupError::Populated`] if there are processes in it; [`CgroupError::Io`].
    pub fn create(&self, name: &GroupName) -> Result<Cgroup, CgroupError> {
        let group = self.ensure(name)?;
        group.check_empty()?;
        Ok(group)
    }

    /// The group of a guest, made if there is none; with version 2 one that is there gets this controller.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn ensure(&self, name: &GroupName) -> Result<Cgroup, CgroupError> {
        let ours = self.mount.join(OURS);
        let group = self.at(ours.join(name.as_str()));
        // Another process may remove the empty `polyvirt` folder between our two steps.
        for last_try in [false, false, false, true] {
            make(self.version, self.controller, &ours)?;
            if self.version == Version::V2 {
                match write(&ours.join("cgroup.subtree_control"), &self.enables()) {
                    Err(CgroupError::Io { source, .. }) if is_gone(&source) && !last_try => continue,
                    other => other?,
                }
            }
            match make(self.version, self.controller, &group.path) {
                Err(CgroupError::Io { source, .. }) if is_gone(&source) && !last_try => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        Ok(group)
    }

    fn at(&self, path: PathBuf) -> Cgroup {
        Cgroup { controller: self.controller, version: self.version, path }
    }

    fn enables(&self) -> String {
        format!("+{}", self.controller.name(self.version))
    }

    /// The group of that name, if there is one. For finding what a lost guest left.
    pub fn open(&self, name: &GroupName) -> Option<Cgroup> {
        let path = self.mount.join(OURS).join(name.as_str());
        path.is_dir().then(|| self.at(path))
    }

    /// The names of all groups there are.
    ///
    /// # Errors
    /// [`CgroupError::Io`]; that there is no folder of ours is no error.
    pub fn groups(&self) -> Result<Vec<GroupName>, CgroupError> {
        let names = folders(&self.mount.join(OURS))?.into_iter();
        Ok(names.filter_map(|path| Some(GroupName(path.file_name()?.to_str()?.to_owned()))).collect())
    }
}

/// The group of one guest. Dropping it leaves the group where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    pub(super) controller: Controller,
    pub(super) version: Version,
    pub(super) path: PathBuf,
}

impl Cgroup {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its threads can be kept on CPUs and nodes.
    pub fn confines(&self) -> bool {
        self.path.join("cpuset.cpus").exists()
    }

    /// Makes a part of it; one that exists is taken as it is. A new part may use what the group may.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn part(&self, part: Part) -> Result<PartGroup, CgroupError> {
        let path = self.path.join(part.to_string());
        make(self.version, self.controller, &path)?;
        match self.version {
            // Pages follow when the allowed nodes change, as they always do with version 2.
            Version::V1 if self.controller == Controller::Cpuset => write(&path.join("cpuset.memory_migrate"), "1")?,
            Version::V1 => {}
            Version::V2 => {
                if read(&path.join("cgroup.type"))?.trim() != "threaded" {
                    write(&path.join("cgroup.type"), "threaded")?;
                }
                // After the first threaded part: only then may a group with processes hand on controllers.
                if self.controller.is_threaded() {
                    write(
                        &self.path.join("cgroup.subtree_control"),
                        &format!("+{}", self.controller.name(self.version)),
                    )?;
                }
            }
        }
        Ok(PartGroup { version: self.version, path })
    }

    /// Opened files which a process that is yet to execute joins in this order to end up in `part`.
    /// See [`crate::SpawnSpec::cgroups`].
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn join_files(&self, part: Part) -> Result<Vec<OwnedFd>, CgroupError> {
        let folder = self.path.join(part.to_string());
        let paths = match self.version {
            // A thread that writes itself into `tasks` spares the kernel a lock over all processes.
            Version::V1 => vec![folder.join("tasks")],
            // A process enters a threaded group only from within its domain.
            Version::V2 => vec![self.path.join("cgroup.procs"), folder.join("cgroup.threads")],
        };
        let open = |path: PathBuf| match fs::File::options().write(true).open(&path) {
            Ok(file) => Ok(OwnedFd::from(file)),
            Err(source) => Err(CgroupError::Io { action: "open".into(), path, source }),
        };
        paths.into_iter().map(open).collect()
    }

    /// Moves a running process into `part`, with all its threads. For what was started without a group.
    ///
    /// # Errors
    /// [`CgroupError::Io`], `ESRCH` if there is no such process.
    pub fn adopt(&self, pid: u32, part: Part) -> Result<(), CgroupError> {
        let group = self.part(part)?;
        let process = pid.to_string();
        match self.version {
            Version::V1 => write(&group.path.join("cgroup.procs"), &process),
            // Into the domain first; from there thread by thread. One that is made meanwhile is where its maker is.
            Version::V2 => {
                write(&self.path.join("cgroup.procs"), &process)?;
                let threads = crate::threads(pid).map_err(|source| CgroupError::Io {
                    action: "list the threads of".into(),
                    path: format!("/proc/{pid}").into(),
                    source,
                })?;
                for thread in threads {
                    match group.attach(thread.tid) {
                        Err(CgroupError::Io { source, .. }) if is_gone(&source) => {}
                        other => other?,
                    }
                }
                Ok(())
            }
        }
    }

    /// The processes in it and its parts, ascending. Empty also if there is no such group any more.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn processes(&self) -> Result<Vec<u32>, CgroupError> {
        let mut pids = Vec::new();
        let parts = match self.version {
            Version::V1 => folders(&self.path)?,
            // The domain lists the processes of all its threaded parts.
            Version::V2 => Vec::new(),
        };
        for folder in parts.iter().chain([&self.path]) {
            match read(&folder.join("cgroup.procs")) {
                Ok(text) => pids.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
                Err(CgroupError::Io { source, .. }) if is_gone(&source) => {}
                Err(error) => return Err(error),
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    pub(super) fn check_empty(&self) -> Result<(), CgroupError> {
        let pids = self.processes()?;
        match pids.first() {
            None => Ok(()),
            Some(first) => Err(CgroupError::Populated { path: self.path.clone(), count: pids.len(), first: *first }),
        }
    }
}

/// A part of a guest's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartGroup {
    pub(super) version: Version,
    pub(super) path: PathBuf,
}

impl PartGroup {
    /// Lets its threads run on these CPUs only. The kernel sets the affinity of those that are in it anew.
    ///
    /// # Errors
    /// [`CgroupError::Io`], such as `ENOSPC` for an empty set or a CPU that is not there.
    pub fn set_cpus(&self, cpus: &CpuMask) -> Result<(), CgroupError> {
        write(&self.path.join("cpuset.cpus"), &cpus.to_string())
    }

    /// Lets its threads take pages from these nodes only. Pages elsewhere move, if memory there is the
    /// process' own and the first thread of the process is in this part.
    ///
    /// # Errors
    /// [`CgroupError::Io`], such as `EINVAL` for a node without memory.
    pub fn set_mems(&self, nodes: &NodeMask) -> Result<(), CgroupError> {
        write(&self.path.join("cpuset.mems"), &nodes.to_string())
    }

    /// Moves a thread into it. The thread must belong to a process in the guest's group (version 2 insists).
    ///
    /// # Errors
    /// [`CgroupError::Io`], `ESRCH` if there is no such thread.
    pub fn attach(&self, tid: u32) -> Result<(), CgroupError> {
        let file = match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.threads",
        };
        write(&self.path.join(file), &tid.to_string())
    }

    /// The threads in it, ascending.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn threads(&self) -> Result<Vec<u32>, CgroupError> {
        let file = match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.threads",
        };
        let text = read(&self.path.join(file))?;
        let mut tids: Vec<u32> = text.split_ascii_whitespace().filter_map(|tid| tid.parse().ok()).collect();
        tids.sort_unstable();
        Ok(tids)
    }
}

/// Makes one folder and, with version 1, lets it use what its parent may: new ones there may use nothing.
fn make(version: Version, controller: Controller, path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(source) => return Err(CgroupError::Io { action: "create".into(), path: path.into(), source }),
        Ok(()) => {}
    }
    if version == Version::V2 || controller != Controller::Cpuset {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(path);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read(&path.join(file))?.trim().is_empty() {
            write(&path.join(file), read(&parent.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// The folders in a folder; none if it does not exist.
pub(super) fn folders(path: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |source| CgroupError::Io { action: "list".into(), path: path.into(), source };
    let entries = match fs::read_dir(path) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => found.push(entry.path()),
            Ok(_) => {}
            Err(error) if is_gone(&error) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub(super) fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Io { action: "read".into(), path: path.into(), source })
}

/// One write, as the kernel's files want it.
pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let written = fs::File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|source| CgroupError::Io { action: format!("write '{value}' to"), path: path.into(), source })
}
