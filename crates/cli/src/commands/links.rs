//! `blkdeviotune`, `domif-setlink`, `domif-getlink`.

use polyvirt::{
    Affect, Error, ErrorKind, disk_named,
    model::{
        DomainConfig,
        disk::IoLimits,
        interface::{Interface, Link, LinkState as Cable},
    },
};

use super::{
    Done,
    sizes::bytes,
    tune::{affect, config_of},
};
use crate::{
    args::{AffectArgs, BlkdeviotuneArgs, GetlinkArgs, IftuneArgs, LinkState, SetlinkArgs},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn blkdeviotune(args: &BlkdeviotuneArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let mut change = IoLimits::default();
    for (name, text) in args.numbers() {
        let number = bytes(text, 1)?;
        if let Some(limit) = change.number_mut(name) {
            *limit = Some(number);
        }
    }
    change.group_name.clone_from(&args.group_name);
    if change != IoLimits::default() {
        guest.set_block_throttle(&args.device, change, affect(args.affect)).await?;
        out.done("");
        return Ok(());
    }
    let config = config_of(&guest, args.affect).await?;
    let limits = disk_named(&config, &args.device)?.iotune.as_ref().map(|it| it.limits.clone()).unwrap_or_default();
    if out.json {
        let mut all: serde_json::Map<_, _> =
            limits.numbers().map(|(name, limit)| (name.to_owned(), limit.unwrap_or(0).into())).collect();
        all.insert("group_name".into(), limits.group_name.into());
        out.json(&all);
        return Ok(());
    }
    for (name, limit) in limits.numbers() {
        out.line(&format!("{name:<15}: {}", limit.unwrap_or(0)));
    }
    out.line(&format!("{:<15}: {}", "group_name", limits.group_name.unwrap_or_default()));
    Ok(())
}

/// The card that is called so on the host, or that has this address; its place among the cards.
fn card<'a>(config: &'a DomainConfig, name: &str) -> Result<(usize, &'a Interface), Failure> {
    let is = |card: &Interface| {
        let device = card.target.as_ref().and_then(|it| it.dev.as_deref());
        let address = card.mac.as_ref().map(|it| it.address.to_string());
        device == Some(name) || address.is_some_and(|it| it.eq_ignore_ascii_case(name))
    };
    config.devices.interfaces.iter().enumerate().find(|(_, it)| is(it)).ok_or_else(|| {
        let shown: String = name.chars().take(80).collect();
        Error::new(ErrorKind::NotFound, format!("the guest has no network card '{shown}'"))
            .hint("name its device on the host (vnet0) or its MAC address; `polyvirt dumpxml` shows both")
            .into()
    })
}

/// `--config`, or what there is.
fn side(config: bool) -> AffectArgs {
    AffectArgs { live: false, config, current: false }
}

pub(super) async fn setlink(args: &SetlinkArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let mut config = (*config_of(&guest, side(args.config)).await?).clone();
    let (at, _) = card(&config, &args.interface)?;
    let state = if args.state == LinkState::Up { Link::Up } else { Link::Down };
    config.devices.interfaces[at].link.get_or_insert_with(Cable::default).state = Some(state);
    let device = config.devices.pick("interface", at).map(|it| it.to_xml()).unwrap_or_default();
    if args.print_xml {
        out.print(&device);
        return Ok(());
    }
    let affect = if args.config { Affect::Config } else { Affect::Current };
    let warnings = guest.update_device(&device, affect, false).await?;
    super::tell_warnings(&warnings, out);
    out.done("device updated");
    Ok(())
}

/// What is sent would have to be policed at the tap and what is received shaped, with queueing disciplines that many a kernel lacks.
pub(super) async fn domiftune(args: &IftuneArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let config = config_of(&guest, args.affect).await?;
    let (_, card) = card(&config, &args.interface)?;
    if args.inbound.is_some() || args.outbound.is_some() {
        let message = "limits of network cards are not carried out: taps get no queueing disciplines (htb, police) yet";
        return Err(Error::new(ErrorKind::Unsupported, message)
            .hint("limit the tap yourself, with tc from iproute2; it goes with the guest")
            .into());
    }
    let bandwidth = card.bandwidth.clone().unwrap_or_default();
    let mut rows = Vec::new();
    for (way, limit) in [("inbound", bandwidth.inbound), ("outbound", bandwidth.outbound)] {
        let limit = limit.unwrap_or_default();
        for (name, value) in [("average", limit.average), ("peak", limit.peak), ("burst", limit.burst)] {
            rows.push((format!("{way}.{name}"), value.unwrap_or(0)));
        }
        if way == "inbound" {
            rows.push((format!("{way}.floor"), limit.floor.unwrap_or(0)));
        }
    }
    if out.json {
        out.json(&rows.into_iter().map(|(name, value)| (name, value.into())).collect::<serde_json::Map<_, _>>());
        return Ok(());
    }
    for (name, value) in rows {
        out.line(&format!("{name:<15}: {value}"));
    }
    Ok(())
}

pub(super) async fn getlink(args: &GetlinkArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let config = config_of(&guest, side(args.config)).await?;
    let (_, card) = card(&config, &args.interface)?;
    let down = card.link.as_ref().is_some_and(|it| it.state == Some(Link::Down));
    let state = if down { "down" } else { "up" };
    if out.json {
        out.json(&serde_json::json!({ "interface": args.interface, "link": state }));
        return Ok(());
    }
    out.line(&format!("{} {state}", args.interface));
    Ok(())
}
