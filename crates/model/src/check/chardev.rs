//! Rules of character devices: what each backend needs to be told. The two sides of an `nmdm` can be the driver's choice.

use polyvirt_xml::{Positions, Problems};

use super::MAX_PROBLEMS;
use crate::chardev::{CharBackend, CharEndpoint, CharMode, CharSource};
use crate::devices::{Devices, Place};

/// One character device.
struct Device<'a> {
    place: Place,
    /// What of it the rules are about: the rest of the path.
    below: &'static str,
    kind: Option<CharBackend>,
    source: &'a CharSource,
    /// Whether a missing path is drawn at start.
    draws_path: bool,
}

pub(super) fn check(devices: &Devices, positions: &Positions) -> Problems {
    let mut problems = Problems::new();
    for Device { place, below, kind, source, draws_path } in all(devices) {
        let Some(kind) = kind.filter(|_| problems.len() < MAX_PROBLEMS) else { continue };
        let first = source.source.first();
        for what in missing(kind, first, source, draws_path) {
            let message = format!("a '{kind}' device needs {what}");
            problems.push(positions.error(&format!("{place}{below}/source"), message));
        }
        let limit = if kind == CharBackend::Udp { 2 } else { 1 };
        if source.source.len() > limit {
            let message = format!("a '{kind}' device has {limit} <source> at most");
            problems.push(positions.error(&format!("{place}{below}/source[{}]", limit + 1), message));
        }
        for problem in reconnect(first) {
            problems.push(positions.error(&format!("{place}{below}/source/reconnect"), problem));
        }
    }
    problems
}

fn all(devices: &Devices) -> impl Iterator<Item = Device<'_>> {
    // What completion will take for it.
    let unsaid = Some(CharBackend::Pty);
    let channels = list("channel", &devices.channels, move |it| (it.kind.or(unsaid), &it.backend));
    let backends = list("rng", &devices.rngs, |it| it.backend.as_ref().map(|it| (it.kind, &it.source)));
    list("serial", &devices.serials, move |it| (it.kind.or(unsaid), &it.backend))
        .chain(list("parallel", &devices.parallels, move |it| (it.kind.or(unsaid), &it.backend)))
        .chain(list("console", &devices.consoles, move |it| (it.kind.or(unsaid), &it.backend)))
        .chain(channels.map(|device| Device { draws_path: true, ..device }))
        .chain(list("redirdev", &devices.redirdevs, |it| (it.kind, &it.backend)))
        .chain(list("smartcard", &devices.smartcards, |it| (it.kind, &it.backend)))
        .chain(backends.map(|device| Device { below: "/backend", ..device }))
}

/// The devices of one list that have a backend.
fn list<'a, T, B: Into<Option<(Option<CharBackend>, &'a CharSource)>>>(
    name: &'static str,
    devices: &'a [T],
    backend: impl Fn(&'a T) -> B,
) -> impl Iterator<Item = Device<'a>> {
    devices.iter().enumerate().filter_map(move |(index, device)| {
        let (kind, source) = backend(device).into()?;
        let place = Place::new(name, devices.len(), index);
        Some(Device { place, below: "", kind, source, draws_path: false })
    })
}

fn missing(
    kind: CharBackend,
    first: Option<&CharEndpoint>,
    source: &CharSource,
    draws_path: bool,
) -> Vec<&'static str> {
    let without = |field: fn(&CharEndpoint) -> &Option<String>| first.is_none_or(|endpoint| field(endpoint).is_none());
    let mut out = Vec::new();
    match kind {
        CharBackend::File | CharBackend::Dev | CharBackend::Pipe if without(|e| &e.path) => {
            out.push("<source path='…'/>");
        }
        CharBackend::Unix if !draws_path && without(|e| &e.path) => out.push("<source path='…'/>"),
        CharBackend::Tcp => {
            out.extend(without(|e| &e.host).then_some("<source host='…'/>"));
            out.extend(without(|e| &e.service).then_some("<source service='…'/>"));
        }
        // One of two endpoints is where the guest's output goes, and that one has a port.
        CharBackend::Udp if source.source.iter().all(|endpoint| endpoint.service.is_none()) => {
            out.push("<source service='…'/>");
        }
        CharBackend::SpicePort if without(|e| &e.channel) => out.push("<source channel='…'/>"),
        _ => {}
    }
    out
}

fn reconnect(first: Option<&CharEndpoint>) -> Vec<&'static str> {
    let Some((endpoint, reconnect)) = first.and_then(|endpoint| Some((endpoint, endpoint.reconnect.as_ref()?))) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    if reconnect.enabled == Some(true) {
        out.extend(reconnect.timeout.is_none().then_some("<reconnect> needs its attribute 'timeout', in seconds"));
        if !matches!(endpoint.mode, None | Some(CharMode::Connect)) {
            out.push("only mode 'connect' connects again");
        }
    }
    out
}
