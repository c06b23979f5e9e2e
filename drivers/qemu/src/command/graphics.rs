//! Displays: VNC, D-Bus, SDL and rendering without a display. SPICE is in [`super::spice`].

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::display::{Graphics, GraphicsKind, Listen, ListenType},
};

use super::{
    Args, Input,
    option::{Opts, bracketed, on_off},
    sound, spice,
    storage::secret::{self, Certificates},
};

/// Where displays of VNC begin to be counted.
const VNC: i32 = 5900;

pub(super) fn displays(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let graphics = &input.config.devices.graphics;
    if graphics.is_empty() {
        args.add("-display", "none");
    }
    for (at, display) in graphics.iter().enumerate() {
        let path = format!("/domain/devices/graphics[{}]", at + 1);
        match display.kind {
            Some(GraphicsKind::Vnc) => vnc(args, input, display, &path)?,
            Some(GraphicsKind::Spice) => spice::add(args, input, display, &path)?,
            Some(GraphicsKind::Sdl) => {
                let gl = display.gl.as_ref().and_then(|it| it.enable).map(on_off);
                args.add("-display", Opts::new("sdl").maybe("gl", gl).build());
                if display.fullscreen == Some(true) {
                    args.flag("-full-screen");
                }
            }
            Some(GraphicsKind::EglHeadless) => {
                let node = display.gl.as_ref().and_then(|it| it.rendernode.as_deref());
                args.add("-display", Opts::new("egl-headless").maybe("rendernode", node).build());
            }
            Some(GraphicsKind::Dbus) => dbus(args, input, display),
            // A server of its own, which takes the picture from D-Bus.
            Some(GraphicsKind::Rdp) => {}
            other => {
                let kind = other.map_or("", GraphicsKind::as_str);
                let problem = format!("a display of type '{kind}' cannot be had; use 'vnc', 'spice' or 'dbus'");
                return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/@type")));
            }
        }
    }
    Ok(())
}

fn dbus(args: &mut Args, input: &Input<'_>, display: &Graphics) {
    let opts = Opts::new("dbus");
    let opts = if display.p2p == Some(true) {
        opts.switch("p2p", true)
    } else {
        let name = format!("{}-dbus.sock", input.short_name());
        let own = || format!("unix:path={}", input.settings.dbus_state_dir.join(name).display());
        opts.with("addr", display.address.clone().unwrap_or_else(own))
    };
    let gl = display.gl.as_ref();
    let opts = opts
        .maybe("gl", gl.and_then(|it| it.enable).map(on_off))
        .maybe("rendernode", gl.and_then(|it| it.rendernode.as_deref()))
        .maybe("audiodev", display.audio.as_ref().and_then(|it| sound::audiodev(Some(it), input.config)));
    args.add("-display", opts.build());
}

/// What a display listens on: the first `<listen>`.
pub(super) fn listen(display: &Graphics) -> Option<&Listen> {
    display.listens.first()
}

/// The path of a display's socket, if it has one.
pub(super) fn socket(display: &Graphics, auto: bool, name: &str, input: &Input<'_>) -> Option<String> {
    let first = listen(display);
    let is_socket = first.is_some_and(|it| it.kind == Some(ListenType::Socket)) || display.socket.is_some();
    let given = first.and_then(|it| it.socket.clone()).or_else(|| display.socket.clone());
    let no_address = || {
        display.listen.is_none()
            && first.is_none_or(|it| it.kind != Some(ListenType::None) && it.address.is_none() && it.network.is_none())
    };
    (is_socket || auto && no_address())
        .then(|| given.unwrap_or_else(|| input.folders.run.join(name).to_string_lossy().into_owned()))
}

/// Whether a server listens on the network; `own_socket` is what it does that says nothing.
pub(crate) fn by_port(display: &Graphics, own_socket: bool) -> bool {
    let first = listen(display);
    let kind = first.and_then(|it| it.kind);
    let somewhere = display.listen.is_some() || first.is_some_and(|it| it.address.is_some() || it.network.is_some());
    let elsewhere = display.socket.is_some() || matches!(kind, Some(ListenType::Socket | ListenType::None));
    !elsewhere && (somewhere || !own_socket)
}

/// The address of a display that listens on the network.
pub(crate) fn address<'a>(display: &'a Graphics, usual: &'a str) -> &'a str {
    let own = listen(display).and_then(|it| it.address.as_deref()).or(display.listen.as_deref());
    own.filter(|it| !it.is_empty()).unwrap_or(usual)
}

fn vnc(args: &mut Args, input: &Input<'_>, display: &Graphics, path: &str) -> Result<()> {
    let settings = input.settings;
    let at = if let Some(socket) = socket(display, settings.vnc_auto_unix_socket, "vnc.sock", input) {
        Opts::pair("vnc", format!("unix:{socket}"))
    } else if listen(display).is_some_and(|it| it.kind == Some(ListenType::None)) {
        Opts::new("none")
    } else {
        let host = address(display, &settings.vnc_listen);
        let host = bracketed(host);
        let port = display.port.filter(|it| *it > 0).unwrap_or(VNC);
        if port < VNC {
            let problem = format!("port {port} cannot be had for VNC, whose displays begin at {VNC}");
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/@port")));
        }
        let web = display.websocket.map(|it| if it > 0 { it } else { 5700 });
        Opts::implied("vnc", &format!("{host}:{}", port - VNC)).maybe("websocket", web)
    };
    let password = display.passwd.as_ref().or(settings.vnc_password.as_ref());
    let mut opts =
        at.maybe("share", display.share_policy.map(|it| it.as_str())).maybe("password", password.map(|_| "on"));
    if settings.vnc_tls {
        opts = opts.with("tls-creds", certificates(args, input, path)?);
    }
    if settings.vnc_sasl {
        opts = opts.switch("sasl", true);
    }
    let opts = opts
        .maybe("power-control", display.power_control.map(on_off))
        .maybe("audiodev", sound::audiodev(display.audio.as_ref(), input.config));
    args.add("-vnc", opts.build());
    if let Some(keymap) = &display.keymap {
        args.add("-k", keymap);
    }
    Ok(())
}

fn certificates(args: &mut Args, input: &Input<'_>, path: &str) -> Result<&'static str> {
    const ID: &str = "vnc-tls-creds0";
    let password = "vnc-tls-creds0-secret0";
    let locked = input.settings.vnc_tls_x509_secret_uuid.is_some();
    if locked {
        secret::object(args, input, password, None, path)?;
    }
    let about = Certificates {
        id: ID,
        folder: &input.settings.vnc_tls_x509_cert_dir,
        server: true,
        verify: input.settings.vnc_tls_x509_verify,
        password: locked.then_some(password),
    };
    secret::certificates(args, about);
    Ok(ID)
}
