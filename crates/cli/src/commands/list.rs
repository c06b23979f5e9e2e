//! `list`.

use polyvirt::{GuestEntry, GuestState};

use super::Done;
use crate::{args::List, output::Output, render, session::Session};

pub(super) async fn list(args: &List, session: &mut Session, out: &mut Output) -> Done {
    let mut guests = session.connection().await?.list().await?;
    guests.retain(|g| wanted(args, g));
    // Running ones first, by number; then the others by name, as virsh does.
    guests.sort_by(|a, b| a.id.is_none().cmp(&b.id.is_none()).then(a.id.cmp(&b.id)).then_with(|| a.name.cmp(&b.name)));
    if out.json {
        out.json(&guests);
        return Ok(());
    }
    if args.name || args.uuid || args.id {
        for guest in &guests {
            out.line(&columns(args, guest).join(" "));
        }
        return Ok(());
    }
    let mut table = render::table(&["Id", "Name", "State"]);
    for guest in &guests {
        let state = if guest.problem.is_some() { "broken" } else { guest.state.name() };
        table.add_row([number(guest), guest.name.clone(), render::state(state, out.colors())]);
    }
    out.line(&render::table_text(&table));
    for guest in &guests {
        if let Some(problem) = &guest.problem {
            out.warning(&format!("{}: {problem}", guest.name));
        }
    }
    Ok(())
}

fn number(guest: &GuestEntry) -> String {
    guest.id.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

fn columns(args: &List, guest: &GuestEntry) -> Vec<String> {
    let mut columns = Vec::new();
    if args.id {
        columns.push(number(guest));
    }
    if args.uuid {
        columns.push(guest.uuid.map_or_else(|| "-".to_owned(), |u| u.to_string()));
    }
    if args.name {
        columns.push(guest.name.clone());
    }
    columns
}

fn wanted(args: &List, guest: &GuestEntry) -> bool {
    let active = guest.state.is_active();
    let states = [
        (args.state_running, guest.state == GuestState::Running),
        (args.state_paused, guest.state == GuestState::Paused),
        (args.state_shutoff, !active),
    ];
    let by_state = states.iter().any(|(asked, _)| *asked);
    let state = if by_state {
        states.iter().any(|(asked, is)| *asked && *is)
    } else if args.inactive {
        !active
    } else {
        args.all || active
    };
    state
        && (!args.persistent || guest.persistent)
        && (!args.transient || !guest.persistent)
        && (!args.autostart || guest.autostart)
        && (!args.no_autostart || !guest.autostart)
}
