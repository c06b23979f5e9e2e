//! The driver: finding and probing emulators, completing and checking definitions.

mod capabilities;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use polyvirt_core::{
    BoxFuture, Custody, DomainCapabilities, Driver, DriverDescriptor, Error, ErrorKind, GuestFacts, GuestRef,
    GuestSupport, LiveConfig, MachineSupport, NativeExport, OfflineSnapshots, OpenContext, Opened, OutsideStatistics,
    ProbeContext, ProbeResult, Result, Roots, async_trait,
    model::{DomainConfig, DomainKind, Problem, Problems},
    placement::{PlacementProfile, Plan},
};

use polyvirt_firmware::Firmwares;

use crate::{
    capabilities as abilities,
    command::{self, Input, MonitorAt, Purpose},
    complete::{self, Choices, Given},
    config::{Config, KvmUse, RunAs},
    kvm::{self, Verdict},
    places::{self, Places},
    plug::Builder,
    ports,
    probe::{Binary, Cache, ProbeError},
    scsi,
};

/// What was found out for one definition.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) binary: Arc<Binary>,
    /// Only for definitions that want KVM.
    pub(crate) kvm: Option<Verdict>,
    /// Only for definitions that want firmware.
    pub(crate) firmware: Arc<Firmwares>,
}

impl Facts {
    /// Those of a binary alone.
    pub(crate) fn of(binary: Arc<Binary>) -> Self {
        Self { binary, kvm: None, firmware: Arc::default() }
    }
}

/// An opened driver.
#[derive(Debug)]
pub(crate) struct Qemu {
    pub(crate) config: Arc<Config>,
    pub(crate) roots: Roots,
    pub(crate) run_as: RunAs,
    /// Whether it is the system's connection.
    privileged: bool,
    pub(crate) cache: Cache,
    /// Ports of guests that are being started.
    pub(crate) ports: ports::Kept,
    pub(crate) search: Vec<PathBuf>,
    profile: PlacementProfile,
}

/// Whether a QEMU can be found. Runs nothing.
pub(crate) fn probe(cx: &ProbeContext) -> ProbeResult {
    let config = match Config::read(&cx.settings) {
        Ok(config) => config,
        Err(error) => {
            return ProbeResult::NotOperational {
                reason: error.to_string(),
                remedy: "correct the settings of the qemu driver".into(),
            };
        }
    };
    let name = config.emulator.unwrap_or_else(|| default_name(std::env::consts::ARCH));
    match cx.find(&name) {
        Some(path) => ProbeResult::Usable(path.display().to_string()),
        None => ProbeResult::NotOperational {
            reason: format!("there is no {name} in PATH"),
            remedy: "install QEMU (Debian: qemu-system-x86), or set 'emulator' for the qemu driver".into(),
        },
    }
}

pub(crate) fn open(cx: OpenContext) -> BoxFuture<Opened> {
    Box::pin(async move {
        let mut config = Config::read(&cx.settings)?;
        config.tell_without_effect();
        if !cx.settings.values().contains_key("nvram_dir") {
            // What is usual is libvirt's folder, with variables of libvirt's guests in it.
            config.nvram_dir = places::nvram(&cx.roots);
        }
        let privileged = cx.identity.privileged;
        let settings = config.clone();
        let run_as = tokio::task::spawn_blocking(move || RunAs::decide(&settings, privileged))
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "looking up the user failed").source(error))??;
        let search = ProbeContext::new(cx.settings.clone()).search;
        let cache = Cache::new(cx.roots.cache.clone(), config.start_timeout());
        let profile = PlacementProfile::qemu();
        let driver = Qemu {
            config: Arc::new(config),
            roots: cx.roots,
            run_as,
            privileged,
            cache,
            ports: ports::Kept::default(),
            search,
            profile,
        };
        Ok(Arc::new(driver) as Arc<dyn Driver>)
    })
}

/// The emulator of an architecture in libvirt's words.
pub(crate) fn default_name(arch: &str) -> String {
    let target = match arch {
        "i686" | "x86" => "i386",
        "ppc64le" | "powerpc64" => "ppc64",
        "armv6l" | "armv7l" => "arm",
        other => other,
    };
    format!("qemu-system-{target}")
}

impl Qemu {
    /// What the command line of a guest follows from, but for its definition.
    pub(crate) fn builder(&self, binary: Arc<Binary>, places: &Places) -> Builder {
        Builder { binary, settings: self.config.clone(), folders: places.folders.clone() }
    }

    fn find(&self, program: &str) -> Result<PathBuf> {
        let given = Path::new(program);
        if given.is_absolute() {
            return Ok(given.into());
        }
        self.search.iter().map(|it| it.join(program)).find(|it| it.is_file()).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no {program} in PATH"))
                .hint("install QEMU (Debian: qemu-system-x86), or name it with <emulator> or the setting 'emulator'")
        })
    }

    /// The emulator for a definition: its own, the settings', or the one of its architecture.
    fn emulator(&self, config: &DomainConfig) -> Result<PathBuf> {
        if let Some(own) = &config.devices.emulator {
            return self.find(own);
        }
        let os = config.os.as_ref().and_then(|it| it.r#type.as_ref());
        let name = default_name(os.and_then(|it| it.arch.as_deref()).unwrap_or(std::env::consts::ARCH));
        self.find(self.config.emulator.as_deref().unwrap_or(&name))
    }

    pub(crate) async fn binary(&self, config: &DomainConfig) -> Result<Arc<Binary>> {
        self.probe(&self.emulator(config)?).await
    }

    async fn probe(&self, path: &Path) -> Result<Arc<Binary>> {
        self.cache.binary(path, self.run_as.credentials.as_ref()).await.map_err(unusable)
    }

    /// Whether guests with this `-cpu` run on KVM, by the settings and by trying it.
    async fn kvm(&self, binary: &Binary, cpu: &str) -> Verdict {
        match self.config.kvm {
            KvmUse::Trust => Verdict::Usable,
            KvmUse::Never => Verdict::Unusable {
                reason: "the settings of the qemu driver say kvm = \"never\"".into(),
                remedy: "use <domain type='qemu'>, or change the setting".into(),
            },
            KvmUse::Auto => kvm::judge(&self.cache, binary, cpu, self.run_as.credentials.as_ref()).await,
        }
    }

    /// The firmware that is installed; a session has its user's too.
    async fn firmware(&self) -> Result<Arc<Firmwares>> {
        let home = (!self.privileged).then(|| std::env::var_os("HOME").map(PathBuf::from)).flatten();
        let read = tokio::task::spawn_blocking(move || Firmwares::read(Path::new("/"), home.as_deref())).await;
        let read = read.map_err(|error| Error::new(ErrorKind::Internal, "reading firmware failed").source(error))?;
        for problem in &read.problems {
            tracing::warn!(%problem, "firmware description");
        }
        Ok(Arc::new(read))
    }

    async fn support(&self, path: &Path) -> Result<GuestSupport> {
        let binary = self.probe(path).await?;
        let arch = abilities::arch(&binary);
        let mut support = GuestSupport::new("hvm", arch);
        support.features = abilities::guest_features(arch);
        support.emulator = Some(binary.path.clone());
        support.domain_types = vec!["qemu".into()];
        match self.kvm(&binary, "host").await {
            Verdict::Usable => support.domain_types.insert(0, "kvm".into()),
            Verdict::Unusable { reason, remedy } => support.notes.push(format!("no KVM: {reason}; {remedy}")),
        }
        support.notes.extend(self.run_as.warning.clone());
        let mut machines: Vec<_> = binary.best.machines.iter().filter(|it| it.name != "none").collect();
        machines.sort_by_key(|it| !it.is_default);
        support.machines = machines
            .into_iter()
            .map(|it| MachineSupport { name: it.name.clone(), alias: it.alias.clone(), max_vcpus: it.cpu_max })
            .collect();
        Ok(support)
    }

    /// Emulators of this host: the settings', and every `qemu-system-*` in PATH.
    fn emulators(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = self.config.emulator.iter().filter_map(|it| self.find(it).ok()).collect();
        for folder in &self.search {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut here: Vec<PathBuf> = entries
                .filter(|it| it.file_name().to_str().is_some_and(is_emulator))
                .map(|it| it.path())
                .filter(|it| it.is_file())
                .collect();
            here.sort();
            for path in here {
                if !found.iter().any(|it| it.file_name() == path.file_name()) {
                    found.push(path);
                }
            }
        }
        // The host's own architecture first.
        let own = default_name(std::env::consts::ARCH);
        found.sort_by_key(|it| it.file_name().is_none_or(|name| name != own.as_str()));
        found
    }

    pub(crate) fn places(&self, guest: &GuestRef) -> Places {
        Places::of(guest, &self.roots)
    }
}

/// `qemu-system-x86_64`, but not `qemu-system-x86_64-spice` and the like, which are parts of it.
fn is_emulator(name: &str) -> bool {
    let target = name.strip_prefix("qemu-system-");
    target.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

fn unusable(error: ProbeError) -> Error {
    let error = match error {
        ProbeError::Start(error) => return crate::failure::not_started(error),
        other => other,
    };
    let (kind, hint) = match &error {
        ProbeError::Missing { .. } => (ErrorKind::NotFound, "install QEMU, or correct <emulator>"),
        ProbeError::Silent { .. } => (ErrorKind::Timeout, "run it by hand with -machine none to see what holds it up"),
        _ => (ErrorKind::Hypervisor, "run it by hand with -machine none to see what is wrong"),
    };
    Error::new(kind, error.to_string()).hint(hint).source(error)
}

fn facts_of(facts: &GuestFacts) -> Result<&Facts> {
    facts.detail().ok_or_else(|| Error::new(ErrorKind::Internal, "these facts are another driver's"))
}

#[async_trait]
impl Driver for Qemu {
    fn descriptor(&self) -> &'static DriverDescriptor {
        &crate::DESCRIPTOR
    }

    async fn guests(&self) -> Result<Vec<GuestSupport>> {
        let mut supports = Vec::new();
        let mut last = Error::new(ErrorKind::NotFound, "there is no qemu-system-* in PATH").hint("install QEMU");
        for path in self.emulators() {
            match self.support(&path).await {
                Ok(support) => supports.push(support),
                Err(error) => {
                    tracing::warn!(%error, "emulator is left out");
                    last = error;
                }
            }
        }
        if supports.is_empty() { Err(last) } else { Ok(supports) }
    }

    async fn facts(&self, config: &DomainConfig) -> Result<GuestFacts> {
        // The emulator of another hypervisor's guest is no QEMU: it must not be run to ask.
        let foreign: Vec<Problem> = crate::check::types(config).collect();
        if !foreign.is_empty() {
            return Err(Error::invalid_config(foreign.into_iter().collect())
                .hint("leave it to a driver of that hypervisor; `polyvirt drivers` shows those of this build"));
        }
        let binary = self.binary(config).await?;
        let kvm = match config.kind {
            DomainKind::Kvm => {
                // QEMU's default for x86 is this.
                let cpu = command::cpu::argument(config, None, None).unwrap_or_else(|| "qemu64".into());
                Some(self.kvm(&binary, &cpu).await)
            }
            _ => None,
        };
        let firmware = if complete::wants_firmware(config) { self.firmware().await? } else { Arc::default() };
        Ok(GuestFacts::new(Facts { binary, kvm, firmware }))
    }

    fn complete(&self, config: &mut DomainConfig, facts: &GuestFacts) -> Result<()> {
        let facts = facts_of(facts)?;
        let (binary, firmware) = (&*facts.binary, &*facts.firmware);
        let given = Given { binary, settings: &self.config, firmware, choices: Choices::default() };
        complete::complete(config, &given).map_err(Error::invalid_config)
    }

    fn check(&self, config: &DomainConfig, facts: &GuestFacts) -> Result<(), Problems> {
        match facts.detail() {
            Some(facts) => crate::check::check(config, facts),
            None => Err(Problem::error("/domain", "these facts are another driver's").into()),
        }
    }

    fn custody(&self) -> Custody<'_> {
        Custody::Ours(self)
    }

    fn placement(&self) -> Option<&PlacementProfile> {
        Some(&self.profile)
    }

    fn domain_capabilities(&self) -> Option<&dyn DomainCapabilities> {
        Some(self)
    }

    fn offline_snapshots(&self) -> Option<&dyn OfflineSnapshots> {
        Some(self)
    }

    fn outside_statistics(&self) -> Option<&dyn OutsideStatistics> {
        Some(self)
    }

    fn native_export(&self) -> Option<&dyn NativeExport> {
        Some(self)
    }
}

#[async_trait]
impl NativeExport for Qemu {
    fn formats(&self) -> &'static [&'static str] {
        command::FORMATS
    }

    async fn export(&self, format: &str, live: &LiveConfig, plan: Option<&Plan>) -> Result<String> {
        if format != "qemu-argv" {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("'{format}' is no format of QEMU's; use 'qemu-argv'"),
            ));
        }
        let binary = self.binary(&live.config).await?;
        let places = self.places(&live.guest());
        let args = command::build(&Input {
            config: &live.config,
            plan,
            binary: &binary,
            folders: &places.folders,
            monitor: MonitorAt::Path(places.monitor),
            sandbox: self.config.sandbox && binary.sandbox(),
            settings: &self.config,
            purpose: Purpose::Run,
            incoming: None,
            taps: &[],
            now: now(),
            generic_scsi: scsi::generic,
            host_cpu: None,
        })?;
        Ok(command::shell(&binary.path, &args))
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulators_are_told_from_their_modules() {
        assert!(is_emulator("qemu-system-x86_64") && is_emulator("qemu-system-aarch64"));
        for other in ["qemu-system-", "qemu-system-x86_64-spice", "qemu-img", "qemu-system-x86_64.old"] {
            assert!(!is_emulator(other), "{other}");
        }
    }
}
