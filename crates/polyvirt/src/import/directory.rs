//! Which files of a directory are definitions of guests, and what of libvirt's lies beside them. Nothing is written, nothing waits:
//! a pipe or a device under a guest's name is named and not opened.

use std::{
    collections::BTreeSet,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use polyvirt_core::{Error, ErrorKind, Result, io_error};

/// The largest definition that is read, in bytes.
const SIZE_LIMIT: u64 = 16 << 20;
/// A directory with more entries is none of definitions.
const ENTRY_LIMIT: usize = 1 << 16;
/// Where libvirt keeps the links of guests that start with the host.
const AUTOSTART: &str = "autostart";

/// What libvirt keeps beside definitions of guests, and why it stays there.
const BESIDE: &[(&str, &str)] = &[
    ("networks", "virtual networks are no guests; cards that use one need a bridge of the host here"),
    ("nwfilter", "network filters are no guests"),
    ("secrets", "secrets are no guests"),
    ("storage", "storage pools are no guests"),
    ("save", "saved states can be restored by libvirt alone"),
    ("snapshot", "snapshots stay with libvirt"),
    ("checkpoint", "checkpoints stay with libvirt"),
    ("dump", "memory dumps are no guests"),
    ("channel", "sockets of running guests"),
    ("ram", "memory of running guests"),
    ("nvram", "firmware variables are used where they are, as definitions name them"),
    ("swtpm", "states of TPMs are used where they are"),
];

/// A directory that was looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Directory {
    /// Its path, without symbolic links.
    pub path: PathBuf,
    /// Files that may be definitions, sorted by name.
    pub definitions: Vec<DefinitionFile>,
    /// Everything else, sorted by name.
    pub not_taken: Vec<NotTaken>,
}

/// A file that may be a definition.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DefinitionFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether libvirt starts its guest with the host.
    pub autostart: bool,
}

/// Something in the directory that is no definition of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotTaken {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl NotTaken {
    pub(super) fn new(path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into() }
    }
}

impl Directory {
    /// Looks at a directory; its files are read later.
    ///
    /// # Errors
    /// `NotFound`, `Denied` or `Storage` if it cannot be read; `InvalidArgument` if it is no directory or too large for one of
    /// definitions.
    pub async fn read(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        super::blocking(move || read(&path)).await
    }

    /// What libvirt keeps of a guest beside its definition and what is not taken over, in words.
    pub(super) async fn left_behind(&self, guest: &str) -> Vec<String> {
        let (path, guest) = (self.path.clone(), guest.to_owned());
        super::blocking(move || Ok(left_behind(&path, &guest))).await.unwrap_or_default()
    }
}

fn left_behind(directory: &Path, guest: &str) -> Vec<String> {
    let Some((root, driver)) = installed(directory) else { return Vec::new() };
    // A name that leads elsewhere names no file of libvirt's.
    if Path::new(guest).file_name().is_none_or(|name| name != guest) {
        return Vec::new();
    }
    let state = root.join("var/lib/libvirt").join(&driver);
    let mut left = Vec::new();
    let saved = state.join("save").join(format!("{guest}.save"));
    if saved.symlink_metadata().is_ok() {
        left.push(format!("its saved state stays with libvirt, here it boots anew: {}", saved.display()));
    }
    for (folder, what) in [("snapshot", "snapshots"), ("checkpoint", "checkpoints")] {
        let folder = state.join(folder).join(guest);
        if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
            left.push(format!("its {what} stay with libvirt: {}", folder.display()));
        }
    }
    let process = root.join("run/libvirt").join(&driver).join(format!("{guest}.pid"));
    if process.symlink_metadata().is_ok() {
        left.push("libvirt runs it now: shut it down there before it is started here".to_owned());
    }
    left
}

/// The root and the driver of `ROOT/etc/libvirt/DRIVER`.
fn installed(path: &Path) -> Option<(PathBuf, std::ffi::OsString)> {
    let (driver, above) = (path.file_name()?, path.parent()?);
    let is = |path: &Path, name: &str| path.file_name().is_some_and(|it| it == name);
    let etc = above.parent()?;
    (is(above, "libvirt") && is(etc, "etc")).then(|| Some((etc.parent()?.to_owned(), driver.to_owned())))?
}

fn read(path: &Path) -> Result<Directory> {
    let path = path.canonicalize().map_err(|error| io_error("read the directory", path, error))?;
    if !path.is_dir() {
        let message = format!("{} is no directory", path.display());
        return Err(Error::new(ErrorKind::InvalidArgument, message).hint(
            "name the directory of the definitions, such as /etc/libvirt/qemu; one file is for `polyvirt define`",
        ));
    }
    let mut found = Directory { definitions: Vec::new(), not_taken: Vec::new(), path };
    let mut marks = BTreeSet::new();
    for entry in entries(&found.path)? {
        if entry.ends_with(AUTOSTART) && entry.is_dir() {
            marks = entries(&entry)?.into_iter().filter_map(|it| it.file_name().map(Into::into)).collect();
            continue;
        }
        match no_definition(&entry) {
            Some(why) => found.not_taken.push(NotTaken::new(entry, why)),
            None => found.definitions.push(DefinitionFile { autostart: false, path: entry }),
        }
    }
    for file in &mut found.definitions {
        file.autostart = file.path.file_name().is_some_and(|name| marks.remove(name));
    }
    let marks = marks.into_iter().map(|name: std::ffi::OsString| found.path.join(AUTOSTART).join(name));
    found.not_taken.extend(marks.map(|mark| NotTaken::new(mark, "marks a guest that is not here")));
    found.not_taken.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Everything in a directory, sorted.
fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| io_error("read the directory", path, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        if found.len() == ENTRY_LIMIT {
            let message = format!("{} has more than {ENTRY_LIMIT} entries", path.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message).hint("name a directory of definitions alone"));
        }
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

/// Why this is no definition; `None` if it may be one, readable or not.
fn no_definition(path: &Path) -> Option<String> {
    let ends_in = |end: &str| path.extension().is_some_and(|it| it == end);
    let meta = match path.metadata() {
        Ok(meta) => meta,
        // Reading it says why it cannot be read.
        Err(_) if ends_in("xml") => return None,
        Err(error) => return Some(error.to_string()),
    };
    if meta.is_dir() {
        let name = path.file_name().unwrap_or_default();
        let known = BESIDE.iter().find(|(known, _)| name == *known).map(|(_, why)| (*why).to_owned());
        return Some(known.unwrap_or_else(|| "a directory, no definition; name it to import what is in it".to_owned()));
    }
    if ends_in("save") {
        return Some("a saved state: libvirt alone can restore it".to_owned());
    }
    if !ends_in("xml") {
        return Some("no definition: its name does not end in .xml".to_owned());
    }
    (!meta.is_file()).then(|| "a pipe, socket or device, no definition".to_owned())
}

impl DefinitionFile {
    /// Its text.
    ///
    /// # Errors
    /// `Denied`, `Storage` …, `InvalidArgument` for a file that is too large or no text.
    pub(super) async fn text(&self) -> Result<String> {
        let path = self.path.clone();
        super::blocking(move || text(&path)).await
    }
}

fn text(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let error = io_error("read", path, error);
        if denied { error.hint("libvirt's definitions belong to root: run this as root") } else { error }
    };
    let wrong = |what: &str| Error::new(ErrorKind::InvalidArgument, format!("{} {what}", path.display()));
    // It may have become a pipe since the directory was read: opening one waits for its other end.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(wrong("is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(wrong(&format!("is larger than {} MiB, which no definition is", SIZE_LIMIT >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text").hint("convert it first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libvirts_own_directory_is_known_by_its_path() {
        let of = |path: &str| installed(Path::new(path)).map(|(root, driver)| (root, driver.into_string().unwrap()));
        assert_eq!(of("/etc/libvirt/qemu"), Some(("/".into(), "qemu".into())));
        assert_eq!(of("/mnt/old/etc/libvirt/lxc"), Some(("/mnt/old".into(), "lxc".into())));
        assert_eq!((of("/etc/libvirt"), of("/"), of("/srv/libvirt/qemu")), (None, None, None));
    }
}
