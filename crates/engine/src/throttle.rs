//! Limits of a guest's disks, live and stored.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig,
        disk::{Disk, IoLimits},
    },
};

use crate::{actor::Held, affect::Affect, guest::Guest};

/// The disk that is called so in the guest, or that has this source on the host.
///
/// # Errors
/// `NotFound`.
pub fn disk_named<'a>(config: &'a DomainConfig, name: &str) -> Result<&'a Disk> {
    let at = position(config, name)?;
    config.devices.disks.get(at).ok_or_else(|| none(name))
}

fn none(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(ErrorKind::NotFound, format!("the guest has no disk '{shown}'"))
        .hint("name its target (vda) or its source on the host; `polyvirt dumpxml` shows both")
}

fn position(config: &DomainConfig, name: &str) -> Result<usize> {
    let is = |disk: &Disk| {
        let source = disk.source.as_ref().and_then(|it| it.file.as_ref().or(it.dev.as_ref()));
        disk.target.as_ref().is_some_and(|it| it.dev == name) || source.is_some_and(|it| *it == *name)
    };
    config.devices.disks.iter().position(is).ok_or_else(|| none(name))
}

impl Guest {
    /// Changes limits of a disk: those that are said take the place of what there is, 0 lifts one.
    ///
    /// # Errors
    /// `NotFound`; `InvalidConfig` for a total beside its parts; `InvalidState` for a drive without a medium; `Unsupported`; `Busy`.
    pub async fn set_block_throttle(&self, disk: &str, change: IoLimits, affect: Affect) -> Result<()> {
        let name = disk.to_owned();
        let wanted = name.clone();
        let edit = move |config: &mut DomainConfig| {
            let at = position(config, &name)?;
            let tune = config.devices.disks[at].iotune.get_or_insert_default();
            tune.limits.change(&change);
            if tune.limits == IoLimits::default() {
                config.devices.disks[at].iotune = None;
            }
            Ok(())
        };
        let live = move |it: Held, config: DomainConfig| async move {
            let throttle = it.domain.block_throttle().ok_or_else(|| it.missing("limits of disks"))?;
            throttle.set(disk_named(&config, &wanted)?).await
        };
        self.tune("blkdeviotune", affect, edit, live).await
    }
}
