//! `numatune`, `vcpupin`, `emulatorpin`.

use std::sync::Arc;

use polyvirt::{
    Affect, Guest, PinTarget,
    model::DomainConfig,
    placement::{CpuSet, MemMode, NodeSet, Plan, VcpuId},
};

use super::Done;
use crate::{
    args::{AffectArgs, Which},
    failure::Failure,
    output::Output,
    render,
    session::Session,
};

pub(super) fn affect(args: AffectArgs) -> Affect {
    match (args.live, args.config) {
        (true, true) => Affect::Both,
        (true, false) => Affect::Live,
        (false, true) => Affect::Config,
        (false, false) => Affect::Current,
    }
}

/// One side of a guest: what runs, with its plan, or what is stored.
struct Side {
    config: Option<Arc<DomainConfig>>,
    /// Only of what runs and was placed.
    plan: Option<Plan>,
}

impl Side {
    /// The side to show: the running guest's unless the stored one was asked for.
    async fn of(guest: &Guest, args: AffectArgs) -> Result<Self, Failure> {
        let view = guest.view().await?;
        match (affect(args), view.live) {
            (Affect::Live | Affect::Both, None) => Err(Failure::Error(polyvirt::Error::new(
                polyvirt::ErrorKind::InvalidState,
                format!("the guest '{}' does not run", guest.name()),
            ))),
            (Affect::Config, _) | (_, None) => Ok(Self { config: view.stored, plan: None }),
            (_, Some(live)) => Ok(Self { config: Some(Arc::new(live)), plan: view.plan }),
        }
    }

    /// Where each I/O thread may run, likewise.
    fn io_thread_pins(&self) -> Vec<(u32, String)> {
        if let Some(plan) = &self.plan {
            return plan.io_threads.iter().map(|(id, thread)| (id.0, thread.cpus.to_string())).collect();
        }
        let Some(config) = &self.config else { return Vec::new() };
        let pin = |id| shown(render::definition::io_thread_pin(config, id));
        config.io_thread_ids().into_iter().map(|id| (id, pin(id))).collect()
    }

    /// Where each vCPU may run: as the plan has it, else as the definition has it.
    fn vcpu_pins(&self) -> Vec<(u32, String)> {
        if let Some(plan) = &self.plan {
            let mut pins: Vec<_> =
                plan.cells.iter().flat_map(|cell| &cell.vcpus).map(|it| (it.vcpu.0, it.hard.to_string())).collect();
            pins.sort_unstable();
            return pins;
        }
        let Some(config) = &self.config else { return Vec::new() };
        (0..config.vcpus_max()).map(|id| (id, shown(render::definition::vcpu_pin(config, id)))).collect()
    }

    /// Where the emulator's threads may run, likewise.
    fn emulator_pin(&self) -> String {
        match &self.plan {
            Some(plan) => plan.process.cpus.to_string(),
            None => shown(self.config.as_deref().and_then(render::definition::emulator_pin)),
        }
    }
}

/// The definition of the side to show.
pub(super) async fn config_of(guest: &Guest, args: AffectArgs) -> Result<Arc<DomainConfig>, Failure> {
    Side::of(guest, args).await?.config.ok_or_else(|| {
        Failure::Error(polyvirt::Error::new(
            polyvirt::ErrorKind::InvalidState,
            format!("the guest '{}' is transient: it has no stored definition", guest.name()),
        ))
    })
}

/// Where the I/O threads of the side to show may run.
pub(super) async fn io_thread_pins(guest: &Guest, args: AffectArgs) -> Result<Vec<(u32, String)>, Failure> {
    Ok(Side::of(guest, args).await?.io_thread_pins())
}

/// A set, or that there is none.
fn shown(set: Option<&CpuSet>) -> String {
    set.map_or_else(|| "-".to_owned(), ToString::to_string)
}

pub(super) fn set<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|e: T::Err| Failure::argument(e.to_string()))
}

pub(super) async fn numatune(
    which: &Which,
    mode: Option<String>,
    nodeset: Option<String>,
    args: AffectArgs,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let guest = session.guest(&which.domain).await?;
    if mode.is_none() && nodeset.is_none() {
        let side = Side::of(&guest, args).await?;
        let tune = side.config.as_deref().map(render::definition::numatune).unwrap_or_default();
        let advice = side.plan.and_then(|plan| plan.advice);
        let nodes = tune.nodeset.or_else(|| advice.map(|a| a.nodeset));
        let mode = tune.mode.map_or_else(|| "-".to_owned(), |m| m.to_string());
        if out.json {
            out.json(&serde_json::json!({ "numa_mode": mode, "numa_nodeset": nodes, "automatic": tune.automatic }));
            return Ok(());
        }
        out.line(&format!("{:<15}: {mode}", "numa_mode"));
        out.line(&format!("{:<15}: {}", "numa_nodeset", nodes.map_or_else(String::new, |n| n.to_string())));
        if tune.automatic {
            out.line(&format!("{:<15}: auto", "placement"));
        }
        return Ok(());
    }
    let mode: Option<MemMode> = mode.as_deref().map(|it| set(mode_word(it))).transpose()?;
    let nodes: Option<NodeSet> = nodeset.as_deref().map(set).transpose()?;
    guest.set_numatune(mode, nodes.as_ref(), affect(args)).await?;
    out.done("");
    Ok(())
}

/// virsh takes a mode's number as well.
fn mode_word(text: &str) -> &str {
    match text {
        "0" => "strict",
        "1" => "preferred",
        "2" => "interleave",
        "3" => "restrictive",
        word => word,
    }
}

/// Pins to a set of host CPUs, as it was written; `r` stands for all of them.
pub(super) async fn pin(
    guest: &Guest,
    target: PinTarget,
    cpus: &str,
    args: AffectArgs,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let cpus = match cpus {
        "r" => session.connection().await?.topology().await?.online_cpus().clone(),
        cpus => set::<CpuSet>(cpus)?,
    };
    guest.pin(target, &cpus, affect(args)).await?;
    out.done("");
    Ok(())
}

pub(super) async fn vcpupin(
    which: &Which,
    vcpu: Option<u32>,
    cpus: Option<String>,
    args: AffectArgs,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let guest = session.guest(&which.domain).await?;
    if let Some(cpus) = cpus {
        let vcpu = vcpu.ok_or_else(|| {
            Failure::Usage("vcpupin: which vCPU? write `polyvirt vcpupin DOMAIN VCPU CPULIST`".to_owned())
        })?;
        return pin(&guest, PinTarget::Vcpu(VcpuId(vcpu)), &cpus, args, session, out).await;
    }
    let mut rows = Side::of(&guest, args).await?.vcpu_pins();
    rows.retain(|(id, _)| vcpu.is_none_or(|wanted| wanted == *id));
    if rows.is_empty() {
        return Err(Failure::argument(format!("the guest '{}' has no such vCPU", guest.name())));
    }
    if out.json {
        out.json(&rows.iter().map(|(id, cpus)| serde_json::json!({ "vcpu": id, "cpus": cpus })).collect::<Vec<_>>());
        return Ok(());
    }
    let mut table = render::table(&["VCPU", "CPU Affinity"]);
    for (id, cpus) in rows {
        table.add_row([id.to_string(), cpus]);
    }
    out.line(&render::table_text(&table));
    Ok(())
}

pub(super) async fn emulatorpin(
    which: &Which,
    cpus: Option<String>,
    args: AffectArgs,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let guest = session.guest(&which.domain).await?;
    if let Some(cpus) = cpus {
        return pin(&guest, PinTarget::Emulator, &cpus, args, session, out).await;
    }
    let pin = Side::of(&guest, args).await?.emulator_pin();
    if out.json {
        out.json(&serde_json::json!({ "emulator": pin }));
        return Ok(());
    }
    out.line(&format!("emulator: CPU Affinity\n----------------------------------\n       *: {pin}"));
    Ok(())
}
