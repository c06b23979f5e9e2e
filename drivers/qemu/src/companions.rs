//! Processes that serve devices of one guest: swtpm its TPM, virtiofsd folders of the host.
//!
//! Each listens on a socket that is there before it is run, so nothing waits for it; it ends with its guest, and sooner when QEMU
//! goes. They are in the record beside QEMU, so that whoever finds the guest again finds them.
//!
//! What is not done here: a TPM gets no certificates of a manufacturer (`swtpm_setup`), and its state stays when the guest is
//! undefined.

use std::{
    ffi::OsString,
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    time::Duration,
};

use polyvirt_core::{
    Error, ErrorKind, Result, io_error,
    model::{
        DomainConfig,
        filesystem::{Filesystem, FilesystemDriverType},
        misc::{Tpm, TpmBackendType, TpmSourceType, TpmVersion},
    },
};
use polyvirt_process::{
    Credentials, GatedChild, KeptFd, ProcessId, Signal, SpawnSpec, Stdio, Watched, command_line, spawn,
};
use serde::{Deserialize, Serialize};

use crate::{
    command::{filesystem, name_devices, tpm},
    failure::not_started,
    places::{Places, make_folder},
    program,
};

/// The number under which a companion finds its listening socket.
const LISTENING: i32 = 3;
/// Where distributions put virtiofsd, which is in nobody's path.
const VIRTIOFSD: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];
/// How long a killed companion may take to be gone.
const ENDING: Duration = Duration::from_secs(5);

/// One that runs, as the record has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) process: ProcessId,
    pub(crate) program: PathBuf,
}

/// One that is to run.
#[derive(Debug, PartialEq)]
pub(crate) struct Companion {
    program: PathBuf,
    args: Vec<OsString>,
    /// Where it listens.
    socket: PathBuf,
    /// What it keeps, and made if missing.
    state: Option<PathBuf>,
    /// As the user who runs QEMU; else as we do.
    as_guest: bool,
}

/// Those that a guest needs.
///
/// # Errors
/// `NotFound` for a program that is not installed, `Unsupported` without the rights that it needs.
pub(crate) fn of(config: &DomainConfig, places: &Places, search: &[PathBuf]) -> Result<Vec<Companion>> {
    let mut named = config.clone();
    name_devices(&mut named)?;
    let mut found = Vec::new();
    for it in named.devices.tpms.iter().filter(|it| kind(it) == Some(TpmBackendType::Emulator)) {
        found.push(swtpm(it, places, search)?);
    }
    for it in named.devices.filesystems.iter().filter(|it| is_served(it)) {
        found.push(virtiofsd(it, places)?);
    }
    Ok(found)
}

fn kind(tpm: &Tpm) -> Option<TpmBackendType> {
    tpm.backend.as_ref().and_then(|it| it.kind)
}

fn is_served(folder: &Filesystem) -> bool {
    let virtiofs = folder.driver.as_ref().and_then(|it| it.kind) == Some(FilesystemDriverType::Virtiofs);
    virtiofs && folder.source.as_ref().is_none_or(|it| it.socket.is_none())
}

/// swtpm(8).
fn swtpm(tpm: &Tpm, places: &Places, search: &[PathBuf]) -> Result<Companion> {
    let program = search.iter().map(|it| it.join("swtpm")).find(|it| it.is_file()).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "there is no swtpm in PATH").hint("install swtpm, or leave the <tpm> out")
    })?;
    let about = tpm.backend.as_ref();
    let old = about.and_then(|it| it.version) == Some(TpmVersion::V12);
    let source = about.and_then(|it| it.source.as_ref());
    let own = || places.folders.tpm.join(if old { "tpm1.2" } else { "tpm2" });
    let (state, whole) = match source.and_then(|it| Some((it.kind?, it.path.as_ref()?))) {
        Some((TpmSourceType::File, path)) => (format!("backend-uri=file://{path}"), None),
        Some((_, path)) => (format!("dir={path},mode=0600"), Some(PathBuf::from(path))),
        None => (format!("dir={},mode=0600", own().display()), Some(own())),
    };
    let mut args = vec!["socket".to_owned(), "--ctrl".into(), format!("type=unixio,fd={LISTENING}")];
    args.extend(["--tpmstate".into(), state, "--terminate".into()]);
    if !old {
        args.push("--tpm2".into());
    }
    if let Some(level) = about.and_then(|it| it.debug) {
        args.extend(["--log".into(), format!("fd=2,level={level}")]);
    }
    let args = args.into_iter().map(Into::into).collect();
    Ok(Companion { program, args, socket: tpm::socket(&places.folders), state: whole, as_guest: true })
}

/// virtiofsd(1); the options are those that QEMU's and the one in Rust share.
fn virtiofsd(folder: &Filesystem, places: &Places) -> Result<Companion> {
    if !nix::unistd::Uid::effective().is_root() {
        let problem = "virtiofsd shuts itself into the folder, which takes root";
        return Err(Error::new(ErrorKind::Unsupported, problem).hint("use qemu:///system, or a 9p filesystem"));
    }
    let binary = folder.binary.as_ref();
    let own = binary.and_then(|it| it.path.as_ref()).map(PathBuf::from);
    let program = own.or_else(|| VIRTIOFSD.map(PathBuf::from).into_iter().find(|it| it.is_file()));
    let program = program.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no virtiofsd at {}", VIRTIOFSD.join(", ")))
            .hint("install it, or name it with <binary path='…'/>")
    })?;
    // The path comes last: what follows a comma would be options.
    let mut options = Vec::new();
    let mut said = |name: &str, on: Option<bool>| {
        options.extend(on.map(|on| if on { name.to_owned() } else { format!("no_{name}") }));
    };
    said("xattr", binary.and_then(|it| it.xattr));
    let lock = binary.and_then(|it| it.lock.as_ref());
    said("flock", lock.and_then(|it| it.flock));
    said("posix_lock", lock.and_then(|it| it.posix));
    let cache = binary.and_then(|it| it.cache.as_ref()).and_then(|it| it.mode);
    options.extend(cache.map(|it| format!("cache={it}")));
    let sandbox = binary.and_then(|it| it.sandbox.as_ref()).and_then(|it| it.mode);
    options.extend(sandbox.map(|it| format!("sandbox={it}")));
    let source = folder.source.as_ref().and_then(|it| it.dir.as_deref()).unwrap_or_default();
    if source.contains([',', '\\']) {
        let problem = format!("'{source}' has a comma or a backslash, which virtiofsd takes for its own");
        return Err(Error::new(ErrorKind::InvalidConfig, problem));
    }
    options.push(format!("source={source}"));
    let mut args = vec![format!("--fd={LISTENING}"), "-o".into(), options.join(",")];
    args.extend(binary.and_then(|it| it.thread_pool.as_ref()).map(|it| format!("--thread-pool-size={}", it.size)));
    let files = binary.and_then(|it| it.openfiles.as_ref()).and_then(|it| it.max);
    args.extend(files.map(|it| format!("--rlimit-nofile={it}")));
    let args = args.into_iter().map(Into::into).collect();
    let socket = filesystem::socket(folder, &places.folders);
    Ok(Companion { program, args, socket, state: None, as_guest: false })
}

impl Companion {
    /// Makes its socket and the process, which waits at its gate. What it says goes to the guest's log.
    ///
    /// # Errors
    /// What the file system or the kernel refuses.
    pub(crate) fn prepare(
        &self,
        user: Option<&Credentials>,
        log: &File,
        cgroups: Vec<OwnedFd>,
    ) -> Result<(GatedChild, Recorded)> {
        if let Some(state) = &self.state {
            make_folder(state, 0o700, user)?;
        }
        let listener = UnixListener::bind(&self.socket).map_err(|error| io_error("listen on", &self.socket, error))?;
        if let Some(user) = user {
            std::os::unix::fs::chown(&self.socket, Some(user.uid), Some(user.gid))
                .map_err(|error| io_error("change the owner of", &self.socket, error))?;
        }
        let copy = || log.try_clone().map_err(|error| io_error("open", Path::new("the guest's log"), error));
        let mut spec = SpawnSpec::new(&self.program);
        spec.args.clone_from(&self.args);
        spec.env = program::environment();
        spec.keep = vec![KeptFd::new(listener.into(), LISTENING)];
        spec.credentials = user.filter(|_| self.as_guest).cloned();
        spec.no_new_privs = true;
        spec.cgroups = cgroups;
        spec.stdout = Stdio::Fd(copy()?.into());
        spec.stderr = Stdio::Fd(copy()?.into());
        let gated = spawn(&spec).map_err(not_started)?;
        let recorded = Recorded { process: gated.id(), program: self.program.clone() };
        Ok((gated, recorded))
    }
}

impl Recorded {
    /// Ends it, if it still runs and is what the record says.
    pub(crate) async fn end(&self) {
        let Ok(Some(watched)) = Watched::open(self.process) else { return };
        // One that is still at its gate shows our own arguments; what made it is gone then, and so is it in a moment.
        let args = command_line(self.process.pid).await.unwrap_or_default();
        if args.first().is_none_or(|it| Path::new(it) != self.program) {
            return;
        }
        watched.kill(Signal::SIGKILL).ok();
        if tokio::time::timeout(ENDING, watched.exited()).await.is_err() {
            tracing::warn!(pid = self.process.pid, program = %self.program.display(), "companion does not end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::{GuestRef, Roots, model::ParseOptions};

    fn companions(devices: &str) -> Result<Vec<Companion>> {
        let text = format!("<domain type='qemu'><name>a</name><devices>{devices}</devices></domain>");
        let config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        let guest = GuestRef::new("a", "11111111-2222-3333-4444-555555555555", None);
        let places = Places::of(&guest, &Roots::embedded(Path::new("/r"), "qemu", false));
        of(&config, &places, &[PathBuf::from("/usr/bin"), PathBuf::from("/bin")])
    }

    #[test]
    fn who_brings_a_socket_needs_nobody() {
        let external = "<tpm><backend type='external'><source type='unix' mode='connect' path='/s'/></backend></tpm>\
                        <filesystem><driver type='virtiofs'/><source socket='/s'/><target dir='t'/></filesystem>";
        assert_eq!(companions(external).unwrap(), []);
    }

    #[test]
    fn a_folder_cannot_bring_options() {
        let folder = |dir: &str| {
            format!(
                "<filesystem><driver type='virtiofs'/><binary path='/v' xattr='off'><cache mode='none'/></binary><source dir='{dir}'/><target dir='t'/></filesystem>"
            )
        };
        if !nix::unistd::Uid::effective().is_root() {
            assert_eq!(companions(&folder("/a")).unwrap_err().kind(), ErrorKind::Unsupported);
            return;
        }
        let found = companions(&folder("/a")).unwrap();
        assert_eq!(found[0].args, ["--fd=3", "-o", "no_xattr,cache=none,source=/a"].map(OsString::from));
        let error = companions(&folder("/a,sandbox=none")).unwrap_err();
        assert!(error.to_string().contains("has a comma"), "{error}");
    }
}
