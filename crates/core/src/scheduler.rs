//! What a guest may use of the host's CPU time and block devices.

use async_trait::async_trait;
use polyvirt_model::{DomainConfig, tuning::BlkioTune, vcpu::CpuTune};

use crate::Result;

/// How much CPU time may be used in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuBandwidth {
    /// The period, in microseconds.
    pub period: Option<u64>,
    /// The CPU time, in microseconds; negative: no limit.
    pub quota: Option<i64>,
}

impl CpuBandwidth {
    /// So much in such a period.
    #[must_use]
    pub fn new(period: Option<u64>, quota: Option<i64>) -> Self {
        Self { period, quota }
    }
}

/// What a guest may use of the host's CPU time. What is `None` is as the host has it by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchedulerParams {
    /// Weight against other guests.
    pub shares: Option<u64>,
    /// Each vCPU.
    pub vcpu: CpuBandwidth,
    /// The emulator's threads together.
    pub emulator: CpuBandwidth,
    /// The whole guest.
    pub global: CpuBandwidth,
    /// Each I/O thread.
    pub io_thread: CpuBandwidth,
}

impl SchedulerParams {
    /// As a definition has them: there 0 is the same as nothing (manual: formatdomain, CPU Tuning).
    #[must_use]
    pub fn of(config: &DomainConfig) -> Self {
        let Some(tune) = &config.cputune else { return Self::default() };
        let bandwidth = |period: Option<u64>, quota: Option<i64>| {
            CpuBandwidth::new(period.filter(|it| *it != 0), quota.filter(|it| *it != 0))
        };
        Self {
            shares: tune.shares.filter(|it| *it != 0),
            vcpu: bandwidth(tune.period, tune.quota),
            emulator: bandwidth(tune.emulator_period, tune.emulator_quota),
            global: bandwidth(tune.global_period, tune.global_quota),
            io_thread: bandwidth(tune.iothread_period, tune.iothread_quota),
        }
    }

    /// Writes those that are said into a definition; 0 takes one out of it.
    pub fn change(&self, config: &mut DomainConfig) {
        let tune = config.cputune.get_or_insert_default();
        let periods = [
            (&mut tune.shares, self.shares),
            (&mut tune.period, self.vcpu.period),
            (&mut tune.emulator_period, self.emulator.period),
            (&mut tune.global_period, self.global.period),
            (&mut tune.iothread_period, self.io_thread.period),
        ];
        for (kept, said) in periods {
            *kept = said.or(*kept).filter(|it| *it != 0);
        }
        let quotas = [
            (&mut tune.quota, self.vcpu.quota),
            (&mut tune.emulator_quota, self.emulator.quota),
            (&mut tune.global_quota, self.global.quota),
            (&mut tune.iothread_quota, self.io_thread.quota),
        ];
        for (kept, said) in quotas {
            *kept = said.or(*kept).filter(|it| *it != 0);
        }
        if *tune == CpuTune::default() {
            config.cputune = None;
        }
    }

    /// Writes these into a definition, and nothing else of the kind is left there.
    pub fn replace(&self, config: &mut DomainConfig) {
        let said = |it: CpuBandwidth| CpuBandwidth::new(it.period.or(Some(0)), it.quota.or(Some(0)));
        let all = Self {
            shares: self.shares.or(Some(0)),
            vcpu: said(self.vcpu),
            emulator: said(self.emulator),
            global: said(self.global),
            io_thread: said(self.io_thread),
        };
        all.change(config);
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Limits of a guest's CPU time.
#[async_trait]
pub trait SchedulerTuning: Send + Sync {
    /// Puts these in place of those there are.
    ///
    /// *Behaviour*: all or none. vCPUs and I/O threads that come later have what is said of all of them. A weight that this host cannot give
    /// is `InvalidArgument`.
    async fn set(&self, params: SchedulerParams) -> Result<()>;
}

/// Weights and limits of a guest at the block devices of the host.
#[async_trait]
pub trait BlockWeights: Send + Sync {
    /// Puts these in place of those there are.
    ///
    /// *Behaviour*: all or none. What is no block device of the host is `InvalidArgument`; what its kernel lacks is `Unsupported`.
    async fn set(&self, weights: &BlkioTune) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_model::ParseOptions;

    #[test]
    fn what_is_not_said_stays_and_zero_takes_out() {
        let xml = "<domain type='test'><name>g</name><memory>1024</memory>
            <cputune><shares>512</shares><period>0</period><quota>-1</quota></cputune><devices/></domain>";
        let mut config = DomainConfig::parse(xml, &ParseOptions::default()).unwrap().config;
        let mut params = SchedulerParams::of(&config);
        assert_eq!((params.shares, params.vcpu), (Some(512), CpuBandwidth::new(None, Some(-1))));
        params = SchedulerParams::default();
        params.emulator = CpuBandwidth::new(Some(50_000), Some(20_000));
        params.change(&mut config);
        params.shares = Some(512);
        params.vcpu.quota = Some(-1);
        assert_eq!(SchedulerParams::of(&config), params);
        let mut nothing = SchedulerParams { shares: Some(0), ..SchedulerParams::default() };
        nothing.vcpu.quota = Some(0);
        nothing.emulator = CpuBandwidth::new(Some(0), Some(0));
        let mut other = config.clone();
        SchedulerParams::default().replace(&mut other);
        assert_eq!(other.cputune, None);
        nothing.change(&mut config);
        assert_eq!(config.cputune, None);
        assert!(SchedulerParams::of(&config).is_empty());
    }
}
