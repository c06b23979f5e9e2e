//! What of a guest's limits is set at its start: groups before the process takes anything, its threads once QEMU names them.
//!
//! What this host cannot give does not keep a guest from starting: it stands in the plan as weakened.

use std::os::fd::OwnedFd;

use polyvirt_core::{Result, SchedulerParams};
use polyvirt_process::SpawnSpec;

use super::Attempt;
use crate::{
    config::CgroupUse,
    limits::{self, cpu, io},
    pins::Threads,
};

const CPU_TIME: &str = "limits of CPU time";

impl Attempt<'_> {
    /// Makes the groups that the process is to join.
    pub(super) fn limit(&mut self, spec: &mut SpawnSpec) {
        let config = self.live().config.clone();
        if let Some(limits) = limits::memory_of(&config) {
            let files = self.group_for(|it| limits::memory_at_start(&it.places, limits));
            self.join("limits of memory", files, spec);
        }
        let params = SchedulerParams::of(&config);
        if !params.is_empty() {
            let files = self.group_for(|it| cpu::at_start(&it.places, params));
            self.join(CPU_TIME, files, spec);
        }
        if let Some(tune) = &config.blkiotune {
            let files = self.group_for(|it| io::at_start(&it.places, tune));
            self.join("limits of block I/O", files, spec);
        }
    }

    fn group_for(&self, make: impl FnOnce(&Self) -> Result<Vec<OwnedFd>>) -> Result<Vec<OwnedFd>, String> {
        if self.driver.config.cgroups == CgroupUse::Never {
            return Err("the settings say cgroups = \"never\"".into());
        }
        make(self).map_err(|error| error.message().to_owned())
    }

    fn join(&mut self, what: &str, files: Result<Vec<OwnedFd>, String>, spec: &mut SpawnSpec) {
        match files {
            Ok(files) => spec.cgroups.extend(files),
            Err(why) => self.weakened(what, why),
        }
    }

    /// Gives the threads that QEMU names their parts of the guest's CPU time.
    pub(super) async fn limit_threads(&mut self, threads: Threads) -> Result<()> {
        let params = SchedulerParams::of(&self.live().config);
        let told =
            self.effects.iter().any(|it| matches!(it, super::LiveEffect::Weakened { what, .. } if what == CPU_TIME));
        if params.is_empty() || told {
            return Ok(());
        }
        let places = self.places.clone();
        if let Err(error) = super::blocking(move || cpu::set(&places, &threads, params)).await {
            self.weakened(CPU_TIME, error.message());
        }
        Ok(())
    }
}
