//! Numbers of all guests in one call.
//!
//! Every guest is asked at the same time, each under a deadline of its own: one that is stuck, or that another process owns, is told
//! with the numbers that the host's kernel has of it and the reasons for those that are missing, and delays nobody.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    BalloonNumbers, Deadline, DirtyRateOptions, Error, ErrorKind, GuestState, Result, StatsGroup, StatsGroups,
    StatsRecord, StatsRequest, VcpuNumbers,
    model::{
        DomainConfig,
        misc::{BalloonModel, BalloonStats},
    },
};
use tokio::task::JoinSet;

use crate::{
    actor::{Change, Held, Left},
    affect::Affect,
    connection::Connection,
    guest::{Guest, GuestEntry},
    store::StatusRecord,
};

/// How long each guest may take unless it is said.
const USUAL: Duration = Duration::from_secs(2);
/// How long to wait for another process that owns a guest: one that only works on it is done soon.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long the host's kernel may take to tell what it knows.
const OUTSIDE: Duration = Duration::from_millis(500);

/// What is asked of guests, and how long each may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StatsQuery {
    /// Which numbers.
    pub groups: StatsGroups,
    /// How long each guest may take; 2 s unless set.
    pub within: Duration,
}

impl StatsQuery {
    /// These numbers.
    #[must_use]
    pub fn new(groups: StatsGroups) -> Self {
        Self { groups, within: USUAL }
    }

    /// Sets [`StatsQuery::within`].
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

/// What was told of one guest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GuestStatistics {
    /// Which guest, as a list has it.
    pub guest: GuestEntry,
    /// Its numbers. Groups that its driver does not have, or that a guest which does not run cannot have, are neither there nor missing.
    pub numbers: StatsRecord,
}

impl GuestStatistics {
    /// These numbers of this guest.
    #[must_use]
    pub fn new(guest: GuestEntry, numbers: StatsRecord) -> Self {
        Self { guest, numbers }
    }
}

impl Connection {
    /// Numbers of those guests that are wanted, sorted by name.
    ///
    /// # Errors
    /// Those of [`Connection::list`]. What cannot be had of one guest stands in its record.
    pub async fn statistics(
        &self,
        query: &StatsQuery,
        wanted: impl Fn(&GuestEntry) -> bool,
    ) -> Result<Vec<GuestStatistics>> {
        let chosen: Vec<_> = self.list().await?.into_iter().filter(wanted).collect();
        let mut asked = JoinSet::new();
        for (at, entry) in chosen.iter().enumerate() {
            let (guest, query) = (Guest::new(self.clone(), entry.name.clone(), entry.uuid.unwrap_or_default()), *query);
            asked.spawn(async move { (at, guest.numbers(&query).await) });
        }
        let mut told: Vec<Option<StatsRecord>> = chosen.iter().map(|_| None).collect();
        while let Some(done) = asked.join_next().await {
            match done {
                Ok((at, numbers)) => told[at] = Some(numbers),
                Err(error) => tracing::error!(%error, "asking a guest for its numbers failed"),
            }
        }
        let with_numbers = |(mut guest, numbers): (GuestEntry, Option<StatsRecord>)| {
            let numbers = numbers.unwrap_or_else(|| nothing(query.groups, "the question failed"));
            // Newer than the list, and of one moment with the other numbers.
            if let Some(state) = &numbers.state {
                guest.state = state.clone();
            }
            GuestStatistics::new(guest, numbers)
        };
        Ok(chosen.into_iter().zip(told).map(with_numbers).collect())
    }
}

impl Guest {
    /// Its numbers.
    ///
    /// # Errors
    /// `NotFound` when it is neither defined nor running any more. What cannot be had stands in the record.
    pub async fn statistics(&self, query: &StatsQuery) -> Result<GuestStatistics> {
        let guest = self.view().await?.entry;
        Ok(GuestStatistics::new(guest, self.numbers(query).await))
    }

    async fn numbers(&self, query: &StatsQuery) -> StatsRecord {
        let deadline = Deadline::after(query.within);
        let files = match deadline.wait("reading the guest's files", self.files()).await {
            Ok(files) => files,
            Err(error) => Err(error),
        };
        match files {
            Ok((_, Some(record))) => self.running(&record, query, deadline).await,
            Ok((Some(stored), None)) => stopped(&stored.config, query.groups),
            Ok((None, None)) => nothing(query.groups, "the guest is gone"),
            Err(error) => nothing(query.groups, &error.to_string()),
        }
    }

    async fn running(&self, record: &StatusRecord, query: &StatsQuery, deadline: Deadline) -> StatsRecord {
        let wanted = query.groups.without(StatsGroup::State.into());
        let mut numbers = match record.live() {
            Ok(_) if wanted.is_empty() => StatsRecord::default(),
            Ok(live) => {
                let request = StatsRequest::new(wanted, Arc::new(live.config), deadline);
                match self.inside(&request).await {
                    Ok(numbers) => numbers,
                    Err(error) => self.outside(record, request, &error.to_string()).await,
                }
            }
            Err(error) => nothing(wanted, &error.to_string()),
        };
        if query.groups.contains(StatsGroup::State) {
            // Whoever looks into a guest writes down what it finds.
            let now = self.files().await.ok().and_then(|(_, record)| record);
            numbers.state = Some(now.map_or_else(|| record.state.clone(), |it| it.state));
        }
        numbers
    }

    /// Asks its hypervisor.
    async fn inside(&self, request: &StatsRequest) -> Result<StatsRecord> {
        let actor = self.connection.actor(self.name());
        let found = actor.look_within(PATIENCE.min(request.deadline.left()));
        let domain = request.deadline.wait("looking into the guest", found).await??;
        let driver = self.connection.driver().descriptor().name;
        let Some(statistics) = domain.statistics() else { return Ok(StatsRecord::default()) };
        let request =
            StatsRequest::new(request.groups.and(statistics.groups()), request.live.clone(), request.deadline);
        // One that does not keep its time is left behind.
        let told = tokio::time::timeout(request.deadline.left() + OUTSIDE, statistics.collect(&request)).await;
        told.map_err(|_| Error::new(ErrorKind::Timeout, format!("the {driver} driver did not answer in time")))?
    }

    /// What the host's kernel tells, and for the rest the reason why nobody else does.
    async fn outside(&self, record: &StatusRecord, mut request: StatsRequest, why: &str) -> StatsRecord {
        let mut numbers = StatsRecord::default();
        let wanted = request.groups;
        if let (Some(outside), Some(driver)) = (self.connection.driver().outside_statistics(), &record.driver) {
            request.groups = wanted.and(outside.groups());
            request.deadline = Deadline::after(OUTSIDE);
            let told = tokio::time::timeout(OUTSIDE, outside.collect(driver, &request)).await;
            match told {
                Ok(Ok(told)) => numbers = told,
                Ok(Err(error)) => numbers.miss(request.groups, &error.to_string()),
                Err(_) => numbers.miss(request.groups, "the host's kernel did not tell in time"),
            }
        }
        numbers.miss(wanted, why);
        numbers
    }

    /// Sets how often the guest is asked for its memory statistics, in whole seconds; zero: never.
    ///
    /// # Errors
    /// `InvalidState` for a guest without a balloon, and for the live side of one that does not run; `Unsupported`; `Busy`.
    pub async fn set_memory_polling(&self, period: Duration, affect: Affect) -> Result<()> {
        let seconds = u32::try_from(period.as_secs()).map_err(|_| {
            Error::new(ErrorKind::InvalidArgument, format!("a period of {} s is too long", period.as_secs()))
        })?;
        let mut sides = self.sides(affect).await?;
        if let Some(stored) = &mut sides.stored {
            poll(stored, seconds)?;
            self.ready_to_store(stored).await?;
        }
        let live_too = sides.live.is_some();
        if let Some(record) = &sides.live {
            poll(&mut record.live()?.config, seconds)?;
            let work = move |it: Held| async move {
                let polling = it.domain.balloon_polling().ok_or_else(|| it.missing("memory statistics"))?;
                polling.set_period(period).await?;
                // It had a balloon a moment ago, and none is ever taken out.
                Ok(Left::live(move |config| drop(poll(config, seconds))))
            };
            self.change(Change::new("dommemstat", work)).await?;
        }
        match sides.stored {
            Some(stored) => self.store(stored, live_too).await,
            None => Ok(()),
        }
    }

    /// Begins to measure how fast it writes its memory; [`StatsGroup::DirtyRate`] tells the result.
    ///
    /// # Errors
    /// `InvalidArgument` for a period that is not of 1 to 60 s; `Busy` while one is measured; `InvalidState`; `Unsupported`.
    pub async fn measure_dirty_rate(&self, options: DirtyRateOptions) -> Result<()> {
        let seconds = options.period.as_secs();
        if !(1..=60).contains(&seconds) {
            let message = format!("a dirty rate cannot be measured for {seconds} s, only for 1 to 60");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let work = move |it: Held| async move {
            it.domain.dirty_rate().ok_or_else(|| it.missing("dirty rates"))?.start(&options).await?;
            Ok(Left::nothing())
        };
        self.change(Change::new("domdirtyrate-calc", work)).await
    }
}

/// Writes a period down; 0 is none.
fn poll(config: &mut DomainConfig, seconds: u32) -> Result<()> {
    let balloon = config.devices.memballoon.as_mut().filter(|it| it.model != Some(BalloonModel::None));
    let balloon = balloon.ok_or_else(|| {
        Error::new(ErrorKind::InvalidState, format!("the guest '{}' has no balloon that could be asked", config.name))
            .hint("add <memballoon model='virtio'/> to its devices")
    })?;
    balloon.stats = (seconds > 0).then(|| {
        let mut stats = BalloonStats::default();
        stats.period = seconds;
        stats
    });
    Ok(())
}

/// Nothing but the reason.
fn nothing(groups: StatsGroups, why: &str) -> StatsRecord {
    let mut numbers = StatsRecord::default();
    numbers.miss(groups, why);
    numbers
}

/// What is known of a guest that does not run: what it would have.
fn stopped(config: &DomainConfig, groups: StatsGroups) -> StatsRecord {
    let mut numbers = StatsRecord::default();
    let asked = |group| groups.contains(group);
    numbers.state = asked(StatsGroup::State).then_some(GuestState::ShutOff(polyvirt_core::StopReason::Unknown));
    let total = config.memory_total();
    let current = config.current_memory.as_ref().map_or(total, |it| it.size);
    numbers.balloon = asked(StatsGroup::Balloon).then(|| BalloonNumbers::new(current, total));
    numbers.vcpus = asked(StatsGroup::Vcpu).then(|| {
        let mut vcpus = VcpuNumbers::new(config.vcpus_max(), Vec::new());
        vcpus.current = config.vcpus_online();
        vcpus
    });
    let disks = &config.devices.disks;
    numbers.blocks = asked(StatsGroup::Block).then(|| disks.iter().map(crate::block::without_numbers).collect());
    numbers
}
