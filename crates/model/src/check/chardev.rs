//! Rules of character devices: what each backend needs to be told. The two sides of an `nmdm` can be the driver's choice.

use polyvirt_xml::{Positions, Problems};

use super::{MAX_PROBLEMS, nth};
use crate::chardev::{CharBackend, CharEndpoint, CharMode, CharSource};
use crate::devices::Devices;

/// One character device: its path, its backend, what is said about it, and whether a missing path is drawn at start.
type Device<'a> = (String, Option<CharBackend>, &'a CharSource, bool);

pub(super) fn check(devices: &Devices, positions: &Positions) -> Problems {
    let mut problems = Problems::new();
    for (path, kind, source, draws_path) in all(devices) {
        let Some(kind) = kind.filter(|_| problems.len() < MAX_PROBLEMS) else { continue };
        let first = source.source.first();
        for what in missing(kind, first, source, draws_path) {
            let message = format!("a '{kind}' device needs {what}");
            problems.push(positions.error(&format!("{path}/source"), message));
        }
        let limit = if kind == CharBackend::Udp { 2 } else { 1 };
        if source.source.len() > limit {
            let message = format!("a '{kind}' device has {limit} <source> at most");
            problems.push(positions.error(&format!("{path}/source[{}]", limit + 1), message));
        }
        for problem in reconnect(first) {
            problems.push(positions.error(&format!("{path}/source/reconnect"), problem));
        }
    }
    problems
}

fn all(devices: &Devices) -> Vec<Device<'_>> {
    let mut out: Vec<Device<'_>> = Vec::new();
    // What completion will take for it.
    let unsaid = Some(CharBackend::Pty);
    let path = |name: &str, count: usize, index: usize| format!("/domain/devices/{}", nth(name, count, index));
    for (i, d) in devices.serials.iter().enumerate() {
        out.push((path("serial", devices.serials.len(), i), d.kind.or(unsaid), &d.backend, false));
    }
    for (i, d) in devices.parallels.iter().enumerate() {
        out.push((path("parallel", devices.parallels.len(), i), d.kind.or(unsaid), &d.backend, false));
    }
    for (i, d) in devices.consoles.iter().enumerate() {
        out.push((path("console", devices.consoles.len(), i), d.kind.or(unsaid), &d.backend, false));
    }
    for (i, d) in devices.channels.iter().enumerate() {
        out.push((path("channel", devices.channels.len(), i), d.kind.or(unsaid), &d.backend, true));
    }
    for (i, d) in devices.redirdevs.iter().enumerate() {
        out.push((path("redirdev", devices.redirdevs.len(), i), d.kind, &d.backend, false));
    }
    for (i, d) in devices.smartcards.iter().enumerate() {
        out.push((path("smartcard", devices.smartcards.len(), i), d.kind, &d.backend, false));
    }
    for (i, d) in devices.rngs.iter().enumerate() {
        if let Some(backend) = &d.backend {
            let path = format!("{}/backend", path("rng", devices.rngs.len(), i));
            out.push((path, backend.kind, &backend.source, false));
        }
    }
    out
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
