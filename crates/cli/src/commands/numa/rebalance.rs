//! `numa rebalance`: the change that would help most, and making it when asked to.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use polyvirt::{
    Observation,
    placement::rebalance::{Hysteresis, Move, Suggestion},
};

use super::Done;
use crate::{args::RebalanceArgs, failure::Failure, output::Output, render, session::Session};

pub(super) async fn rebalance(args: &RebalanceArgs, session: &mut Session, out: &mut Output) -> Done {
    if args.apply && !args.yes && !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("there is nobody to ask whether to move guests: say --yes".to_owned()));
    }
    let connection = session.connection().await?;
    let mut guests: Vec<Observation> = Vec::new();
    for entry in connection.list().await?.into_iter().filter(|entry| entry.state.is_active()) {
        match connection.lookup_by_name(&entry.name).await?.observe().await {
            Ok(seen) => guests.push(seen),
            Err(error) => out.warning(&format!("'{}' is left out: {error}", entry.name)),
        }
    }
    let mut hysteresis = Hysteresis::default();
    hysteresis.least_gain = f64::from(args.least_gain) / 100.0;
    hysteresis.least_time = Duration::from_secs(args.least_time);
    let since = connection.since_move().await?;
    let suggestion = connection.suggest(&guests, hysteresis).await?;
    let Some(suggestion) = suggestion else {
        let wait = since
            .and_then(|since| hysteresis.least_time.checked_sub(since))
            .filter(|wait| !wait.is_zero() && !guests.is_empty());
        if out.json {
            let wait = wait.map(|wait| wait.as_secs() + 1);
            out.json(&serde_json::json!({
                "suggestion": null, "guests": guests.len(), "applied": false, "wait_seconds": wait,
            }));
        } else {
            out.line(&wait.map_or_else(|| nothing(&guests), |wait| too_soon(since.unwrap_or_default(), wait)));
        }
        return Ok(());
    };
    if !out.json {
        out.print(&words(&suggestion));
    }
    let apply = args.apply && (args.yes || agreed(out)?);
    let left = if apply { Some(connection.carry_out(&suggestion).await?) } else { None };
    if apply {
        let names: Vec<_> = suggestion.moves.iter().map(|change| format!("'{}'", change.guest)).collect();
        out.done(&format!("{} moved", names.join(" and ")));
    }
    if let Some(left) = left.filter(|left| !left.is_zero()) {
        out.warning(&format!("{left} of memory found no room there and stays where it is; `numa drift` shows it"));
    }
    if out.json {
        out.json(&serde_json::json!({
            "suggestion": suggestion, "gain_per_gib": suggestion.gain_per_gib(), "guests": guests.len(),
            "applied": apply, "left_behind": left,
        }));
    } else if !args.apply {
        out.line("Nothing was moved; --apply does it.");
    }
    Ok(())
}

/// The wait after a change, whoever made it.
fn too_soon(since: Duration, wait: Duration) -> String {
    format!(
        "The last change of a guest is {} s ago. The next is looked for in {} s; --least-time changes that.",
        since.as_secs(),
        wait.as_secs() + 1
    )
}

fn nothing(guests: &[Observation]) -> String {
    let moves = guests.iter().map(Observation::seat);
    let fixed = moves.filter(|seat| !seat.movable && !seat.repinnable).count();
    let fixed = match fixed {
        0 => String::new(),
        _ => format!("; {fixed} of them cannot be moved: pinned, or with memory that is bound while they run"),
    };
    match guests.len() {
        0 => "No guest runs that could be moved.".to_owned(),
        1 => format!("No change is worth it for the one guest that runs{fixed}."),
        many => format!("No change is worth it for the {many} guests that run{fixed}."),
    }
}

fn words(suggestion: &Suggestion) -> String {
    let mut text = String::new();
    for Move { guest, cpus, memory, size, .. } in &suggestion.moves {
        let cpus = cpus.as_ref().map(|nodes| format!("vCPUs to {}", render::plan::named(nodes)));
        let memory = memory.as_ref().map(|nodes| format!("memory to {} ({size})", render::plan::named(nodes)));
        let what: Vec<_> = cpus.into_iter().chain(memory).collect();
        text.push_str(&format!("'{guest}': {}\n", what.join(", ")));
    }
    let moved = if suggestion.size.is_zero() {
        "no memory to move".to_owned()
    } else {
        format!("{} to move, {:.3} for each GiB", suggestion.size, suggestion.gain_per_gib())
    };
    text.push_str(&format!(
        "Gain {:.3}, the cost of the guests concerned times their vCPUs; {moved}\n",
        suggestion.gain
    ));
    text
}

fn agreed(out: &mut Output) -> Result<bool, Failure> {
    out.flush()?;
    let mut stderr = std::io::stderr();
    write!(stderr, "Do it? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use polyvirt::placement::{Kib, NodeSet};

    use super::*;

    #[test]
    fn who_has_to_wait_is_told_how_long() {
        assert_eq!(
            too_soon(Duration::from_millis(12_300), Duration::from_millis(287_700)),
            "The last change of a guest is 12 s ago. The next is looked for in 288 s; --least-time changes that."
        );
    }

    #[test]
    fn a_suggestion_in_words() {
        let suggestion: Suggestion = serde_json::from_value(serde_json::json!({
            "moves": [{ "guest": "a", "cpus": null, "memory": "2", "size": Kib::from_gib(2) }],
            "size": Kib::from_gib(2), "gain": 1.5,
        }))
        .unwrap();
        assert_eq!(suggestion.moves[0].memory, Some("2".parse::<NodeSet>().unwrap()));
        assert_eq!(
            words(&suggestion),
            "'a': memory to node 2 (2 GiB)\nGain 1.500, the cost of the guests concerned times their vCPUs; 2 GiB to move, 0.750 for each GiB\n"
        );
    }
}
