//! How a driver introduces itself, and `register_driver!`.

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use crate::{CapabilityId, ConnectUri, Driver, OpenOffline, Result, Roots, Settings};

/// A boxed future, as [`DriverDescriptor::open`] returns it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;
/// What opening a driver gives.
pub type Opened = Result<Arc<dyn Driver>>;

/// A lifecycle action that waits while no process of ours is attached to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AttendedAction {
    /// `<on_poweroff>restart</on_poweroff>`
    RestartOnPoweroff,
    /// `<on_reboot>destroy</on_reboot>`
    DestroyOnReboot,
    /// Any `<on_crash>`.
    OnCrash,
}

/// One setting of a driver, for `config show` and the manual.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct SettingDoc {
    /// Key in the driver's section of the settings file.
    pub key: &'static str,
    /// The default in words.
    pub default: &'static str,
    /// What it does, one sentence.
    pub doc: &'static str,
}

/// What a probe may look at. Cheap, without side effects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeContext {
    /// The driver's settings.
    pub settings: Settings,
    /// Directories to search for programs, as in `PATH`.
    pub search: Vec<std::path::PathBuf>,
}

impl ProbeContext {
    /// A context with these settings, searching the `PATH` of this process.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self { settings, search: std::env::split_paths(&path).collect() }
    }

    /// The first executable of that name.
    #[must_use]
    pub fn find(&self, program: &str) -> Option<std::path::PathBuf> {
        let given = Path::new(program);
        if given.is_absolute() {
            return given.is_file().then(|| given.to_path_buf());
        }
        self.search.iter().map(|dir| dir.join(program)).find(|path| path.is_file())
    }
}

/// Whether a driver can work on this host.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProbeResult {
    /// It can, with a short account of what was found.
    Usable(String),
    /// It is linked but cannot work here: why, and the remedy.
    NotOperational {
        /// Why.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Effective user id of this process.
    pub uid: u32,
    /// True for a connection to the system's guests, false for those of one user.
    pub privileged: bool,
}

impl Identity {
    /// An identity.
    #[must_use]
    pub fn new(uid: u32, privileged: bool) -> Self {
        Self { uid, privileged }
    }
}

/// Everything a driver gets when it is opened; there are no globals.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenContext {
    /// The URI.
    pub uri: ConnectUri,
    /// Who calls.
    pub identity: Identity,
    /// Where state is kept.
    pub roots: Roots,
    /// The driver's settings.
    pub settings: Settings,
}

impl OpenContext {
    /// A context.
    #[must_use]
    pub fn new(uri: ConnectUri, identity: Identity, roots: Roots, settings: Settings) -> Self {
        Self { uri, identity, roots, settings }
    }
}

/// What a driver crate registers.
#[derive(Debug)]
pub struct DriverDescriptor {
    /// Name, as in `--driver NAME` and in the settings file.
    pub name: &'static str,
    /// One sentence about it.
    pub summary: &'static str,
    /// Version of the driver crate.
    pub version: &'static str,
    /// URI schemes it answers, without transports.
    pub schemes: &'static [&'static str],
    /// Capabilities of the driver and of its domains; checked both ways by the testkit.
    pub capabilities: &'static [CapabilityId],
    /// Paths of the model that it honours, `/domain/devices/disk/**`. The engine warns about others.
    pub honours: &'static [&'static str],
    /// What waits while no process of ours is attached.
    pub needs_attendant: &'static [AttendedAction],
    /// Its settings.
    pub settings: &'static [SettingDoc],
    /// Opens it without a host, for tools that have none to ask. `None`: the driver can do nothing without one.
    pub offline: Option<OpenOffline>,
    /// Can it work here? For the URI `""` and for `--drivers`; cheap, no side effect.
    pub probe: fn(&ProbeContext) -> ProbeResult,
    /// Opens it.
    pub open: fn(OpenContext) -> BoxFuture<Opened>,
}

impl DriverDescriptor {
    /// Whether it declares the capability.
    #[must_use]
    pub fn has(&self, capability: CapabilityId) -> bool {
        self.capabilities.contains(&capability)
    }

    /// Whether it honours a path of the model, `/domain/devices/disk/@type`.
    ///
    /// `**` at the end of a pattern stands for everything below (and the place itself), `*` for one step. A pattern that goes
    /// deeper than `path` covers it too: an element is honoured if something in it is.
    #[must_use]
    pub fn honours_path(&self, path: &str) -> bool {
        self.honours.iter().any(|pattern| path_matches(pattern, path))
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let strip = |step: &str| step.split('[').next().unwrap_or(step).to_owned();
    let mut steps = path.split('/').map(strip);
    for part in pattern.split('/') {
        if part == "**" {
            return true;
        }
        match steps.next() {
            None => return true,
            Some(step) if part == "*" || part == step => {}
            Some(_) => return false,
        }
    }
    steps.next().is_none()
}

/// What [`register_driver!`](crate::register_driver) collects.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registration(pub &'static DriverDescriptor);

inventory::collect!(Registration);

/// Registers a driver: `polyvirt_core::register_driver!(DESCRIPTOR);` with a `static DESCRIPTOR: DriverDescriptor`.
///
/// A crate that is only listed under `[dependencies]` registers nothing: the linker drops it. The program that wants the
/// driver says `use my_driver as _;`.
#[macro_export]
macro_rules! register_driver {
    ($descriptor:path) => {
        $crate::__inventory::submit! { $crate::Registration(&$descriptor) }
    };
}

#[cfg(test)]
mod tests {
    use super::path_matches;

    #[test]
    fn honoured_paths() {
        assert!(path_matches("/domain/devices/disk/**", "/domain/devices/disk[2]/source/@file"));
        assert!(path_matches("/domain/devices/disk/**", "/domain/devices/disk"));
        assert!(path_matches("/domain/devices/disk/**", "/domain/devices"));
        assert!(path_matches("/domain/name", "/domain/name"));
        assert!(!path_matches("/domain/name", "/domain/name/@x"));
        assert!(!path_matches("/domain/devices/disk/**", "/domain/devices/tpm"));
        assert!(path_matches("/domain/*/x", "/domain/a[1]/x"));
    }
}
