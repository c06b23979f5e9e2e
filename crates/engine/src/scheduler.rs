//! What a guest may use of the host's CPU time and block devices, live and stored.

use polyvirt_core::{
    Error, ErrorKind, Result, SchedulerParams,
    model::{
        DomainConfig,
        tuning::{BlkioDevice, BlkioTune},
    },
};

use crate::{actor::Held, affect::Affect, guest::Guest};

/// Weights that some host gives: what this one does, its driver knows.
const SHARES: std::ops::RangeInclusive<u64> = 1..=262_144;
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// Weights and limits at block devices, as a definition has them.
#[must_use]
pub fn block_weights(config: &DomainConfig) -> BlkioTune {
    config.blkiotune.clone().unwrap_or_default()
}

impl Guest {
    /// Changes what it may use of the host's CPU time: those that are said take the place of what there is, 0 takes one out of the
    /// definition.
    ///
    /// # Errors
    /// `InvalidArgument`, `InvalidConfig` for values out of their range; `InvalidState`; `Unsupported`, `Denied` and `Hypervisor` with the
    /// kernel's reason; `Busy`.
    pub async fn set_scheduler(&self, change: SchedulerParams, affect: Affect) -> Result<()> {
        if let Some(shares) = change.shares.filter(|it| *it != 0 && !SHARES.contains(it)) {
            return Err(out_of_range(&format!("{shares} shares of CPU time"), SHARES.start(), SHARES.end()));
        }
        let edit = move |config: &mut DomainConfig| {
            change.change(config);
            Ok(())
        };
        let live = |it: Held, config: DomainConfig| async move {
            let tuning = it.domain.scheduler_tuning().ok_or_else(|| it.missing("limits of CPU time"))?;
            tuning.set(SchedulerParams::of(&config)).await
        };
        self.tune("schedinfo", affect, edit, live).await
    }

    /// Changes its weight and limits at the host's block devices: what is said takes the place of what there is, 0 lifts a limit.
    ///
    /// # Errors
    /// `InvalidArgument` for weights out of their range and for what is no block device; `InvalidState`; `Unsupported`, `Denied` and
    /// `Hypervisor` with the kernel's reason; `Busy`.
    pub async fn set_block_weights(&self, change: BlkioTune, affect: Affect) -> Result<()> {
        let weights = change.weight.into_iter().chain(change.device.iter().filter_map(|it| it.weight));
        if let Some(weight) = weights.into_iter().find(|it| *it != 0 && !WEIGHTS.contains(it)) {
            return Err(out_of_range(&format!("a weight of {weight}"), WEIGHTS.start(), WEIGHTS.end()));
        }
        if let Some(device) = change.device.iter().find(|it| !it.path.starts_with('/')) {
            let shown: String = device.path.chars().take(80).collect();
            return Err(Error::new(ErrorKind::InvalidArgument, format!("'{shown}' is no path of a block device"))
                .hint("name it from the root on: /dev/sda"));
        }
        let edit = move |config: &mut DomainConfig| {
            edit_weights(config, &change);
            Ok(())
        };
        let live = |it: Held, config: DomainConfig| async move {
            let tuning = it.domain.block_weights().ok_or_else(|| it.missing("limits of block I/O"))?;
            tuning.set(&block_weights(&config)).await
        };
        self.tune("blkiotune", affect, edit, live).await
    }
}

fn out_of_range(what: &str, least: impl std::fmt::Display, most: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{what}, {least} to {most} are possible, or 0 for the host's own"))
}

fn edit_weights(config: &mut DomainConfig, change: &BlkioTune) {
    let tune = config.blkiotune.get_or_insert_default();
    tune.weight = change.weight.or(tune.weight).filter(|it| *it != 0);
    for said in &change.device {
        let at = tune.device.iter().position(|it| it.path == said.path).unwrap_or_else(|| {
            let mut device = BlkioDevice::default();
            device.path.clone_from(&said.path);
            tune.device.push(device);
            tune.device.len() - 1
        });
        let kept = &mut tune.device[at];
        for (kept, said) in [
            (&mut kept.weight, said.weight),
            (&mut kept.read_iops_sec, said.read_iops_sec),
            (&mut kept.write_iops_sec, said.write_iops_sec),
        ] {
            *kept = said.or(*kept).filter(|it| *it != 0);
        }
        for (kept, said) in
            [(&mut kept.read_bytes_sec, said.read_bytes_sec), (&mut kept.write_bytes_sec, said.write_bytes_sec)]
        {
            *kept = said.or(*kept).filter(|it| *it != 0);
        }
    }
    tune.device.retain(|it| {
        let mut nothing = BlkioDevice::default();
        nothing.path.clone_from(&it.path);
        *it != nothing
    });
    if *tune == BlkioTune::default() {
        config.blkiotune = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn device(path: &str, weight: Option<u32>, bytes: Option<u64>) -> BlkioTune {
        let mut device = BlkioDevice::default();
        (device.path, device.weight, device.read_bytes_sec) = (path.into(), weight, bytes);
        let mut tune = BlkioTune::default();
        tune.device.push(device);
        tune
    }

    #[test]
    fn devices_keep_what_is_not_said_and_go_when_nothing_is_left() {
        let xml = "<domain type='test'><name>g</name><memory>1024</memory><devices/></domain>";
        let mut config = DomainConfig::parse(xml, &ParseOptions::default()).unwrap().config;
        let mut first = device("/dev/a", Some(300), None);
        first.weight = Some(500);
        edit_weights(&mut config, &first);
        edit_weights(&mut config, &device("/dev/a", None, Some(9)));
        edit_weights(&mut config, &device("/dev/b", None, Some(8)));
        let tune = block_weights(&config);
        assert_eq!((tune.weight, tune.device.len()), (Some(500), 2));
        assert_eq!((tune.device[0].weight, tune.device[0].read_bytes_sec), (Some(300), Some(9)));
        edit_weights(&mut config, &device("/dev/a", Some(0), Some(0)));
        assert_eq!(block_weights(&config).device[0].path, "/dev/b");
        let mut last = device("/dev/b", None, Some(0));
        last.weight = Some(0);
        edit_weights(&mut config, &last);
        assert_eq!(config.blkiotune, None);
    }
}
