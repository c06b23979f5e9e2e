//! From a definition to a promised plan, and what becomes of the promise.

use std::sync::Arc;

use polyvirt_core::{
    Domain, Error, ErrorKind, Result,
    model::DomainConfig,
    placement::{
        AdviceSource, Advisor, AdvisorError, HostTopology, LeaseId, LedgerError, NodeSet, Owner, PlacementProfile,
        Plan, Promised, Refusal, Request, Weakening, plan,
    },
};

use crate::{shared::Shared, store::blocking};

/// The host's topology, if the driver leaves placing to us.
pub(crate) async fn topology(shared: &Arc<Shared>) -> Result<Option<HostTopology>> {
    if shared.driver.placement().is_none() {
        return Ok(None);
    }
    host(shared).await.map(Some)
}

/// The host that guests are placed on, the part of it that we may use.
pub(crate) async fn host(shared: &Arc<Shared>) -> Result<HostTopology> {
    match shared.driver.topology() {
        Some(source) => source.topology().await,
        None => {
            let shared = shared.clone();
            blocking(move || read_topology(&shared)).await
        }
    }
}

fn read_topology(shared: &Shared) -> Result<HostTopology> {
    shared.host.usable().map_err(|e| {
        Error::new(ErrorKind::Storage, format!("cannot read the host's topology: {e}"))
            .hint("is sysfs mounted at /sys?")
            .source(e)
    })
}

/// What is asked of the placement engine, and what there is to tell about how it came to that.
struct Asked {
    request: Request,
    /// For the trace.
    notes: Vec<String>,
    weakened: Vec<Weakening>,
}

impl Asked {
    fn tell(&self, mut plan: Plan) -> Plan {
        plan.trace.notes.extend_from_slice(&self.notes);
        plan.weakened.extend_from_slice(&self.weakened);
        plan
    }
}

/// What is asked for this guest on this host. With numad as advisor this takes seconds.
fn ask(shared: &Shared, config: &DomainConfig, host: &HostTopology, advice: Option<NodeSet>) -> Result<Asked> {
    let mut request = config.placement_request().map_err(Error::invalid_config)?;
    request.kernel = shared.host.kernel_support();
    let mut asked = Asked { request, notes: Vec::new(), weakened: Vec::new() };
    if !asked.request.stored.wants_advice() {
        return Ok(asked);
    }
    if let Some(nodes) = advice {
        asked.request.advice = AdviceSource::Given(nodes);
    } else {
        let (source, told) = shared.options.advisor.advise(host, &asked.request).map_err(unadvised)?;
        asked.request.advice = source;
        asked.notes.extend(told);
    }
    near_devices(shared, config, &mut asked);
    Ok(asked)
}

fn unadvised(error: AdvisorError) -> Error {
    Error::new(ErrorKind::NoResources, error.to_string())
        .hint(
            "with advisor = \"polyvirt\" in the settings polyvirt decides itself; named nodes and pins need no advisor",
        )
        .source(error)
}

/// Devices of the host draw the guest to their nodes, as far as the host knows them.
fn near_devices(shared: &Shared, config: &DomainConfig, asked: &mut Asked) {
    for device in config.near_pci() {
        match shared.host.pci_node(&device.to_string()) {
            Ok(Some(node)) => {
                asked.notes.push(format!("PCI device {device} is on node {node} and draws the guest there"));
                asked.request.near.push(node);
            }
            Ok(None) => {
                asked.notes.push(format!("nothing is known of the node of PCI device {device}: it draws nowhere"));
            }
            Err(error) => {
                let what = format!("the place of PCI device {device}");
                asked.weakened.push(Weakening::new("host", what, error.to_string()));
            }
        }
    }
}

/// Plans and promises in one step, so that two starts at once never count on the same memory.
///
/// # Errors
/// `NoResources` with the binding constraints; its source is the [`Refusal`].
pub(crate) async fn reserve(shared: &Arc<Shared>, config: &Arc<DomainConfig>, topology: HostTopology) -> Result<Plan> {
    let (shared, config) = (shared.clone(), config.clone());
    blocking(move || {
        let asked = ask(&shared, &config, &topology, None)?;
        // Seconds have passed, and free memory is not what it was.
        let topology = match &shared.options.advisor {
            Advisor::Numad(_) if asked.request.stored.wants_advice() && shared.driver.topology().is_none() => {
                read_topology(&shared)?
            }
            _ => topology,
        };
        let Some(profile) = shared.driver.placement() else {
            return Err(Error::new(ErrorKind::Internal, "a driver that stopped placing"));
        };
        let mut make =
            |promised: &Promised| plan(&topology, promised, profile, &asked.request).map(|plan| asked.tell(plan));
        let why = match &shared.ledger {
            Err(why) => why.clone(),
            Ok(ledger) => {
                let owner = Owner::this_process().map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
                let guest = config.uuid.map_or_else(|| config.name.clone(), |u| u.to_string());
                match ledger.reserve(&owner, &guest, &mut make) {
                    Ok(reservation) => {
                        for notice in &reservation.notices {
                            tracing::info!(%notice, "ledger");
                        }
                        return Ok(reservation.plan);
                    }
                    Err(LedgerError::Refused(refusal)) => return Err(refused(refusal)),
                    Err(error @ LedgerError::ReadOnly(_)) => error.to_string(),
                    Err(error) => {
                        return Err(
                            Error::new(ErrorKind::Storage, format!("cannot promise memory: {error}")).source(error)
                        );
                    }
                }
            }
        };
        let mut plan = make(&Promised::default()).map_err(refused)?;
        plan.weakened.push(Weakening::new(
            "ledger",
            "the memory is not promised, so another start may count on it too",
            why,
        ));
        Ok(plan)
    })
    .await
}

/// A plan for looking at; nothing is promised.
///
/// # Errors
/// `NoResources` as a start would give it; its source is the [`Refusal`].
pub(crate) fn preview(
    shared: &Shared,
    config: &DomainConfig,
    profile: &PlacementProfile,
    topology: &HostTopology,
    advice: Option<NodeSet>,
) -> Result<Plan> {
    let promised = match &shared.ledger {
        Ok(ledger) => ledger.snapshot().map(|s| s.promised).unwrap_or_default(),
        Err(_) => Promised::default(),
    };
    let asked = ask(shared, config, topology, advice)?;
    plan(topology, &promised, profile, &asked.request).map(|plan| asked.tell(plan)).map_err(refused)
}

/// The refusal is the error's source, with its constraints and its trace.
pub(crate) fn refused(refusal: Refusal) -> Error {
    Error::new(ErrorKind::NoResources, refusal.to_string()).hint(refusal.remedy.clone()).source(refusal)
}

/// The promise is the hypervisor's from now on: it ends with that process, not with ours.
pub(crate) async fn hand_over(shared: &Arc<Shared>, lease: LeaseId, owner: Owner) -> Result<()> {
    let shared = shared.clone();
    blocking(move || {
        let Ok(ledger) = &shared.ledger else { return Ok(()) };
        ledger.assign(&lease, &owner).map_err(|e| {
            Error::new(ErrorKind::Storage, format!("cannot hand the promise of memory over: {e}")).source(e)
        })
    })
    .await
}

/// Books what the kernel really did. A guest that cannot be looked at keeps what was planned, as on a host with a single one of
/// `nodes`, where its pages can be nowhere else.
pub(crate) async fn settle(shared: &Arc<Shared>, lease: Option<LeaseId>, domain: &dyn Domain, nodes: usize) {
    let Some(lease) = lease else { return };
    let observed = match domain.placement() {
        // Walking the page tables of a guest takes longer than all else here, and could tell nothing.
        _ if nodes == 1 => Vec::new(),
        Some(placement) => placement.observe().await.map(|report| report.observed).unwrap_or_else(|error| {
            tracing::warn!(%error, "where the guest's memory is could not be read back");
            Vec::new()
        }),
        None => Vec::new(),
    };
    let shared = shared.clone();
    let committed = tokio::task::spawn_blocking(move || match &shared.ledger {
        Ok(ledger) => ledger.commit(&lease, &observed),
        Err(_) => Ok(()),
    });
    if let Ok(Err(error)) = committed.await {
        tracing::warn!(%error, "the promise of memory could not be booked as running");
    }
}
