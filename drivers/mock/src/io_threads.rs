//! I/O threads of a simulated guest.

use polyvirt_core::{
    Error, ErrorKind, IoThreadParams, IoThreadState, IoThreads, OpContext, Result, async_trait,
    placement::{IoThreadId, Weakening},
};

use crate::domain::MockDomain;

fn none(id: IoThreadId) -> Error {
    Error::new(ErrorKind::NotFound, format!("the guest has no I/O thread {id}"))
}

#[async_trait]
impl IoThreads for MockDomain {
    async fn list(&self) -> Result<Vec<IoThreadState>> {
        self.alive()?;
        let plan = self.guest.plan();
        let planned = |id| plan.iter().flat_map(|it| &it.io_threads).find(|(other, _)| *other == id);
        let mut all = self.guest.io_threads();
        for thread in &mut all {
            thread.affinity = planned(thread.id).map(|(_, it)| it.cpus.clone());
        }
        Ok(all)
    }

    async fn add(&self, cx: &OpContext, id: IoThreadId, params: IoThreadParams) -> Result<Vec<Weakening>> {
        self.alive()?;
        let mut all = self.guest.io_threads();
        if all.iter().any(|it| it.id == id) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("the guest has an I/O thread {id} already")));
        }
        let mut thread = IoThreadState::new(id);
        thread.params = params;
        all.push(thread);
        all.sort_by_key(|it| it.id);
        self.guest.set_io_threads(all);
        if let Some(plan) = &cx.plan {
            self.guest.set_plan(plan.clone());
        }
        Ok(Vec::new())
    }

    async fn remove(&self, id: IoThreadId) -> Result<()> {
        self.alive()?;
        let mut all = self.guest.io_threads();
        let before = all.len();
        all.retain(|it| it.id != id);
        if all.len() == before {
            return Err(none(id));
        }
        self.guest.set_io_threads(all);
        Ok(())
    }

    async fn set(&self, id: IoThreadId, params: IoThreadParams) -> Result<()> {
        self.alive()?;
        let mut all = self.guest.io_threads();
        let thread = all.iter_mut().find(|it| it.id == id).ok_or_else(|| none(id))?;
        let now = &mut thread.params;
        now.poll_max_ns = params.poll_max_ns.or(now.poll_max_ns);
        now.poll_grow = params.poll_grow.or(now.poll_grow);
        now.poll_shrink = params.poll_shrink.or(now.poll_shrink);
        now.thread_pool_min = params.thread_pool_min.or(now.thread_pool_min);
        now.thread_pool_max = params.thread_pool_max.or(now.thread_pool_max);
        self.guest.set_io_threads(all);
        Ok(())
    }
}
