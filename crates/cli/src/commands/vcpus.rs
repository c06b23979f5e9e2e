//! `setvcpus`, `setvcpu`, `vcpucount`.

use polyvirt::{Error, ErrorKind, VcpuCounts, placement::VcpuSet};

use super::{
    Done,
    tune::{affect, set},
};
use crate::{
    args::{SetvcpuArgs, SetvcpusArgs, VcpucountArgs},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn setvcpus(args: &SetvcpusArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    if args.maximum {
        if !args.affect.config && guest.view().await?.live.is_some() {
            return Err(Failure::Usage(
                "setvcpus: what a running guest can have stays; add --config for its next start".to_owned(),
            ));
        }
        guest.set_max_vcpus(args.count).await?;
    } else {
        guest.set_vcpus(args.count, args.hotpluggable, affect(args.affect)).await?;
    }
    out.done("");
    Ok(())
}

pub(super) async fn setvcpu(args: &SetvcpuArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let vcpus: VcpuSet = set(&args.vcpulist)?;
    guest.select_vcpus(&vcpus, args.enable, affect(args.affect)).await?;
    out.done("");
    Ok(())
}

pub(super) async fn vcpucount(args: &VcpucountArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let view = guest.view().await?;
    let (config, live) = (view.stored.as_deref().map(VcpuCounts::of), view.live.as_ref().map(VcpuCounts::of));
    if !(args.maximum || args.active || args.live || args.config || args.current) {
        if out.json {
            out.json(&serde_json::json!({ "config": config, "live": live }));
            return Ok(());
        }
        for (kind, number) in [("maximum", (|it| it.maximum) as fn(VcpuCounts) -> u32), ("current", |it| it.current)] {
            for (side, numbers) in [("config", config), ("live", live)] {
                if let Some(numbers) = numbers {
                    out.line(&format!("{kind:<12} {side:<12} {:>3}", number(numbers)));
                }
            }
        }
        return Ok(());
    }
    let missing = |what: &str| {
        Failure::Error(Error::new(ErrorKind::InvalidState, format!("the guest '{}' {what}", guest.name())))
    };
    let numbers = match (args.live, args.config) {
        (true, _) => live.ok_or_else(|| missing("does not run"))?,
        (_, true) => config.ok_or_else(|| missing("is transient: it has no stored definition"))?,
        _ => live.or(config).ok_or_else(|| missing("is gone"))?,
    };
    let number = if args.maximum { numbers.maximum } else { numbers.current };
    if out.json {
        out.json(&number);
    } else {
        out.line(&number.to_string());
    }
    Ok(())
}
