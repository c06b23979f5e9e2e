//! `setmem`, `setmaxmem`, `memtune`.

use polyvirt::{Affect, MemoryLimitChange, memory_limits, placement::Kib};

use super::{
    Done,
    sizes::kib,
    tune::{affect, config_of},
};
use crate::{
    args::{MemtuneArgs, SizeArgs},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn setmem(args: &SizeArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    guest.set_memory(kib(&args.size)?, affect(args.affect)).await?;
    out.done("");
    Ok(())
}

pub(super) async fn setmaxmem(args: &SizeArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let live = match affect(args.affect) {
        Affect::Config => false,
        Affect::Current => guest.view().await?.live.is_some(),
        _ => true,
    };
    if live {
        return Err(Failure::Usage(
            "setmaxmem: the memory of a running guest stays; add --config for its next start, or attach a memory device"
                .to_owned(),
        ));
    }
    guest.set_max_memory(kib(&args.size)?).await?;
    out.done("");
    Ok(())
}

/// A limit as it is written; -1 is none.
fn limit(text: Option<&str>) -> Result<Option<Option<Kib>>, Failure> {
    match text {
        None => Ok(None),
        Some("-1") => Ok(Some(None)),
        Some(text) => kib(text).map(|size| Some(Some(size))),
    }
}

pub(super) async fn memtune(args: &MemtuneArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let (hard, soft) = (limit(args.hard_limit.as_deref())?, limit(args.soft_limit.as_deref())?);
    let with_swap = limit(args.swap_hard_limit.as_deref())?;
    if hard.is_some() || soft.is_some() || with_swap.is_some() {
        guest.set_memory_limits(MemoryLimitChange::new(hard, soft, with_swap), affect(args.affect)).await?;
        out.done("");
        return Ok(());
    }
    let limits = memory_limits(&*config_of(&guest, args.affect).await?);
    let rows = [("hard_limit", limits.hard), ("soft_limit", limits.soft), ("swap_hard_limit", limits.with_swap)];
    if out.json {
        let all: serde_json::Map<_, _> =
            rows.iter().map(|(name, size)| ((*name).to_owned(), serde_json::json!(size))).collect();
        out.json(&all);
        return Ok(());
    }
    for (name, size) in rows {
        let size = size.map_or_else(|| "unlimited".to_owned(), |it| it.0.to_string());
        out.line(&format!("{name:<15}: {size}"));
    }
    Ok(())
}
