//! `iothreadinfo`, `iothreadadd`, `iothreaddel`, `iothreadset`, `iothreadpin`.

use polyvirt::{Affect, IoThreadParams, PinTarget, placement::IoThreadId};

use super::{
    Done,
    tune::{self, affect, io_thread_pins},
};
use crate::{
    args::{IothreadArgs, IothreadpinArgs, IothreadsArgs, IothreadsetArgs},
    failure::Failure,
    output::Output,
    render,
    session::Session,
};

pub(super) async fn info(args: &IothreadsArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let runs = affect(args.affect) != Affect::Config && guest.view().await?.live.is_some();
    if out.json && runs {
        out.json(&guest.io_threads().await?);
        return Ok(());
    }
    let pins = io_thread_pins(&guest, args.affect).await?;
    if out.json {
        out.json(&pins.iter().map(|(id, cpus)| serde_json::json!({ "id": id, "cpus": cpus })).collect::<Vec<_>>());
        return Ok(());
    }
    if pins.is_empty() {
        out.line("no I/O threads");
        return Ok(());
    }
    let mut table = render::table(&["IOThread ID", "CPU Affinity"]);
    for (id, cpus) in pins {
        table.add_row([id.to_string(), cpus]);
    }
    out.line(&render::table_text(&table));
    Ok(())
}

pub(super) async fn add(args: &IothreadArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    guest.add_io_thread(IoThreadId(args.id), affect(args.affect)).await?;
    out.done("");
    Ok(())
}

pub(super) async fn remove(args: &IothreadArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    guest.remove_io_thread(IoThreadId(args.id), affect(args.affect)).await?;
    out.done("");
    Ok(())
}

pub(super) async fn set(args: &IothreadsetArgs, session: &mut Session, out: &mut Output) -> Done {
    let mut params = IoThreadParams::default();
    (params.poll_max_ns, params.poll_grow, params.poll_shrink) = (args.poll_max_ns, args.poll_grow, args.poll_shrink);
    (params.thread_pool_min, params.thread_pool_max) = (args.thread_pool_min, args.thread_pool_max);
    if params == IoThreadParams::default() {
        return Err(Failure::Usage("iothreadset: name at least one value to change".to_owned()));
    }
    let guest = session.guest(&args.which.domain).await?;
    guest.set_io_thread(IoThreadId(args.id), params, affect(args.affect)).await?;
    out.done("");
    Ok(())
}

pub(super) async fn pin(args: &IothreadpinArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    tune::pin(&guest, PinTarget::IoThread(IoThreadId(args.iothread)), &args.cpulist, args.affect, session, out).await
}
