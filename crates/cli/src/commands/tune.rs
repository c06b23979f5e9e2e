//! `numatune`, `vcpupin`, `emulatorpin`.

use polyvirt::{
    Affect, Guest, GuestView, PinTarget,
    placement::{CpuSet, MemMode, NodeSet, VcpuId},
};

use super::Done;
use crate::{
    args::{AffectArgs, Which},
    failure::Failure,
    output::Output,
    render,
    session::Session,
};

fn affect(args: AffectArgs) -> Affect {
    match (args.live, args.config) {
        (true, true) => Affect::Both,
        (true, false) => Affect::Live,
        (false, true) => Affect::Config,
        (false, false) => Affect::Current,
    }
}

/// The definition to show: the running guest's unless the stored one was asked for.
async fn shown(guest: &Guest, args: AffectArgs) -> Result<(GuestView, bool), Failure> {
    let view = guest.view().await?;
    let live = match affect(args) {
        Affect::Config => false,
        Affect::Live | Affect::Both if view.live.is_none() => {
            return Err(Failure::Error(polyvirt::Error::new(
                polyvirt::ErrorKind::InvalidState,
                format!("the guest '{}' does not run", guest.name()),
            )));
        }
        _ => view.live.is_some(),
    };
    Ok((view, live))
}

fn set<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
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
        let (view, live) = shown(&guest, args).await?;
        let config = if live { view.live.as_ref() } else { view.stored.as_deref() };
        let tune = config.map(render::definition::numatune).unwrap_or_default();
        let advice = view.plan.filter(|_| live).and_then(|p| p.advice);
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
    let mode: Option<MemMode> = mode.as_deref().map(set).transpose()?;
    let nodes: Option<NodeSet> = nodeset.as_deref().map(set).transpose()?;
    guest.set_numatune(mode, nodes.as_ref(), affect(args)).await?;
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
        guest.pin(PinTarget::Vcpu(VcpuId(vcpu)), &set::<CpuSet>(&cpus)?, affect(args)).await?;
        out.done("");
        return Ok(());
    }
    let (view, live) = shown(&guest, args).await?;
    let mut rows: Vec<(u32, String)> = Vec::new();
    if let (true, Some(plan)) = (live, &view.plan) {
        rows.extend(plan.cells.iter().flat_map(|c| &c.vcpus).map(|v| (v.vcpu.0, v.hard.to_string())));
        rows.sort_unstable();
    } else if let Some(config) = view.live.as_ref().filter(|_| live).or(view.stored.as_deref()) {
        for id in 0..config.vcpus_max() {
            let pin = render::definition::vcpu_pin(config, id).map_or_else(|| "-".to_owned(), ToString::to_string);
            rows.push((id, pin));
        }
    }
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
        guest.pin(PinTarget::Emulator, &set::<CpuSet>(&cpus)?, affect(args)).await?;
        out.done("");
        return Ok(());
    }
    let (view, live) = shown(&guest, args).await?;
    let config = if live { view.live.as_ref() } else { view.stored.as_deref() };
    let pin = match (&view.plan, live) {
        (Some(plan), true) => plan.process.cpus.to_string(),
        _ => config.and_then(render::definition::emulator_pin).map_or_else(|| "-".to_owned(), ToString::to_string),
    };
    if out.json {
        out.json(&serde_json::json!({ "emulator": pin }));
        return Ok(());
    }
    out.line(&format!("emulator: CPU Affinity\n----------------------------------\n       *: {pin}"));
    Ok(())
}
