//! `domdisplay`, `vncdisplay`, `ttyconsole`, `domcontrol`: where a running guest can be seen and reached.

use polyvirt::{
    Error, ErrorKind, GuestState,
    model::{
        DomainConfig,
        display::{Graphics, GraphicsKind, ListenType},
    },
};

use super::Done;
use crate::{
    args::{DisplayArgs, Which},
    failure::Failure,
    output::Output,
    session::Session,
};

/// VNC counts its displays from this port.
const FIRST_VNC_PORT: i32 = 5900;

/// The definition of a guest that runs.
async fn live(which: &Which, session: &mut Session) -> Result<DomainConfig, Failure> {
    let guest = session.guest(&which.domain).await?;
    guest.view().await?.live.ok_or_else(|| {
        let error = Error::new(ErrorKind::InvalidState, format!("the guest '{}' does not run", guest.name()));
        Failure::Error(error.hint(format!("start it with `polyvirt start {}`", guest.name())))
    })
}

/// Where a display listens.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Socket(&'a str),
    Port { host: &'a str, port: Option<i32>, tls: Option<i32> },
}

fn place(display: &Graphics) -> Option<Place<'_>> {
    let listen = display.listens.first();
    let socket = listen.and_then(|it| it.socket.as_deref()).or(display.socket.as_deref());
    if let Some(socket) = socket.filter(|_| listen.is_none_or(|it| it.kind == Some(ListenType::Socket))) {
        return Some(Place::Socket(socket));
    }
    let host = listen.and_then(|it| it.address.as_deref()).or(display.listen.as_deref()).unwrap_or_default();
    let open = |port: Option<i32>| port.filter(|it| *it > 0);
    let (port, tls) = (open(display.port), open(display.tls_port));
    (port.is_some() || tls.is_some()).then_some(Place::Port { host, port, tls })
}

/// An address for clients on this host: one that means all of them is this host; one of IPv6 stands in brackets.
fn reachable(host: &str) -> String {
    match host {
        "" | "0.0.0.0" | "::" => "localhost".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    }
}

/// The URI of a display; `None`: it cannot be reached from outside.
fn uri(display: &Graphics, with_password: bool) -> Option<String> {
    let kind = display.kind?.to_string();
    let password = display.passwd.as_deref().filter(|_| with_password);
    let is_spice = display.kind == Some(GraphicsKind::Spice);
    let (before, after) = match password {
        Some(password) if is_spice => (String::new(), vec![format!("password={password}")]),
        Some(password) => (format!(":{password}@"), Vec::new()),
        None => (String::new(), Vec::new()),
    };
    let query = |parts: Vec<String>| {
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    };
    match place(display)? {
        Place::Socket(socket) => Some(format!("{kind}+unix://{before}{socket}{}", query(after))),
        Place::Port { host, port, tls } => {
            let shift = if display.kind == Some(GraphicsKind::Vnc) { FIRST_VNC_PORT } else { 0 };
            let port = port.map(|it| format!(":{}", it - shift)).unwrap_or_default();
            let tls = tls.filter(|_| is_spice).map(|it| format!("tls-port={it}"));
            let parts = tls.into_iter().chain(after).collect();
            Some(format!("{kind}://{before}{}{port}{}", reachable(host), query(parts)))
        }
    }
}

pub(super) async fn domdisplay(args: &DisplayArgs, session: &mut Session, out: &mut Output) -> Done {
    let config = live(&args.which, session).await?;
    let of_kind =
        |it: &&Graphics| args.kind.as_deref().is_none_or(|kind| it.kind.is_some_and(|it| it.to_string() == kind));
    let displays = config.devices.graphics.iter().filter(of_kind);
    let mut found: Vec<String> = displays.filter_map(|it| uri(it, args.include_password)).collect();
    if !args.all {
        found.truncate(1);
    }
    if out.json {
        out.json(&found);
        return Ok(());
    }
    if found.is_empty() {
        let kind = args.kind.as_deref().map(|it| format!(" of type '{it}'")).unwrap_or_default();
        return Err(none(&config, &format!("graphical display{kind} that can be reached"), "<graphics type='vnc'/>"));
    }
    found.iter().for_each(|it| out.line(it));
    Ok(())
}

fn none(config: &DomainConfig, what: &str, remedy: &str) -> Failure {
    let error = Error::new(ErrorKind::NotFound, format!("the guest '{}' has no {what}", config.name));
    Failure::Error(error.hint(format!("add {remedy} to its devices")))
}

pub(super) async fn vncdisplay(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let config = live(which, session).await?;
    let display = config.devices.graphics.iter().find(|it| it.kind == Some(GraphicsKind::Vnc));
    let shown = display.and_then(place).map(|place| match place {
        Place::Socket(socket) => socket.to_owned(),
        Place::Port { host, port, .. } => {
            let host = if matches!(host, "0.0.0.0" | "::") { "" } else { host };
            format!("{host}:{}", port.unwrap_or(FIRST_VNC_PORT) - FIRST_VNC_PORT)
        }
    });
    out.line(&shown.ok_or_else(|| none(&config, "VNC display", "<graphics type='vnc'/>"))?);
    Ok(())
}

pub(super) async fn ttyconsole(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let config = live(which, session).await?;
    let terminal = config.devices.consoles.iter().find_map(|it| it.tty.as_deref());
    out.line(terminal.ok_or_else(|| none(&config, "console on a pseudo-terminal", "<console type='pty'/>"))?);
    Ok(())
}

pub(super) async fn domcontrol(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    live(which, session).await?;
    let job = guest.job().await?;
    let state = match guest.state().await? {
        GuestState::Unreachable(why) => format!("error: {why}"),
        _ => match job {
            Some(job) => format!("occupied ({})", job.kind.name()),
            None => "ok".to_owned(),
        },
    };
    if out.json {
        out.json(&serde_json::json!({ "control": state }));
        return Ok(());
    }
    out.line(&state);
    Ok(())
}

#[cfg(test)]
mod tests {
    use polyvirt::model::ParseOptions;

    use super::*;

    fn display(xml: &str) -> Graphics {
        let xml = format!(
            "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type></os><devices>{xml}</devices></domain>"
        );
        DomainConfig::parse(&xml, &ParseOptions::default()).expect("a definition").config.devices.graphics.remove(0)
    }

    #[test]
    fn uris_as_virsh_writes_them() {
        for (xml, plain, with_password) in [
            (
                "<graphics type='vnc' port='5901' listen='127.0.0.1' passwd='s'/>",
                "vnc://127.0.0.1:1",
                "vnc://:s@127.0.0.1:1",
            ),
            ("<graphics type='vnc' port='5900' listen='0.0.0.0'/>", "vnc://localhost:0", "vnc://localhost:0"),
            (
                "<graphics type='spice' port='5901' tlsPort='5902' passwd='s'><listen type='address' address='::1'/></graphics>",
                "spice://[::1]:5901?tls-port=5902",
                "spice://[::1]:5901?tls-port=5902&password=s",
            ),
            (
                "<graphics type='spice' tlsPort='5902'/>",
                "spice://localhost?tls-port=5902",
                "spice://localhost?tls-port=5902",
            ),
            (
                "<graphics type='vnc'><listen type='socket' socket='/run/a.vnc'/></graphics>",
                "vnc+unix:///run/a.vnc",
                "vnc+unix:///run/a.vnc",
            ),
        ] {
            let display = display(xml);
            assert_eq!(uri(&display, false).as_deref(), Some(plain), "{xml}");
            assert_eq!(uri(&display, true).as_deref(), Some(with_password), "{xml}");
        }
        assert_eq!(uri(&display("<graphics type='spice'><listen type='none'/></graphics>"), false), None);
    }
}
