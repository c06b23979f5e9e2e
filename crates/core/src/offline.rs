//! A driver without a host: what a definition becomes and means on a hypervisor that is not at hand.
//!
//! The answers follow from what is handed in and from nothing else: what the hypervisor was recorded to say, a directory that
//! stands for `/`, settings. So they can be had on any machine, and are the same on each.

use std::{
    any::Any,
    fmt::Debug,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use polyvirt_model::{DomainConfig, Guest, Problems, XmlTree};
use polyvirt_numa_placement::{Kib, Plan};

use crate::{DomainCaps, DomainCapsQuery, Error, ErrorKind, GuestSupport, HypervisorFacts, Result, Settings};

/// What somebody wrote down of a hypervisor, in the driver's own form. Read once, however often it is used.
#[derive(Debug)]
pub struct Recording {
    text: String,
    read: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
}

impl Recording {
    /// A recording.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text, read: Mutex::default() }
    }

    /// What is written in it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What `read` makes of it, made when it is first asked for. It is for one driver: another type is made anew.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read_as<T, E>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Result<Arc<T>, E>
    where
        T: Any + Send + Sync,
    {
        let mut kept = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(known)) = kept.clone().map(Arc::downcast) {
            return Ok(known);
        }
        let made = Arc::new(read(&self.text)?);
        *kept = Some(made.clone());
        Ok(made)
    }
}

/// The host and the hypervisor that a definition is completed for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OfflineContext {
    /// Architecture of the host, in libvirt's words.
    pub arch: String,
    /// What the hypervisor can do; `None`: what every version can.
    pub recording: Option<Arc<Recording>>,
    /// The host's `<cpu>`, as capabilities have it.
    pub host_cpu: Option<XmlTree>,
    /// The driver's settings.
    pub settings: Settings,
    /// A directory that stands for `/`; without it the host has no files.
    pub sysroot: Option<PathBuf>,
    /// Whether the guest may have run before.
    pub guest: Guest,
    /// Keep the name that stands for the newest machine of its kind.
    pub keep_machine_alias: bool,
    /// Whether definitions describe running guests.
    pub running: bool,
}

impl OfflineContext {
    /// A host of this architecture of which nothing is known, and guests that may have run.
    #[must_use]
    pub fn new(arch: impl Into<String>) -> Self {
        Self {
            arch: arch.into(),
            recording: None,
            host_cpu: None,
            settings: Settings::default(),
            sysroot: None,
            guest: Guest::Existing,
            keep_machine_alias: false,
            running: false,
        }
    }
}

/// What a definition in the hypervisor's own language is made for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Where the guest's memory and CPUs go; `None`: it has no wishes.
    pub plan: Option<Plan>,
    /// Where the guest comes from in a migration, `tcp:0.0.0.0:49152`.
    pub incoming: Option<String>,
}

/// Memory that a hypervisor's process may have to lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockedMemory {
    /// None: no limit has to be raised.
    #[default]
    None,
    /// At most so much.
    UpTo(Kib),
    /// All that it ever takes.
    Unlimited,
}

/// What a guest needs of its host beyond memory and CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resources {
    /// Memory that may have to be locked (`RLIMIT_MEMLOCK` of setrlimit(2)).
    pub locked_memory: LockedMemory,
}

/// A driver that has no host. Its methods look at nothing but what it was opened with.
pub trait OfflineDriver: Send + Sync + Debug {
    /// Fills the hypervisor's defaults and addresses in, and refuses what it cannot do.
    ///
    /// *Behaviour*: idempotent; every problem is reported.
    ///
    /// # Errors
    /// All problems of the definition; it is then partly completed and of no use.
    fn complete(&self, config: &mut DomainConfig) -> Result<(), Problems>;

    /// What a completed definition needs of its host.
    ///
    /// # Errors
    /// `Unsupported` by default.
    fn resources(&self, config: &DomainConfig) -> Result<Resources> {
        let _ = config;
        Err(Error::new(ErrorKind::Unsupported, "this driver does not say what guests need"))
    }

    /// Formats of [`OfflineDriver::export`]; the first is the default.
    fn formats(&self) -> &'static [&'static str] {
        &[]
    }

    /// A completed definition in the hypervisor's own language.
    ///
    /// # Errors
    /// `Unsupported` for a format that is not among [`OfflineDriver::formats`]; `InvalidConfig` for a definition that can be
    /// stored and not started.
    fn export(&self, format: &str, config: &DomainConfig, options: &ExportOptions) -> Result<String> {
        let (_, _) = (config, options);
        let known = self.formats().join("', '");
        Err(Error::new(ErrorKind::Unsupported, format!("'{format}' is no format of this driver; it has '{known}'")))
    }

    /// What the recorded hypervisor is: version, accelerators, machine types, CPU models.
    ///
    /// # Errors
    /// `InvalidArgument` without a recording or with one of another architecture than the context's.
    fn facts(&self) -> Result<HypervisorFacts> {
        Err(tells_nothing())
    }

    /// Kinds of guests of the recorded hypervisor. Machine types are [`OfflineDriver::facts`]' to tell.
    ///
    /// # Errors
    /// As [`OfflineDriver::facts`].
    fn guests(&self, emulator: Option<&Path>) -> Result<Vec<GuestSupport>> {
        let _ = emulator;
        Err(tells_nothing())
    }

    /// What guests of one kind can have.
    ///
    /// # Errors
    /// As [`OfflineDriver::facts`]; `InvalidArgument` for a machine type or a way to run that it does not have.
    fn domain_capabilities(&self, query: &DomainCapsQuery) -> Result<DomainCaps> {
        let _ = query;
        Err(tells_nothing())
    }
}

fn tells_nothing() -> Error {
    Error::new(ErrorKind::Unsupported, "this driver tells nothing of a hypervisor that is not at hand")
}

/// Opens a driver without a host: see [`DriverDescriptor::offline`](crate::DriverDescriptor::offline).
pub type OpenOffline = fn(OfflineContext) -> Result<Box<dyn OfflineDriver>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_once_per_type() {
        let recording = Recording::new("12".into());
        let read = |text: &str| text.parse::<u32>();
        let first = recording.read_as(read).unwrap();
        let again = recording.read_as(|_| -> Result<u32, std::num::ParseIntError> { panic!("read twice") }).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*recording.read_as(|text| Ok::<_, ()>(text.to_owned())).unwrap(), "12");
        assert!(Recording::new("x".into()).read_as(read).is_err());
    }
}
