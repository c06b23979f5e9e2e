//! All that there has to be before QEMU runs: its files and folders, its taps, its log, its place on the host.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::Path,
};

use polyvirt_core::{
    Error, ErrorKind, Result, StartHow, io_error,
    model::{DomainConfig, memory::BackingType},
    placement::{MemMode, MemPolicy, Plan},
};
use polyvirt_process::{
    Credentials, GatedChild, IdTooLarge, KeptFd, Limit, Resource, SpawnSpec, Stdio,
    cgroup::{Cgroup, Hierarchy, Part},
    spawn,
};

use super::{Attempt, blocking};
use crate::{
    command::{self, MonitorAt, firmware},
    companions,
    config::CgroupUse,
    failure::{cgroup_error, not_started},
    log::Log,
    pins,
    places::{Places, make_folder},
    program, taps,
};

/// The descriptor on which QEMU finds its monitor's listening socket.
const MONITOR_FD: i32 = 3;

impl Attempt<'_> {
    pub(super) async fn spawn(&mut self) -> Result<GatedChild> {
        // What stays with the definition may take its time on a disk.
        let (places, user) = (self.places.clone(), self.user.clone());
        let (config, folder) = (self.live().config.clone(), self.driver.config.nvram_dir.clone());
        blocking(move || make_variables(&config, &places, &folder, user.as_ref())).await?;
        self.open_taps().await?;
        let log = self.open_log().await?;
        // What reap has to find is made here and not on a thread of its own, which would go on if we are dropped. It is a
        // few calls to file systems in memory.
        let listener = self.make_places()?;
        let serving = log.try_clone().map_err(|error| io_error("open", &self.places.log, error))?;
        let spec = self.spec(listener, log)?;
        for companion in companions::of(&self.live().config, &self.places, &self.driver.search)? {
            let cgroups = match self.places.cgroup() {
                Some(group) => group.join_files(Part::Emulator).map_err(|error| cgroup_error(&error))?,
                None => Vec::new(),
            };
            let (gated, recorded) = companion.prepare(self.user.as_ref(), &serving, cgroups)?;
            self.gated.push(gated);
            self.companions.push(recorded);
        }
        spawn(&spec).map_err(not_started)
    }

    /// Opens the taps, and writes their names into the definition. A thread whose result nobody wants any more closes them again.
    async fn open_taps(&mut self) -> Result<()> {
        let config = self.live().config.clone();
        self.taps = blocking(move || taps::open(&config, |_| true)).await?;
        self.effects.extend(self.taps.name_in(&mut self.request.live.config));
        Ok(())
    }

    fn make_places(&self) -> Result<OwnedFd> {
        let (places, user) = (&self.places, self.user.as_ref());
        places.make(user)?;
        let backing = self.live().config.memory_backing.as_ref();
        if backing.and_then(|it| it.source.as_ref()).and_then(|it| it.kind) == Some(BackingType::File) {
            make_folder(&places.folders.ram, 0o700, user)?;
        }
        let listener = UnixListener::bind(&places.monitor);
        listener.map(OwnedFd::from).map_err(|error| io_error("listen on", &places.monitor, error))
    }

    fn arguments(&self) -> Result<Vec<String>> {
        let incoming = matches!(self.request.how, StartHow::Restore(_)).then_some("defer");
        let monitor = MonitorAt::Descriptor(MONITOR_FD);
        let (config, plan) = (&self.live().config, self.request.plan.as_ref());
        self.builder().arguments(config, plan, &self.taps.inherited(), monitor, incoming)
    }

    /// Opens the log and writes down what is about to be run.
    async fn open_log(&mut self) -> Result<File> {
        let user = self.user.as_ref();
        let about = format!(
            "starting '{}' with QEMU {} as {}:\n{}",
            self.live().config.name,
            self.binary.version,
            user.map_or_else(|| "ourselves".into(), |it| format!("user {}", it.uid)),
            command::shell(&self.binary.path, &self.arguments()?)
        );
        let (path, max) = (self.places.log.clone(), self.driver.config.log_max_bytes);
        let (log, file) = blocking(move || Log::open(&path, max, &about)).await?;
        self.log = Some(log);
        Ok(file)
    }

    fn spec(&mut self, listener: OwnedFd, log: File) -> Result<SpawnSpec> {
        let mut spec = SpawnSpec::new(&self.binary.path);
        spec.args = self.arguments()?.into_iter().map(Into::into).collect();
        spec.env = program::environment();
        let extra = command::extra_environment(&self.live().config, &self.driver.config);
        spec.env.extend(extra.into_iter().map(|(name, value)| (name.into(), value.into())));
        spec.keep = vec![KeptFd::new(listener, MONITOR_FD)];
        // From here on they are the guest's alone, and go with it.
        spec.keep.extend(std::mem::take(&mut self.taps).keep());
        spec.credentials = self.user.clone();
        spec.no_new_privs = true;
        if self.live().config.memory_backing.as_ref().is_some_and(|it| it.locked) {
            spec.limits.push((Resource::LockedMemory, Limit::exactly(Limit::INFINITY)));
        }
        spec.stdout = Stdio::Fd(log.try_clone().map_err(|error| io_error("open", &self.places.log, error))?.into());
        spec.stderr = Stdio::Fd(log.into());
        self.place_process(&mut spec)?;
        self.limit(&mut spec);
        Ok(spec)
    }

    /// What of the plan is set between fork and exec.
    fn place_process(&mut self, spec: &mut SpawnSpec) -> Result<()> {
        let Some(plan) = self.request.plan.clone() else { return Ok(()) };
        let large = |error: IdTooLarge| Error::new(ErrorKind::InvalidArgument, error.to_string());
        let cpus = plan.process.launch_cpus.as_ref().unwrap_or(&plan.process.cpus);
        if !cpus.is_empty() {
            spec.affinity = Some(pins::cpus(cpus).map_err(large)?);
        }
        if let Some(policy) = &plan.process.launch {
            spec.memory_policy = pins::policy(policy).map_err(large)?;
        }
        match self.group(&plan) {
            Ok(Some(group)) => {
                spec.cgroups = group.join_files(Part::Emulator).map_err(|error| cgroup_error(&error))?;
            }
            Ok(None) => {}
            Err(why) => {
                self.weakened("cpuset cgroups", &why);
                // The next best: what the cpuset would have allowed, as the policy of the process.
                if let (Some(mems), None) = (&plan.process.mems, &spec.memory_policy) {
                    spec.memory_policy = pins::policy(&MemPolicy::new(MemMode::Strict, mems.clone())).map_err(large)?;
                }
            }
        }
        Ok(())
    }

    /// The guest's cgroup, if the plan has need of one; why there is none if there should be.
    fn group(&self, plan: &Plan) -> Result<Option<Cgroup>, String> {
        if !pins::confines(plan) {
            return Ok(None);
        }
        if self.driver.config.cgroups == CgroupUse::Never {
            return Err("the settings of the qemu driver say cgroups = \"never\"".into());
        }
        let hierarchy = Hierarchy::detect().map_err(|it| it.to_string())?;
        let group = hierarchy.create(&self.places.group).map_err(|it| it.to_string())?;
        let part = group.part(Part::Emulator).map_err(|it| it.to_string())?;
        if let Some(mems) = &plan.process.mems {
            let nodes = pins::nodes(mems).map_err(|it| it.to_string())?;
            part.set_mems(&nodes).map_err(|it| it.to_string())?;
        }
        Ok(Some(group))
    }
}

/// Copies the firmware's variables from their template, if the guest has none yet.
fn make_variables(config: &DomainConfig, places: &Places, usual: &Path, user: Option<&Credentials>) -> Result<()> {
    let Some(path) = firmware::variables(config, &places.folders) else { return Ok(()) };
    let Some(template) = config.os.as_ref().and_then(|it| it.nvram.as_ref()).and_then(|it| it.template.as_ref()) else {
        return Ok(());
    };
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|it| *it == places.folders.nvram || *it == usual) {
        make_folder(folder, 0o711, None)?;
    }
    let bytes = std::fs::read(template).map_err(|error| io_error("read", Path::new(template), error))?;
    polyvirt_lease::write_atomic(&path, &bytes, 0o600, polyvirt_lease::Durability::Durable)
        .map_err(|error| io_error("write", &path, error))?;
    match user {
        Some(user) => std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))
            .map_err(|error| io_error("change the owner of", &path, error)),
        None => Ok(()),
    }
}
