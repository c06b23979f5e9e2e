//! I/O threads of a guest, live and stored.

use polyvirt_core::{
    Deadline, Error, ErrorKind, EventKind, IoThreadParams, IoThreadState, OpContext, Result,
    model::{
        DomainConfig,
        vcpu::{IoThread, IoThreadPoll},
    },
    placement::{HostTopology, IoThreadId, Plan, change},
};

use crate::{
    actor::{Change, Held, Left},
    affect::Affect,
    guest::Guest,
};

impl Guest {
    /// The I/O threads of the running guest. Asks the hypervisor.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy`; `Unsupported`.
    pub async fn io_threads(&self) -> Result<Vec<IoThreadState>> {
        let domain = self.domain().await?;
        let driver = self.connection.driver().descriptor().name;
        domain.io_threads().ok_or_else(|| Error::unsupported(driver, "I/O threads"))?.list().await
    }

    /// Adds an I/O thread.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument` for number 0; `InvalidState`; `Unsupported`; `Busy`.
    pub async fn add_io_thread(&self, id: IoThreadId, affect: Affect) -> Result<()> {
        if id.0 == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "0 is no number of an I/O thread, they begin with 1"));
        }
        let edit = move |config: &mut DomainConfig| add(config, id);
        let sides = self.sides(affect).await?;
        let placed = sides.live.as_ref().is_some_and(|record| record.plan.is_some());
        let host = if placed { Some(self.connection.topology().await?) } else { None };
        let live = move |it: Held| async move {
            let mut config = it.record.live()?.config;
            add(&mut config, id)?;
            let threads = it.domain.io_threads().ok_or_else(|| it.missing("I/O threads"))?;
            let plan = planned(&it, &config, id, host.as_ref())?;
            let cx = OpContext::new(plan.clone(), Deadline::after(std::time::Duration::from_secs(20)));
            let weakened = threads.add(&cx, id, IoThreadParams::default()).await?;
            let left = Left::live(move |now| *now = config).event(EventKind::Tuned);
            Ok(match plan {
                Some(mut plan) => {
                    plan.weakened.extend(weakened);
                    left.plan(plan)
                }
                None => left,
            })
        };
        self.change_both("iothreadadd", affect, edit, live).await
    }

    /// Removes an I/O thread.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` for one that a device uses; `Unsupported`; `Busy`.
    pub async fn remove_io_thread(&self, id: IoThreadId, affect: Affect) -> Result<()> {
        let edit = move |config: &mut DomainConfig| remove(config, id);
        let live = move |it: Held| async move {
            let mut config = it.record.live()?.config;
            remove(&mut config, id)?;
            it.domain.io_threads().ok_or_else(|| it.missing("I/O threads"))?.remove(id).await?;
            let left = Left::live(move |now| *now = config).event(EventKind::Tuned);
            Ok(match it.record.plan.clone() {
                Some(plan) => left.plan(change::without_io_thread(&plan, id)),
                None => left,
            })
        };
        self.change_both("iothreaddel", affect, edit, live).await
    }

    /// Changes how an I/O thread works.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState`; `Unsupported`; `Hypervisor` for values that it refuses; `Busy`.
    pub async fn set_io_thread(&self, id: IoThreadId, params: IoThreadParams, affect: Affect) -> Result<()> {
        let edit = move |config: &mut DomainConfig| set(config, id, params);
        let live = move |it: Held, _| async move {
            it.domain.io_threads().ok_or_else(|| it.missing("I/O threads"))?.set(id, params).await
        };
        self.tune("iothreadset", affect, edit, live).await
    }

    /// A change whose live part leaves more than an edit.
    async fn change_both<F>(
        &self,
        name: &'static str,
        affect: Affect,
        edit: impl Fn(&mut DomainConfig) -> Result<()>,
        live: impl FnOnce(Held) -> F + Send + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<Left>> + Send + 'static,
    {
        let mut sides = self.sides(affect).await?;
        if let Some(stored) = &mut sides.stored {
            edit(stored)?;
            self.ready_to_store(stored).await?;
        }
        let live_too = sides.live.is_some();
        if let Some(record) = sides.live {
            edit(&mut record.live()?.config)?;
            self.change(Change::new(name, live)).await?;
        }
        match sides.stored {
            Some(_) => self.store_edit(edit, live_too).await,
            None => Ok(()),
        }
    }
}

/// The plan with a place for a new thread.
fn planned(it: &Held, config: &DomainConfig, id: IoThreadId, host: Option<&HostTopology>) -> Result<Option<Plan>> {
    let (Some(plan), Some(host)) = (&it.record.plan, host) else { return Ok(None) };
    let stored = config.stored_placement().map_err(Error::invalid_config)?;
    Ok(Some(change::with_io_thread(plan, &stored, id, host)))
}

/// Describes every thread by itself.
fn describe(config: &mut DomainConfig) -> &mut Vec<IoThread> {
    let ids = config.io_thread_ids();
    let threads = &mut config.iothreadids.get_or_insert_default().iothread;
    for id in ids {
        if threads.iter().all(|it| it.id != id) {
            threads.push(IoThread::new(id));
        }
    }
    threads
}

fn count(config: &mut DomainConfig) {
    let threads = config.iothreadids.as_ref().map_or(0, |it| it.iothread.len());
    config.iothreads = u32::try_from(threads).ok().filter(|it| *it > 0);
    if threads == 0 {
        config.iothreadids = None;
    }
}

fn add(config: &mut DomainConfig, id: IoThreadId) -> Result<()> {
    let threads = describe(config);
    if threads.iter().any(|it| it.id == id.0) {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("the guest has an I/O thread {id} already")));
    }
    threads.push(IoThread::new(id.0));
    count(config);
    Ok(())
}

fn none(id: IoThreadId) -> Error {
    Error::new(ErrorKind::NotFound, format!("the guest has no I/O thread {id}"))
}

fn remove(config: &mut DomainConfig, id: IoThreadId) -> Result<()> {
    if let Some(user) = user_of(config, id.0) {
        return Err(Error::new(ErrorKind::InvalidState, format!("{user} uses the I/O thread {id}"))
            .hint("detach it first, or give it another thread"));
    }
    let threads = describe(config);
    let before = threads.len();
    threads.retain(|it| it.id != id.0);
    if threads.len() == before {
        return Err(none(id));
    }
    count(config);
    if let Some(tune) = &mut config.cputune {
        tune.iothreadpin.retain(|it| it.iothread != id.0);
    }
    Ok(())
}

/// What names a thread.
fn user_of(config: &DomainConfig, id: u32) -> Option<String> {
    for disk in &config.devices.disks {
        let Some(driver) = &disk.driver else { continue };
        let mapped = driver.iothreads.iter().flat_map(|it| &it.iothread).any(|it| it.id == id);
        if driver.iothread == Some(id) || mapped {
            let name = disk.target.as_ref().map(|it| it.dev.clone()).unwrap_or_default();
            return Some(format!("the disk '{name}'"));
        }
    }
    let uses = |it: &&polyvirt_core::model::controller::Controller| {
        it.driver.as_ref().is_some_and(|driver| driver.iothread == Some(id))
    };
    config.devices.controllers.iter().find(uses).map(|_| "a controller".to_owned())
}

fn set(config: &mut DomainConfig, id: IoThreadId, params: IoThreadParams) -> Result<()> {
    let thread = describe(config).iter_mut().find(|it| it.id == id.0).ok_or_else(|| none(id))?;
    let poll = [params.poll_max_ns, params.poll_grow, params.poll_shrink];
    if poll.iter().any(Option::is_some) {
        let kept = thread.poll.get_or_insert_with(IoThreadPoll::default);
        for (to, value) in [&mut kept.max, &mut kept.grow, &mut kept.shrink].into_iter().zip(poll) {
            *to = value.or(*to);
        }
    }
    thread.thread_pool_min = params.thread_pool_min.or(thread.thread_pool_min);
    thread.thread_pool_max = params.thread_pool_max.or(thread.thread_pool_max);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn guest(more: &str) -> DomainConfig {
        let xml = format!("<domain type='test'><name>g</name><memory>1024</memory>{more}</domain>");
        DomainConfig::parse(&xml, &ParseOptions::default()).unwrap().config
    }

    #[test]
    fn threads_come_and_go_by_number() {
        let mut config = guest("<iothreads>2</iothreads><cputune><iothreadpin iothread='2' cpuset='0'/></cputune>");
        add(&mut config, IoThreadId(7)).unwrap();
        assert_eq!((config.io_thread_ids(), config.iothreads), (vec![1, 2, 7], Some(3)));
        assert_eq!(add(&mut config, IoThreadId(2)).unwrap_err().kind(), ErrorKind::AlreadyExists);
        remove(&mut config, IoThreadId(2)).unwrap();
        assert_eq!(config.io_thread_ids(), [1, 7]);
        assert!(config.cputune.as_ref().unwrap().iothreadpin.is_empty(), "its pin goes with it");
        assert_eq!(remove(&mut config, IoThreadId(2)).unwrap_err().kind(), ErrorKind::NotFound);
        for id in [1, 7] {
            remove(&mut config, IoThreadId(id)).unwrap();
        }
        assert_eq!((config.iothreads, config.iothreadids), (None, None));
    }

    #[test]
    fn one_that_a_disk_uses_stays() {
        let mut config = guest(
            "<iothreads>1</iothreads><devices><disk type='file'><driver name='qemu' iothread='1'/><target dev='vda' bus='virtio'/></disk></devices>",
        );
        let error = remove(&mut config, IoThreadId(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.message().contains("'vda'"), "{error}");
    }

    #[test]
    fn what_is_not_said_of_a_thread_stays() {
        let mut config = guest("<iothreads>1</iothreads>");
        let mut params = IoThreadParams::default();
        params.poll_max_ns = Some(9);
        set(&mut config, IoThreadId(1), params).unwrap();
        let mut params = IoThreadParams::default();
        (params.poll_grow, params.thread_pool_max) = (Some(2), Some(8));
        set(&mut config, IoThreadId(1), params).unwrap();
        let thread = &config.iothreadids.unwrap().iothread[0];
        let poll = thread.poll.as_ref().unwrap();
        assert_eq!((poll.max, poll.grow, poll.shrink, thread.thread_pool_max), (Some(9), Some(2), None, Some(8)));
    }
}
