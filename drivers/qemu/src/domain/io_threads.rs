//! I/O threads: objects that come and go while the guest runs.

use polyvirt_core::{
    Error, ErrorKind, IoThreadParams, IoThreadState, IoThreads, OpContext, Result, async_trait,
    placement::{CpuSet, HostCpu, IoThreadId, PlanDelta, PlanStep, Weakening},
};
use polyvirt_process::get_affinity;
use polyvirt_qmp::{IoThread, ObjectAdd, ObjectDel, QomGet, QomSet, QueryIoThreads};
use serde_json::{Map, Value};

use super::QemuDomain;

/// The properties of an I/O thread, as QEMU names them. Those of the pool came with QEMU 7.1.
fn properties(params: IoThreadParams) -> Vec<(&'static str, Value)> {
    let IoThreadParams { poll_max_ns, poll_grow, poll_shrink, thread_pool_min, thread_pool_max, .. } = params;
    let mut all: Vec<(&'static str, Value)> =
        [("poll-max-ns", poll_max_ns), ("poll-grow", poll_grow), ("poll-shrink", poll_shrink)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, Value::from(value?))))
            .collect();
    // The largest first: the smallest may never be above it.
    let pool = [("thread-pool-max", thread_pool_max), ("thread-pool-min", thread_pool_min)];
    all.extend(pool.into_iter().filter_map(|(name, value)| Some((name, Value::from(value?)))));
    all
}

fn number(thread: &IoThread) -> Option<IoThreadId> {
    Some(IoThreadId(thread.id.strip_prefix("iothread")?.parse().ok()?))
}

fn name(id: IoThreadId) -> String {
    format!("iothread{}", id.0)
}

fn none(id: IoThreadId) -> Error {
    Error::new(ErrorKind::NotFound, format!("the guest has no I/O thread {id}"))
        .hint("`polyvirt iothreadinfo` lists what it has")
}

impl QemuDomain {
    async fn io_threads(&self) -> Result<Vec<IoThread>> {
        self.shared.execute(&QueryIoThreads {}).await
    }

    async fn has(&self, id: IoThreadId) -> Result<bool> {
        Ok(self.io_threads().await?.iter().any(|it| number(it) == Some(id)))
    }

    /// Puts a new one where the plan has it, and limits it as all are.
    async fn seat(&self, cx: &OpContext, id: IoThreadId) -> Result<Vec<Weakening>> {
        let mut weakened = Vec::new();
        if let Some(plan) = &cx.plan {
            let delta = PlanDelta::new(plan.revision, plan.clone(), vec![PlanStep::PinIoThread(id)]);
            weakened = self.place(&delta).await?.weakened;
        }
        self.limit_new_threads(&mut weakened).await?;
        Ok(weakened)
    }

    async fn params(&self, id: IoThreadId) -> Result<IoThreadParams> {
        let path = format!("/objects/{}", name(id));
        let mut params = IoThreadParams::default();
        let numbers = [
            ("poll-max-ns", &mut params.poll_max_ns),
            ("poll-grow", &mut params.poll_grow),
            ("poll-shrink", &mut params.poll_shrink),
        ];
        for (property, to) in numbers {
            *to = self.shared.execute(&QomGet { path: &path, property }).await?.as_u64();
        }
        if self.shared.parts.monitor.version().at_least(7, 1) {
            let pool =
                [("thread-pool-min", &mut params.thread_pool_min), ("thread-pool-max", &mut params.thread_pool_max)];
            for (property, to) in pool {
                let value = self.shared.execute(&QomGet { path: &path, property }).await?.as_i64();
                *to = value.and_then(|it| it.try_into().ok());
            }
        }
        Ok(params)
    }
}

#[async_trait]
impl IoThreads for QemuDomain {
    async fn list(&self) -> Result<Vec<IoThreadState>> {
        let mut all = Vec::new();
        for thread in self.io_threads().await? {
            let Some(id) = number(&thread) else { continue };
            let mut state = IoThreadState::new(id);
            state.thread = i32::try_from(thread.thread_id).ok();
            let affinity = get_affinity(thread.thread_id).ok();
            state.affinity = affinity.map(|mask| mask.iter().map(HostCpu::from).collect::<CpuSet>());
            state.params = self.params(id).await?;
            all.push(state);
        }
        all.sort_by_key(|it| it.id);
        Ok(all)
    }

    async fn add(&self, cx: &OpContext, id: IoThreadId, params: IoThreadParams) -> Result<Vec<Weakening>> {
        if self.has(id).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("the guest has an I/O thread {id} already")));
        }
        let properties: Map<String, Value> =
            properties(params).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let order = ObjectAdd { qom_type: "iothread", id: &name(id), properties: &properties };
        self.shared.execute(&order).await?;
        match self.seat(cx, id).await {
            Ok(weakened) => Ok(weakened),
            Err(error) => {
                // One without a place is none.
                self.shared.execute(&ObjectDel { id: &name(id) }).await.ok();
                Err(error)
            }
        }
    }

    async fn remove(&self, id: IoThreadId) -> Result<()> {
        if !self.has(id).await? {
            return Err(none(id));
        }
        self.shared.execute(&ObjectDel { id: &name(id) }).await.map(drop).map_err(|error| {
            if !error.message().contains("in use") {
                return error;
            }
            Error::new(ErrorKind::InvalidState, format!("a device uses the I/O thread {id}"))
                .hint("detach the disks and controllers that name it first")
                .source(error)
        })
    }

    async fn set(&self, id: IoThreadId, params: IoThreadParams) -> Result<()> {
        if !self.has(id).await? {
            return Err(none(id));
        }
        let before = self.params(id).await?;
        let path = format!("/objects/{}", name(id));
        for (property, value) in properties(params) {
            let done = self.shared.execute(&QomSet { path: &path, property, value }).await;
            if let Err(error) = done {
                for (property, value) in properties(before) {
                    self.shared.execute(&QomSet { path: &path, property, value }).await.ok();
                }
                return Err(error.with("property", property));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_sent() {
        assert!(properties(IoThreadParams::default()).is_empty());
        let mut params = IoThreadParams::default();
        (params.poll_max_ns, params.thread_pool_min, params.thread_pool_max) = (Some(7), Some(1), Some(4));
        let names: Vec<_> = properties(params).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["poll-max-ns", "thread-pool-max", "thread-pool-min"]);
    }
}
