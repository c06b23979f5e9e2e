//! What is known of a guest.

use polyvirt::{GuestState, Which as Definition};

use super::Done;
use crate::{args::Which, output::Output, render, session::Session};

pub(super) async fn dominfo(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    let view = guest.view().await?;
    let entry = &view.entry;
    if out.json {
        out.json(&serde_json::json!({ "guest": entry, "plan": view.plan }));
        return Ok(());
    }
    let config = view.live.as_ref().or(view.stored.as_deref());
    let os_type = config.map(render::definition::os_type).unwrap_or_default();
    let used = config.map_or(entry.memory, render::definition::memory_current);
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let mut rows = vec![
        ("Id", entry.id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
        ("Name", entry.name.clone()),
        ("UUID", entry.uuid.map(|u| u.to_string()).unwrap_or_default()),
        ("OS Type", os_type),
        ("State", entry.state.name().to_owned()),
        ("CPU(s)", entry.vcpus.to_string()),
        ("Max memory", format!("{} KiB", entry.memory.0)),
        ("Used memory", format!("{} KiB", used.0)),
        ("Persistent", yes(entry.persistent)),
        ("Managed save", yes(guest.has_managed_save().await?)),
        ("Autostart", if entry.autostart { "enable" } else { "disable" }.to_owned()),
    ];
    if let Some(plan) = &view.plan {
        rows.push(("NUMA placement", render::plan::in_a_line(plan)));
        for weak in &plan.weakened {
            rows.push(("Not as planned", weak.to_string()));
        }
    }
    for (key, value) in rows {
        out.line(&format!("{:<16}{value}", format!("{key}:")));
    }
    Ok(())
}

pub(super) async fn domstate(which: &Which, reason: bool, session: &mut Session, out: &mut Output) -> Done {
    let state = session.guest(&which.domain).await?.state().await?;
    if out.json {
        out.json(&state);
        return Ok(());
    }
    let why = match &state {
        GuestState::ShutOff(reason) => format!(" ({})", reason.name()),
        GuestState::Unreachable(why) => format!(" ({why})"),
        _ => String::new(),
    };
    out.line(&format!("{}{}", state.name(), if reason { why } else { String::new() }));
    Ok(())
}

pub(super) async fn domid(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let id = session.guest(&which.domain).await?.view().await?.entry.id;
    out.line(&id.map_or_else(|| "-".to_owned(), |id| id.to_string()));
    Ok(())
}

pub(super) async fn domuuid(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let uuid = session.guest(&which.domain).await?.uuid();
    out.line(&uuid.to_string());
    Ok(())
}

pub(super) async fn domname(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    out.line(guest.name());
    Ok(())
}

pub(super) async fn dumpxml(
    which: &Which,
    inactive: bool,
    secrets: bool,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let guest = session.guest(&which.domain).await?;
    let of = if inactive { Definition::Stored } else { Definition::Current };
    out.print(&if secrets { guest.xml_with_secrets(of).await? } else { guest.xml(of).await? });
    Ok(())
}

pub(super) async fn vcpuinfo(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let vcpus = session.guest(&which.domain).await?.vcpus().await?;
    if out.json {
        out.json(&vcpus);
        return Ok(());
    }
    for vcpu in vcpus {
        let cpu = vcpu.cpu.map_or_else(|| "-".to_owned(), |c| c.to_string());
        let affinity = vcpu.affinity.map_or_else(|| "-".to_owned(), |set| set.to_string());
        out.line(&format!("{:<16}{}", "VCPU:", vcpu.vcpu.0));
        out.line(&format!("{:<16}{cpu}", "CPU:"));
        out.line(&format!("{:<16}running", "State:"));
        out.line(&format!("{:<16}{:.1}s", "CPU time:", vcpu.time.as_secs_f64()));
        out.line(&format!("{:<16}{affinity}\n", "CPU Affinity:"));
    }
    Ok(())
}
