//! How many vCPUs a guest has, live and stored.
//!
//! The running guest's are plugged by the driver, who chooses which where a number is asked for; what it says there is then stands in
//! the live definition, in the plan and in the ledger, also where the guest kept some that it was to give up.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    Deadline, Error, ErrorKind, EventKind, OpContext, Result, VcpuChange, VcpusNow,
    model::DomainConfig,
    placement::{HostTopology, Plan, VcpuId, VcpuSet, change},
};
use serde::Serialize;

use crate::{
    actor::{Change, Held, Left},
    affect::Affect,
    guest::Guest,
    shared::Shared,
    store::blocking,
};

/// How long a guest may take to give vCPUs up, all together.
const GUEST_TIME: Duration = Duration::from_secs(60);
/// What the hypervisor's own part may take beside that.
const OWN_TIME: Duration = Duration::from_secs(30);

/// How many vCPUs a guest has and can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VcpuCounts {
    /// At most.
    pub maximum: u32,
    /// There now, or at the next start.
    pub current: u32,
}

impl VcpuCounts {
    /// Those of a definition.
    #[must_use]
    pub fn of(config: &DomainConfig) -> Self {
        Self { maximum: config.vcpus_max(), current: config.vcpus_online() }
    }
}

/// What is asked of a running guest.
#[derive(Clone)]
enum Wanted {
    Count(u32),
    These(VcpuSet, bool),
}

impl Guest {
    /// Changes the number of vCPUs. With `removable` those that are added to the stored definition can be unplugged later; those that
    /// are plugged into a running guest always can.
    ///
    /// # Errors
    /// `InvalidArgument` for none or more than the guest can have; `InvalidState` for fewer than stay, and when it does not run;
    /// `Timeout`, `Hypervisor` when the guest does not give one up; `Unsupported`; `Busy`.
    pub async fn set_vcpus(&self, count: u32, removable: bool, affect: Affect) -> Result<()> {
        if count == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "0 vCPUs, a guest has at least one"));
        }
        self.change_vcpus(affect, Wanted::Count(count), |config| count_stored(config, count, removable)).await
    }

    /// Changes how many vCPUs it can have at most, from its next start on.
    ///
    /// # Errors
    /// `InvalidConfig` when topology, cells or pins contradict; `InvalidState` for a transient guest.
    pub async fn set_max_vcpus(&self, count: u32) -> Result<()> {
        let Some(mut config) = self.sides(Affect::Config).await?.stored else { return Ok(()) };
        let last = count
            .checked_sub(1)
            .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "0 vCPUs at most, a guest has at least one"))?;
        // A number beyond what there can be is the check's to refuse.
        let possible = VcpuSet::of_range(0, last.min(MOST));
        let (online, removable) = (config.online_vcpus(), config.removable_vcpus());
        config.vcpu.get_or_insert_default().count = Some(count);
        if last <= MOST {
            config.set_vcpus(&online.intersection(&possible), &removable.intersection(&possible));
        }
        self.ready_to_store(&mut config).await?;
        self.store(config, false).await
    }

    /// Plugs single vCPUs in, or takes them out.
    ///
    /// # Errors
    /// As [`Guest::set_vcpus`].
    pub async fn select_vcpus(&self, vcpus: &VcpuSet, online: bool, affect: Affect) -> Result<()> {
        if vcpus.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "no vCPU is named"));
        }
        let wanted = Wanted::These(vcpus.clone(), online);
        self.change_vcpus(affect, wanted, |config| select_stored(config, vcpus, online)).await
    }

    async fn change_vcpus(
        &self,
        affect: Affect,
        wanted: Wanted,
        edit: impl Fn(&mut DomainConfig) -> Result<()>,
    ) -> Result<()> {
        let mut sides = self.sides(affect).await?;
        if let Some(stored) = &mut sides.stored {
            edit(stored)?;
            self.ready_to_store(stored).await?;
        }
        let live_too = sides.live.is_some();
        if let Some(record) = &sides.live {
            possible(&wanted, &record.live()?.config)?;
            // Where a hypervisor places by itself there is no plan to follow.
            let host = if record.plan.is_some() { Some(self.connection.topology().await?) } else { None };
            self.plug(wanted, host).await?;
        }
        match sides.stored {
            Some(_) => self.store_edit(edit, live_too).await,
            None => Ok(()),
        }
    }

    async fn plug(&self, wanted: Wanted, host: Option<HostTopology>) -> Result<()> {
        let shared = self.connection.shared.clone();
        let work = move |it: Held| async move {
            let cx = OpContext::new(it.record.plan.clone(), Deadline::after(GUEST_TIME));
            let made = match wanted {
                Wanted::Count(count) => {
                    it.domain.vcpu_count().ok_or_else(|| it.missing("vCPU hot-plug"))?.set(&cx, count).await?
                }
                Wanted::These(vcpus, online) => {
                    let select = it.domain.vcpu_select().ok_or_else(|| it.missing("hot-plug of single vCPUs"))?;
                    select.select(&cx, &vcpus, online).await?
                }
            };
            left(&shared, &it, made, host.as_ref()).await
        };
        self.change(Change::new("setvcpus", work).within(GUEST_TIME + OWN_TIME)).await
    }
}

/// The highest number that a vCPU can have.
const MOST: u32 = 16_383;

/// What a guest was never made for is refused before its hypervisor is asked.
fn possible(wanted: &Wanted, live: &DomainConfig) -> Result<()> {
    let max = live.vcpus_max();
    let asked = match wanted {
        Wanted::Count(count) => *count,
        Wanted::These(vcpus, _) => vcpus.last().map_or(0, |last| last.0.saturating_add(1)),
    };
    if asked <= max {
        return Ok(());
    }
    let message = match wanted {
        Wanted::Count(_) => format!("{asked} vCPUs, the running guest can have {max}"),
        Wanted::These(..) => format!("there is no vCPU {}; the guest has 0 to {}", asked - 1, max.saturating_sub(1)),
    };
    Err(Error::new(ErrorKind::InvalidArgument, message)
        .hint("`polyvirt setvcpus --maximum --config` raises what it can have from its next start on"))
}

/// What a change leaves: live definition, plan and ledger say what there is now.
async fn left(shared: &Arc<Shared>, it: &Held, made: VcpuChange, host: Option<&HostTopology>) -> Result<Left> {
    let VcpuChange { now, weakened, failed, .. } = made;
    let before = it.record.live()?.config;
    let mut left = if now.online == before.online_vcpus() && now.removable == before.removable_vcpus() {
        Left::nothing()
    } else {
        let online = u32::try_from(now.online.len()).unwrap_or(u32::MAX);
        let edit = now.clone();
        Left::live(move |config| note(config, &edit)).event(EventKind::VcpusChanged { online })
    };
    if let (Some(plan), Some(host)) = (&it.record.plan, host) {
        let mut plan = change::set_online(plan, &now.online, host);
        plan.weakened.extend(weakened);
        book(shared, &plan).await?;
        left = left.plan(plan);
    }
    Ok(match failed {
        Some(error) => left.failing(error),
        None => left,
    })
}

/// Writes what there is into a live definition.
pub(crate) fn note(config: &mut DomainConfig, now: &VcpusNow) {
    config.set_vcpus(&now.online, &now.removable);
}

async fn book(shared: &Arc<Shared>, plan: &Plan) -> Result<()> {
    let (shared, plan) = (shared.clone(), plan.clone());
    blocking(move || match (&shared.ledger, &plan.lease) {
        (Ok(ledger), Some(lease)) => ledger.rebook_cpus(lease, &plan).map_err(|e| {
            Error::new(ErrorKind::Storage, format!("the vCPUs are there, and cannot be promised: {e}")).source(e)
        }),
        _ => Ok(()),
    })
    .await
}

fn too_many(count: u32, max: u32) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{count} vCPUs, the definition allows {max}"))
        .hint("raise that first: `polyvirt setvcpus DOMAIN N --maximum --config`")
}

/// Adds the lowest free ones, or removes the highest: those first that can be unplugged.
fn count_stored(config: &mut DomainConfig, count: u32, as_removable: bool) -> Result<()> {
    let max = config.vcpus_max();
    if count > max {
        return Err(too_many(count, max));
    }
    let (mut online, mut removable) = (config.online_vcpus(), config.removable_vcpus());
    let wanted = count as usize;
    for id in 0..max {
        if online.len() >= wanted {
            break;
        }
        if !online.contains(id) {
            online.insert(id);
            if as_removable {
                removable.insert(id);
            }
        }
    }
    while online.len() > wanted {
        let Some(last) = removable.last().or(online.last()) else { break };
        online.remove(last);
        removable.remove(last);
    }
    config.set_vcpus(&online, &removable);
    Ok(())
}

/// As with virsh, what is added one by one can be unplugged one by one.
fn select_stored(config: &mut DomainConfig, vcpus: &VcpuSet, enable: bool) -> Result<()> {
    let max = config.vcpus_max();
    if let Some(last) = vcpus.last().filter(|last| last.0 >= max) {
        let message = format!("there is no vCPU {last}; the guest has 0 to {}", max.saturating_sub(1));
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    if !enable && vcpus.contains(VcpuId(0)) {
        return Err(Error::new(ErrorKind::InvalidArgument, "vCPU 0 starts the guest and stays"));
    }
    let (online, removable) = (config.online_vcpus(), config.removable_vcpus());
    let (online, removable) = if enable {
        let new = vcpus.difference(&online);
        (online.union(vcpus), removable.union(&new))
    } else {
        (online.difference(vcpus), removable.difference(vcpus))
    };
    config.set_vcpus(&online, &removable);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn guest(vcpus: &str) -> DomainConfig {
        let xml = format!("<domain type='test'><name>g</name><memory>1024</memory>{vcpus}<devices/></domain>");
        DomainConfig::parse(&xml, &ParseOptions::default()).unwrap().config
    }

    fn sets(config: &DomainConfig) -> (String, String) {
        (config.online_vcpus().to_string(), config.removable_vcpus().to_string())
    }

    #[test]
    fn counts_go_up_from_below_and_down_from_above() {
        let mut config = guest("<vcpu current='2'>4</vcpu>");
        count_stored(&mut config, 3, false).unwrap();
        assert_eq!(sets(&config), ("0-2".into(), String::new()));
        count_stored(&mut config, 4, true).unwrap();
        assert_eq!(sets(&config), ("0-3".into(), "3".into()));
        count_stored(&mut config, 3, false).unwrap();
        assert_eq!(sets(&config), ("0-2".into(), String::new()));
        count_stored(&mut config, 1, false).unwrap();
        assert_eq!(sets(&config), ("0".into(), String::new()));
        assert_eq!(count_stored(&mut config, 5, false).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn single_ones_are_removable_and_the_first_stays() {
        let mut config = guest("<vcpu current='1'>4</vcpu>");
        select_stored(&mut config, &"2-3".parse().unwrap(), true).unwrap();
        assert_eq!(sets(&config), ("0,2-3".into(), "2-3".into()));
        select_stored(&mut config, &"3".parse().unwrap(), false).unwrap();
        assert_eq!(sets(&config), ("0,2".into(), "2".into()));
        for (bad, online) in [("0", false), ("4", true)] {
            let error = select_stored(&mut config, &bad.parse().unwrap(), online).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
