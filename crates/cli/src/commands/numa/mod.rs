//! `numa`: the host's nodes and where guests sit on them, in the terminal, as SVG and as JSON.

mod devices;
mod drift;
mod leases;
mod plan;
mod rebalance;
#[cfg(feature = "simulate")]
mod simulate;
mod topology;

use std::path::Path;

use polyvirt::{
    Connection,
    placement::{Promised, ledger::Snapshot},
};

use super::{Done, explain};
use crate::{
    args::{Drawing, NumaCommand},
    failure::Failure,
    output::Output,
    picture::{Picture, host::Sitting, svg, terminal},
    session::Session,
};
pub(super) use plan::plan_at;

pub(super) async fn numa(command: Option<NumaCommand>, session: &mut Session, out: &mut Output) -> Done {
    match command {
        None => topology::topology(&crate::args::Topology::default(), session, out).await,
        Some(NumaCommand::Topology(args)) => topology::topology(&args, session, out).await,
        Some(NumaCommand::Plan(args)) => plan::plan(&args, session, out).await,
        Some(NumaCommand::Explain(args)) => {
            explain::explain(&args.what, args.auto_nodeset.as_deref(), session, out).await
        }
        Some(NumaCommand::Leases(drawing)) => leases::leases(&drawing, session, out).await,
        Some(NumaCommand::Drift(args)) => drift::drift(&args, session, out).await,
        Some(NumaCommand::Rebalance(args)) => rebalance::rebalance(&args, session, out).await,
        #[cfg(feature = "simulate")]
        Some(NumaCommand::Simulate(args)) => simulate::simulate(&args, out).await,
    }
}

/// Gives a picture out as it was asked for: JSON, SVG or text.
fn show(picture: &Picture, facts: &serde_json::Value, drawing: &Drawing, out: &mut Output) -> Done {
    match &drawing.svg {
        None if out.json => out.json(facts),
        None => out.print(&terminal::render(picture, out.style())),
        Some(_) if out.json => return Err(Failure::Usage("--json and --svg exclude each other".to_owned())),
        Some(file) => {
            let text = svg::render(picture);
            if file == Path::new("-") {
                out.print(&text);
            } else {
                std::fs::write(file, text).map_err(|error| polyvirt::io_error("write", file, error))?;
                out.done(&format!("{} written", file.display()));
            }
        }
    }
    Ok(())
}

/// The ledger as it is; an empty one, and a warning, if it cannot be read.
async fn promises(connection: &Connection, out: &mut Output) -> Snapshot {
    let read = match connection.ledger() {
        Err(why) => Err(why.to_owned()),
        Ok(ledger) => {
            let ledger = ledger.clone();
            let read = tokio::task::spawn_blocking(move || ledger.snapshot().map_err(|error| error.to_string())).await;
            read.unwrap_or_else(|error| Err(error.to_string()))
        }
    };
    read.unwrap_or_else(|why| {
        out.warning(&format!("promises are not shown: {why}"));
        Snapshot::default()
    })
}

/// Running guests that were placed.
async fn sitting(connection: &Connection, promised: &Promised) -> Result<Vec<Sitting>, Failure> {
    let mut guests = Vec::new();
    for entry in connection.list().await?.into_iter().filter(|entry| entry.state.is_active()) {
        let view = match connection.lookup_by_name(&entry.name).await {
            Ok(guest) => guest.view().await,
            Err(error) => Err(error),
        };
        // A guest that ended since it was listed sits nowhere.
        if let Some(plan) = view.ok().and_then(|view| view.plan) {
            let booked = plan.lease.is_some() && !promised.nodes.is_empty();
            guests.push(Sitting::planned(&entry.name, &plan, booked));
        }
    }
    Ok(guests)
}
