//! Memory devices of a running guest: promised by the ledger before they are plugged in, and given back when the guest has let go.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    Error, ErrorKind, LiveConfig, Result,
    model::device::Device,
    placement::{Kib, LedgerError, Plan, Promised, plug, unplug},
};

use crate::{
    placement::{host, refused},
    shared::Shared,
    store::blocking,
};

/// The element of memory devices.
pub(crate) const ELEMENT: &str = "memory";

/// KiB that are touched in a second at the slowest, where all of it is touched before the guest gets it.
const TOUCHED_IN_A_SECOND: u64 = 64 << 10;

/// The plan without a memory device.
pub(crate) fn without(plan: &Plan, index: usize) -> Plan {
    unplug(plan, index)
}

/// How long touching a device's memory may take.
pub(super) fn time(device: &Device) -> Duration {
    let sizes = device.alone().memories.iter().filter_map(|it| it.target.as_ref()?.size);
    Duration::from_secs(sizes.sum::<Kib>().0 / TOUCHED_IN_A_SECOND)
}

/// Promises the memory device that a definition has more; the plan with it. `None` if there is nothing to promise.
///
/// # Errors
/// `NoResources` with what is in the way, `Storage` for a ledger that cannot be used; then nothing is promised.
pub(super) async fn promise(
    shared: &Arc<Shared>,
    (before, after): (&LiveConfig, &LiveConfig),
    plan: &Plan,
) -> Result<Option<Plan>> {
    let index = before.config.devices.memories.len();
    if after.config.devices.memories.len() <= index {
        return Ok(None);
    }
    let topology = host(shared).await?;
    let mut request = after.config.placement_request().map_err(Error::invalid_config)?;
    request.kernel = shared.host.kernel_support();
    let (shared, plan) = (shared.clone(), plan.clone());
    let promised = blocking(move || {
        let Some(profile) = shared.driver.placement() else {
            return Err(Error::new(ErrorKind::Internal, "a driver that stopped placing"));
        };
        let mut decide = |promised: &Promised| plug(&topology, promised, profile, &request, &plan, index);
        match (&shared.ledger, &plan.lease) {
            (Ok(ledger), Some(lease)) => match ledger.plug(lease, &plan, &mut decide) {
                Ok(plan) => Ok(plan),
                Err(LedgerError::Refused(refusal)) => Err(refused(refusal)),
                Err(error) => {
                    Err(Error::new(ErrorKind::Storage, format!("cannot promise memory: {error}")).source(error))
                }
            },
            // Nothing was promised at the start either, and the plan says so.
            _ => decide(&Promised::default()).map_err(refused),
        }
    });
    promised.await.map(Some)
}

/// Books the memory devices of one plan instead of another's. What fails here ends with the guest.
pub(crate) async fn rebook(shared: &Arc<Shared>, was: &Plan, now: &Plan) {
    let (shared, was, now) = (shared.clone(), was.clone(), now.clone());
    let booked = tokio::task::spawn_blocking(move || match (&shared.ledger, &now.lease) {
        (Ok(ledger), Some(lease)) => ledger.rebook_plugged(lease, &was, &now),
        _ => Ok(()),
    });
    if let Ok(Err(error)) = booked.await {
        tracing::warn!(%error, "a promise of memory could not be changed; it ends with the guest");
    }
}
