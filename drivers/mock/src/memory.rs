//! Memory of a simulated guest, which gives back what it is asked for at once, and limits that nothing keeps.

use polyvirt_core::{
    BlockThrottle, Error, ErrorKind, MemoryLimitParams, MemoryLimits, MemoryTarget, Result, async_trait,
    model::disk::Disk, placement::Kib,
};

use crate::domain::MockDomain;

#[async_trait]
impl MemoryTarget for MockDomain {
    async fn set(&self, target: Kib) -> Result<Kib> {
        self.alive()?;
        self.guest.set_memory(target);
        Ok(target)
    }

    async fn now(&self) -> Result<Kib> {
        self.alive()?;
        Ok(self.guest.memory())
    }
}

#[async_trait]
impl MemoryLimits for MockDomain {
    async fn set(&self, limits: MemoryLimitParams) -> Result<()> {
        self.alive()?;
        let used = self.guest.memory();
        match limits.hard.filter(|hard| *hard < used) {
            Some(hard) => Err(Error::new(ErrorKind::Hypervisor, format!("the guest uses {used}, more than {hard}"))),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl BlockThrottle for MockDomain {
    async fn set(&self, _: &Disk) -> Result<()> {
        self.alive()
    }
}
