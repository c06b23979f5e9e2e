//! The host: what it has, how it is used, what is missing.

use polyvirt::{Error, ErrorKind, Outcome};

use super::Done;
use crate::{
    args::{HostCommand, HostTree},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Error(
        Error::new(ErrorKind::Storage, format!("cannot look at the host: {error}"))
            .hint("are /proc and /sys mounted?")
            .source(error),
    )
}

/// The host of `--sysroot`, or else that of the connection; and its architecture.
pub(super) async fn host_of(tree: &HostTree, session: &mut Session) -> Result<(polyvirt::Host, String), Failure> {
    let host = match &tree.sysroot {
        Some(root) if root.is_dir() => polyvirt::Host::at(root),
        Some(root) => return Err(Failure::argument(format!("--sysroot: {} is not a directory", root.display()))),
        None => session.connection().await?.host().clone(),
    };
    let architecture = tree.arch.clone().unwrap_or_else(|| host.architecture());
    Ok((host, architecture))
}

pub(super) async fn nodeinfo(tree: &HostTree, session: &mut Session, out: &mut Output) -> Done {
    let (host, architecture) = host_of(tree, session).await?;
    let mut info = host.node_info().map_err(unreadable)?;
    info.model = architecture;
    if out.json {
        out.json(&info);
        return Ok(());
    }
    let memory = info.memory.map_or_else(|| "unknown".to_owned(), |memory| format!("{} KiB", memory.0));
    let rows = [
        ("CPU model", info.model.clone()),
        ("CPU(s)", info.cpus.to_string()),
        ("CPU frequency", format!("{} MHz", info.mhz)),
        ("CPU socket(s)", info.sockets.to_string()),
        ("Core(s) per socket", info.cores.to_string()),
        ("Thread(s) per core", info.threads.to_string()),
        ("NUMA cell(s)", info.nodes.to_string()),
        ("Memory size", memory),
    ];
    for (key, value) in rows {
        out.line(&format!("{:<21}{value}", format!("{key}:")));
    }
    Ok(())
}

pub(super) async fn nodecpustats(cpu: Option<u32>, tree: &HostTree, session: &mut Session, out: &mut Output) -> Done {
    let (host, _) = host_of(tree, session).await?;
    let mut ticks = host.cpu_ticks().map_err(unreadable)?;
    if let Some(cpu) = cpu {
        let name = format!("cpu{cpu}");
        let found = ticks.remove(&name);
        let found = found.ok_or_else(|| {
            Failure::argument(format!(
                "the host has no statistics of CPU {cpu}; it has {} CPUs online",
                ticks.len() - 1
            ))
        })?;
        ticks = [(name, found)].into();
    }
    if out.json {
        out.json(&ticks);
        return Ok(());
    }
    let wanted = if cpu.is_some() { ticks } else { ticks.into_iter().filter(|(name, _)| name == "cpu").collect() };
    for ticks in wanted.values() {
        let rows = [("user", ticks.user), ("system", ticks.kernel), ("idle", ticks.idle), ("iowait", ticks.iowait)];
        for (name, value) in rows {
            out.line(&format!("{:<16}{value:>20}", format!("{name}:")));
        }
    }
    Ok(())
}

pub(super) async fn freecell(node: Option<u32>, all: bool, session: &mut Session, out: &mut Output) -> Done {
    let topology = session.connection().await?.host().topology().map_err(unreadable)?;
    if let Some(id) = node {
        let nodes: Vec<_> = topology.nodes().iter().map(|n| n.id.0.to_string()).collect();
        let found = topology.nodes().iter().find(|n| n.id.0 == id);
        let found = found
            .ok_or_else(|| Failure::argument(format!("there is no node {id}; the host has {}", nodes.join(", "))))?;
        if out.json {
            out.json(&serde_json::json!({ "node": id, "free_kib": found.free.0 }));
        } else {
            out.line(&format!("{id}: {} KiB", found.free.0));
        }
        return Ok(());
    }
    let total: u64 = topology.nodes().iter().map(|n| n.free.0).sum();
    if out.json {
        let nodes: Vec<_> =
            topology.nodes().iter().map(|n| serde_json::json!({ "node": n.id.0, "free_kib": n.free.0 })).collect();
        out.json(&serde_json::json!({ "nodes": nodes, "total_kib": total }));
        return Ok(());
    }
    if all {
        for node in topology.nodes() {
            out.line(&format!("{:>5}: {:>10} KiB", node.id.0, node.free.0));
        }
        out.line("--------------------");
    }
    out.line(&format!("Total: {total:>10} KiB"));
    Ok(())
}

pub(super) fn host(command: &HostCommand, session: &Session, out: &mut Output) -> Done {
    let HostCommand::Check = command;
    let checks = polyvirt::Host::this().checks();
    if out.json {
        out.json(&serde_json::json!({ "checks": checks, "drivers": drivers(session) }));
    } else {
        for check in &checks {
            out.line(&format!("{:<9} {:<34} {}", outcome(check.outcome), check.subject, check.detail));
            if let Some(remedy) = &check.remedy {
                out.line(&format!("{:<9} try: {remedy}", ""));
            }
        }
        for (name, usable, detail) in drivers(session) {
            out.line(&format!("{:<9} {:<34} {detail}", if usable { "PASS" } else { "FAIL" }, format!("driver {name}")));
        }
    }
    let failed: Vec<&str> =
        checks.iter().filter(|check| check.outcome == Outcome::Fail).map(|check| check.subject.as_ref()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    if !out.json {
        out.error_line(&format!("these checks failed: {}", failed.join(", ")));
    }
    Err(Failure::Told(1))
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "PASS",
        Outcome::Warn => "WARN",
        Outcome::Fail => "FAIL",
        _ => "-",
    }
}

fn drivers(session: &Session) -> Vec<(&'static str, bool, String)> {
    let mut found = Vec::new();
    for driver in session.registry.drivers() {
        found.push(match (driver.probe)(&polyvirt::ProbeContext::new(session.settings.driver(driver.name))) {
            polyvirt::ProbeResult::Usable(detail) => (driver.name, true, detail),
            polyvirt::ProbeResult::NotOperational { reason, remedy } => {
                (driver.name, false, format!("{reason}; try: {remedy}"))
            }
            _ => (driver.name, false, "unknown".to_owned()),
        });
    }
    found
}
