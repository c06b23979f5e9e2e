//! Network cards that change while the guest runs: their cables, and the bridges that they are on.

use std::time::Duration;

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::interface::{Interface, InterfaceKind, Link},
};
use polyvirt_netdev::{PortRequest, move_port};
use polyvirt_qmp::SetLink;

use super::Shared;
use crate::taps;

/// How long QEMU may take for one order.
const ORDER: Duration = Duration::from_secs(20);

/// What is to be done about one card.
pub(super) struct Task<'a> {
    card: &'a str,
    /// Whether its cable is to be in, if that is new.
    up: Option<bool>,
    /// The port that it has and the one that it is to have.
    port: Option<(Port, Port)>,
}

/// A port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    tap: String,
    bridge: String,
    isolated: bool,
    mtu: Option<u32>,
}

impl Port {
    fn of(card: &Interface) -> Option<Self> {
        Some(Self {
            tap: card.target.as_ref()?.dev.clone()?,
            bridge: taps::bridge(card)?.to_owned(),
            isolated: card.port.as_ref().and_then(|it| it.isolated) == Some(true),
            mtu: card.mtu.as_ref().map(|it| it.size),
        })
    }
}

/// What has to be done to make one card the other; `None` if that cannot be done.
pub(super) fn task<'a>(old: &Interface, new: &'a Interface) -> Option<Task<'a>> {
    let mut same = old.clone();
    same.link.clone_from(&new.link);
    if same.kind == Some(InterfaceKind::Bridge) {
        same.source.clone_from(&new.source);
        same.port.clone_from(&new.port);
    }
    let card = &new.info.alias.as_ref().filter(|_| same == *new)?.name;
    let is_up = |card: &Interface| card.link.as_ref().is_none_or(|it| it.state != Some(Link::Down));
    let up = (is_up(old) != is_up(new)).then(|| is_up(new));
    let port = if (&old.source, &old.port) == (&new.source, &new.port) {
        None
    } else {
        Some((Port::of(old)?, Port::of(new)?))
    };
    Some(Task { card, up, port })
}

/// Does it; all or nothing.
pub(super) async fn change(shared: &Shared, task: &Task<'_>) -> Result<()> {
    if let Some((_, to)) = &task.port {
        bring(to).await?;
    }
    let Some(up) = task.up else { return Ok(()) };
    let told = shared.execute_within(&SetLink { name: task.card, up }, ORDER).await;
    if let (Err(_), Some((from, _))) = (&told, &task.port)
        && let Err(error) = bring(from).await
    {
        tracing::warn!(tap = from.tap, %error, "a card stays on the bridge that it was brought to");
    }
    told.map(drop)
}

async fn bring(port: &Port) -> Result<()> {
    let wanted = port.clone();
    let moved = tokio::task::spawn_blocking(move || {
        let Port { tap, bridge, isolated, mtu } = &wanted;
        move_port(tap, &PortRequest { bridge, isolated: *isolated, mtu: *mtu })
    });
    let moved = moved.await.map_err(|error| Error::new(ErrorKind::Internal, "moving a port failed").source(error))?;
    moved.map_err(|error| taps::explain(&error, "/interface"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::{DomainConfig, ParseOptions};

    fn card(text: &str) -> Interface {
        let text = format!("<domain type='qemu'><name>a</name><devices>{text}</devices></domain>");
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config.devices.interfaces.remove(0)
    }

    #[test]
    fn what_changes_of_a_card_and_what_does_not() {
        let on = |bridge: &str, more: &str| {
            card(&format!(
                "<interface type='bridge'><source bridge='{bridge}'/><target dev='t'/><alias name='net0'/>{more}</interface>"
            ))
        };
        let old = on("a", "");
        let port = |old: &Interface, new: &Interface| {
            let task = task(old, new)?;
            Some((task.up, task.port.map(|(from, to)| (from.bridge, to.bridge, to.isolated))))
        };
        let to = |bridge: &str, isolated| Some(("a".to_owned(), bridge.to_owned(), isolated));
        assert_eq!(port(&old, &on("b", "")), Some((None, to("b", false))));
        assert_eq!(port(&old, &on("b", "<link state='down'/>")), Some((Some(false), to("b", false))));
        assert_eq!(port(&old, &on("a", "<port isolated='yes'/>")), Some((None, to("a", true))));
        assert_eq!(port(&old, &on("a", "<link state='up'/>")), Some((None, None)));
        assert_eq!(port(&old, &on("a", "<mtu size='1400'/>")), None);
        assert_eq!(port(&old, &on("", "")), None);
        let own = card("<interface type='ethernet'><target dev='t'/><alias name='net0'/></interface>");
        assert_eq!(port(&old, &own), None);
    }
}
