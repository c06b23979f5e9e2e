//! Completion of `<graphics>` and `<video>`: ports, where a server listens (in its old place and its new one), the first screen.

use crate::devices::Devices;
use crate::display::{Graphics, GraphicsKind, Listen, ListenType, VideoType};

/// In an attribute of a port: any, chosen at start.
const ANY_PORT: i32 = -1;

pub(super) fn complete(devices: &mut Devices) {
    for graphics in &mut devices.graphics {
        let Some(kind @ (GraphicsKind::Vnc | GraphicsKind::Spice | GraphicsKind::Rdp)) = graphics.kind else {
            continue;
        };
        listens(graphics, kind);
        match kind {
            _ if !has_ports(graphics) => no_ports(graphics),
            GraphicsKind::Vnc => vnc_ports(graphics),
            GraphicsKind::Spice => spice_ports(graphics),
            _ => rdp_ports(graphics),
        }
    }
    videos(devices);
}

/// The attributes `listen` and `socket` say the same as the first `<listen>`. An attribute `socket` wins over an address.
fn listens(graphics: &mut Graphics, kind: GraphicsKind) {
    let socket = graphics.socket.take().filter(|_| kind == GraphicsKind::Vnc);
    let attribute = graphics.listen.take().filter(|address| !address.is_empty());
    if graphics.listens.is_empty() {
        graphics.listens.push(Listen { kind: Some(ListenType::Address), ..Listen::default() });
    }
    let first = &mut graphics.listens[0];
    match first.kind {
        Some(ListenType::Address) if socket.is_some() => {
            *first = Listen { kind: Some(ListenType::Socket), socket, ..Listen::default() };
        }
        Some(ListenType::Address) => first.address = first.address.take().or(attribute),
        Some(ListenType::Socket) => first.socket = first.socket.take().or(socket),
        _ => {}
    }
    match first.kind {
        Some(ListenType::Address) => graphics.listen.clone_from(&first.address),
        Some(ListenType::Socket) if kind == GraphicsKind::Vnc => graphics.socket.clone_from(&first.socket),
        _ => {}
    }
}

fn has_ports(graphics: &Graphics) -> bool {
    let first = graphics.listens.first().and_then(|listen| listen.kind);
    matches!(first, Some(ListenType::Address | ListenType::Network))
}

fn no_ports(graphics: &mut Graphics) {
    graphics.port = None;
    graphics.tls_port = None;
    graphics.autoport = None;
}

/// A port that is given.
fn given(port: Option<i32>) -> Option<i32> {
    port.filter(|&port| port != ANY_PORT && port != 0)
}

fn vnc_ports(graphics: &mut Graphics) {
    let any = matches!(graphics.port, None | Some(ANY_PORT));
    let auto = *graphics.autoport.get_or_insert(any);
    graphics.port = given(graphics.port).or(auto.then_some(ANY_PORT));
}

fn spice_ports(graphics: &mut Graphics) {
    let any = graphics.port == Some(ANY_PORT) || graphics.tls_port == Some(ANY_PORT);
    graphics.autoport = Some(any || graphics.autoport == Some(true));
    graphics.port = given(graphics.port);
    graphics.tls_port = given(graphics.tls_port);
}

fn rdp_ports(graphics: &mut Graphics) {
    // Unlike VNC, no port is no server: without one it is chosen at start, whatever `autoport` says.
    let auto = graphics.autoport == Some(true) || given(graphics.port).is_none();
    graphics.autoport = auto.then_some(true);
    graphics.port = given(graphics.port).or(auto.then_some(0));
}

/// One screen if nothing is said; the first device is the primary one, and the primary one comes first.
fn videos(devices: &mut Devices) {
    let primary =
        |model: &Option<crate::display::VideoModel>| model.as_ref().is_some_and(|model| model.primary == Some(true));
    devices.videos.sort_by_key(|video| !primary(&video.model));
    for (index, video) in devices.videos.iter_mut().enumerate() {
        let Some(model) = &mut video.model else { continue };
        if matches!(model.kind, Some(VideoType::None)) {
            continue;
        }
        model.heads.get_or_insert(1);
        if index == 0 {
            model.primary = Some(true);
        }
    }
}
