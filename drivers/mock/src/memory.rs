//! Memory of a simulated guest, which gives back what it is asked for at once, and limits that nothing keeps.

use polyvirt_core::{
    BlockThrottle, BlockWeights, Error, ErrorKind, MemoryLimitParams, MemoryLimits, MemoryTarget, Result,
    SchedulerParams, SchedulerTuning, async_trait,
    model::{disk::Disk, tuning::BlkioTune},
    placement::Kib,
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

#[async_trait]
impl SchedulerTuning for MockDomain {
    async fn set(&self, params: SchedulerParams) -> Result<()> {
        self.alive()?;
        match params.shares.filter(|it| !(2..=262_144).contains(it)) {
            Some(shares) => {
                Err(Error::new(ErrorKind::InvalidArgument, format!("{shares} shares, 2 to 262144 are possible")))
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl BlockWeights for MockDomain {
    async fn set(&self, weights: &BlkioTune) -> Result<()> {
        self.alive()?;
        match weights.device.iter().find(|it| !it.path.starts_with("/dev/") || it.path == "/dev/null") {
            Some(it) => {
                Err(Error::new(ErrorKind::InvalidArgument, format!("'{}' is no simulated block device", it.path)))
            }
            None => Ok(()),
        }
    }
}
