//! How much memory a guest has and may use, live and stored.
//!
//! What the ledger promised is for all memory a guest can have: a balloon changes nothing of it, because the guest may take back what it gave.

use polyvirt_core::{Error, ErrorKind, EventKind, MemoryLimitParams, Result, model::DomainConfig, placement::Kib};

use crate::{
    actor::{Change, Held, Left},
    affect::Affect,
    definition,
    guest::Guest,
};

/// A change of memory limits: `None` leaves one, `Some(None)` lifts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLimitChange {
    /// What may be used at most.
    pub hard: Option<Option<Kib>>,
    /// What is reclaimed down to when the host is short of memory.
    pub soft: Option<Option<Kib>>,
    /// Memory and swap together.
    pub with_swap: Option<Option<Kib>>,
}

impl MemoryLimitChange {
    /// A change of these limits.
    #[must_use]
    pub fn new(hard: Option<Option<Kib>>, soft: Option<Option<Kib>>, with_swap: Option<Option<Kib>>) -> Self {
        Self { hard, soft, with_swap }
    }

    fn apply(self, config: &mut DomainConfig) {
        let tune = config.memtune.get_or_insert_default();
        for (limit, change) in [
            (&mut tune.hard_limit, self.hard),
            (&mut tune.soft_limit, self.soft),
            (&mut tune.swap_hard_limit, self.with_swap),
        ] {
            if let Some(change) = change {
                *limit = change;
            }
        }
    }
}

/// Limits of memory, as a definition has them.
#[must_use]
pub fn memory_limits(config: &DomainConfig) -> MemoryLimitParams {
    let tune = config.memtune.as_ref();
    MemoryLimitParams::new(
        tune.and_then(|it| it.hard_limit),
        tune.and_then(|it| it.soft_limit),
        tune.and_then(|it| it.swap_hard_limit),
    )
}

impl Guest {
    /// Changes how much of its memory it uses, through its balloon: the guest gives back or takes in its own time.
    ///
    /// # Errors
    /// `InvalidArgument` for none or more than it has; `InvalidState` when it does not run; `Unsupported` without a balloon; `Busy`.
    pub async fn set_memory(&self, target: Kib, affect: Affect) -> Result<()> {
        let edit = move |config: &mut DomainConfig| {
            let most = config.memory_total();
            if target.is_zero() || target > most {
                let message = format!("{target} of memory, the guest can use up to {most}");
                return Err(Error::new(ErrorKind::InvalidArgument, message)
                    .hint("`polyvirt setmaxmem --config` changes what it has from its next start on"));
            }
            config.current_memory.get_or_insert_with(|| target.into()).size = target;
            Ok(())
        };
        let live = move |it: Held, _| async move {
            it.domain.memory().ok_or_else(|| it.missing("balloon"))?.set(target).await.map(drop)
        };
        self.tune("setmem", affect, edit, live).await
    }

    /// Changes how much memory it has, from its next start on.
    ///
    /// # Errors
    /// `InvalidArgument` for none; `Unsupported` for a guest with NUMA cells, whose sizes say it; `InvalidState` for a transient guest.
    pub async fn set_max_memory(&self, size: Kib) -> Result<()> {
        let Some(mut config) = self.sides(Affect::Config).await?.stored else { return Ok(()) };
        if size.is_zero() {
            return Err(Error::new(ErrorKind::InvalidArgument, "0 of memory, a guest needs some"));
        }
        if !config.cells().is_empty() {
            let message = "the memory of a guest with NUMA cells is the sum of its cells";
            return Err(Error::new(ErrorKind::Unsupported, message).hint("change the cells with `polyvirt edit`"));
        }
        config.memory.get_or_insert_with(|| size.into()).size = size;
        if let Some(current) = config.current_memory.as_mut().filter(|it| it.size > size) {
            current.size = size;
        }
        self.ready_to_store(&mut config).await?;
        self.store(config, false).await
    }

    /// Changes what its process may use of the host's memory.
    ///
    /// # Errors
    /// `InvalidConfig` for limits that contradict each other; `Unsupported` and `Hypervisor` with the kernel's reason; `InvalidState`; `Busy`.
    pub async fn set_memory_limits(&self, change: MemoryLimitChange, affect: Affect) -> Result<()> {
        let edit = move |config: &mut DomainConfig| {
            change.apply(config);
            Ok(())
        };
        let live = |it: Held, config: DomainConfig| async move {
            let limits = memory_limits(&config);
            it.domain.memory_limits().ok_or_else(|| it.missing("limits of memory"))?.set(limits).await
        };
        self.tune("memtune", affect, edit, live).await
    }

    /// A change that is one edit on both sides and one call to the running guest, which gets the live definition as it will be.
    pub(crate) async fn tune<E, L, F>(&self, name: &'static str, affect: Affect, edit: E, live: L) -> Result<()>
    where
        E: Fn(&mut DomainConfig) -> Result<()> + Clone + Send + 'static,
        L: FnOnce(Held, DomainConfig) -> F + Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.change_sides(name, affect, edit, live, EventKind::Tuned).await
    }

    /// As [`Guest::tune`]; of the running guest this event is told.
    pub(crate) async fn change_sides<E, L, F>(
        &self,
        name: &'static str,
        affect: Affect,
        edit: E,
        live: L,
        event: EventKind,
    ) -> Result<()>
    where
        E: Fn(&mut DomainConfig) -> Result<()> + Clone + Send + 'static,
        L: FnOnce(Held, DomainConfig) -> F + Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut sides = self.sides(affect).await?;
        if let Some(stored) = &mut sides.stored {
            edit(stored)?;
            self.ready_to_store(stored).await?;
        }
        let live_too = sides.live.is_some();
        if let Some(record) = sides.live {
            edited(&record.live()?.config, &edit)?;
            let edit = edit.clone();
            let work = move |it: Held| async move {
                // What it is by now: others may have changed it while this one waited.
                let config = edited(&it.record.live()?.config, &edit)?;
                live(it, config).await?;
                Ok(Left::live(again(edit)).event(event))
            };
            self.change(Change::new(name, work)).await?;
        }
        match sides.stored {
            Some(_) => self.store_edit(edit, live_too).await,
            None => Ok(()),
        }
    }
}

/// The edit of what the definition is when the change is over: a device may have gone meanwhile.
pub(crate) fn again(edit: impl Fn(&mut DomainConfig) -> Result<()>) -> impl FnOnce(&mut DomainConfig) {
    move |now| {
        if let Err(error) = edit(now) {
            tracing::warn!(%error, "a change that was made is not in the live definition");
        }
    }
}

/// The definition with the edit, if it is still one that could be stored.
pub(crate) fn edited(config: &DomainConfig, edit: impl Fn(&mut DomainConfig) -> Result<()>) -> Result<DomainConfig> {
    let mut config = config.clone();
    edit(&mut config)?;
    definition::complete(&mut config.clone()).map_err(Error::invalid_config)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    #[test]
    fn limits_that_are_not_named_stay() {
        let xml = "<domain type='test'><name>g</name><memory>4096</memory>
            <memtune><hard_limit>9000</hard_limit><soft_limit>8000</soft_limit></memtune><devices/></domain>";
        let mut config = DomainConfig::parse(xml, &ParseOptions::default()).unwrap().config;
        MemoryLimitChange::new(None, Some(None), Some(Some(Kib(10_000)))).apply(&mut config);
        assert_eq!(memory_limits(&config), MemoryLimitParams::new(Some(Kib(9000)), None, Some(Kib(10_000))));
        let contradiction = |config: &mut DomainConfig| {
            MemoryLimitChange::new(Some(Some(Kib(20_000))), None, None).apply(config);
            Ok(())
        };
        let error = edited(&config, contradiction).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
}
