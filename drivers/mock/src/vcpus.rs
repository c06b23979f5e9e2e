//! vCPUs of a simulated guest. A deaf guest never lets go of one.

use polyvirt_core::{
    Error, ErrorKind, GuestState, OpContext, Result, VcpuChange, VcpuCount, VcpuSelect, VcpusNow, async_trait,
    placement::VcpuSet,
};

use crate::domain::MockDomain;

impl MockDomain {
    fn plug(&self, vcpus: &VcpuSet) -> VcpuChange {
        let mut now = self.guest.vcpus();
        now.removable = now.removable.union(&vcpus.difference(&now.online));
        now.online = now.online.union(vcpus);
        self.guest.set_vcpus(now.clone());
        VcpuChange::new(now)
    }

    fn unplug(&self, vcpus: &VcpuSet) -> Result<VcpuChange> {
        let mut now = self.guest.vcpus();
        let leaving = now.online.intersection(vcpus);
        if !leaving.is_subset(&now.removable) {
            let stay = leaving.difference(&now.removable);
            let message = format!("vCPU {stay} was there when the guest started and stays");
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        if leaving.is_empty() {
            return Ok(VcpuChange::new(now));
        }
        if self.guest.state() != GuestState::Running {
            let message = "the guest does not run: nobody there would let go of a vCPU";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        if self.settings.deaf {
            let mut change = VcpuChange::new(now);
            let message = format!("the guest has not let go of vCPU {leaving}, as its setting 'deaf' says");
            change.failed = Some(Error::new(ErrorKind::Timeout, message));
            return Ok(change);
        }
        now.online = now.online.difference(&leaving);
        now.removable = now.removable.difference(&leaving);
        self.guest.set_vcpus(now.clone());
        Ok(VcpuChange::new(now))
    }
}

#[async_trait]
impl VcpuCount for MockDomain {
    async fn now(&self) -> Result<VcpusNow> {
        self.alive()?;
        Ok(self.guest.vcpus())
    }

    async fn set(&self, _: &OpContext, count: u32) -> Result<VcpuChange> {
        self.alive()?;
        let max = self.guest.max;
        if count > max {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("{count} vCPUs, the guest can have {max}")));
        }
        let (now, wanted) = (self.guest.vcpus(), count as usize);
        if wanted >= now.online.len() {
            let mut new = VcpuSet::new();
            for id in (0..max).filter(|id| !now.online.contains(*id)).take(wanted - now.online.len()) {
                new.insert(id);
            }
            return Ok(self.plug(&new));
        }
        let leaving = now.online.len() - wanted;
        if leaving > now.removable.len() {
            let fixed = now.online.len() - now.removable.len();
            let message = format!("{count} vCPUs: {fixed} were there when the guest started and stay");
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let mut old = VcpuSet::new();
        for id in now.removable.iter().skip(now.removable.len() - leaving) {
            old.insert(id);
        }
        self.unplug(&old)
    }
}

#[async_trait]
impl VcpuSelect for MockDomain {
    async fn select(&self, _: &OpContext, vcpus: &VcpuSet, online: bool) -> Result<VcpuChange> {
        self.alive()?;
        let max = self.guest.max;
        if let Some(last) = vcpus.last().filter(|last| last.0 >= max) {
            let message = format!("there is no vCPU {last}; the guest can have 0 to {}", max.saturating_sub(1));
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if online { Ok(self.plug(vcpus)) } else { self.unplug(vcpus) }
    }
}
