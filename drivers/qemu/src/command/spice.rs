//! SPICE.

use polyvirt_core::{
    Result,
    model::{
        chardev::MousePointer,
        display::{Graphics, ListenType, SpiceMode},
    },
};

use super::{
    Args, Input, graphics,
    option::{Opts, on_off},
};

pub(super) fn add(args: &mut Args, input: &Input<'_>, display: &Graphics, _path: &str) -> Result<()> {
    let settings = input.settings;
    let none = graphics::listen(display).is_some_and(|it| it.kind == Some(ListenType::None));
    let opts = if let Some(socket) = graphics::socket(display, settings.spice_auto_unix_socket, "spice.sock", input) {
        Opts::pair("unix", "on").with("addr", socket)
    } else if none {
        Opts::pair("port", 0)
    } else {
        network(display, input)
    };
    let password = display.passwd.as_ref().or(settings.spice_password.as_ref());
    let mut opts = opts;
    if settings.spice_sasl {
        opts = opts.switch("sasl", true);
    }
    if password.is_none() {
        opts = opts.switch("disable-ticketing", true);
    }
    opts = channels(opts, display);
    let gl = display.gl.as_ref();
    opts = opts
        .maybe("image-compression", display.image.as_ref().and_then(|it| it.compression).map(|it| it.as_str()))
        .maybe("jpeg-wan-compression", display.jpeg.as_ref().and_then(|it| it.compression).map(|it| it.as_str()))
        .maybe("zlib-glz-wan-compression", display.zlib.as_ref().and_then(|it| it.compression).map(|it| it.as_str()))
        .maybe("playback-compression", display.playback.as_ref().and_then(|it| it.compression).map(on_off))
        .maybe("streaming-video", display.streaming.as_ref().and_then(|it| it.mode).map(|it| it.as_str()))
        .maybe(
            "agent-mouse",
            display.mouse.as_ref().and_then(|it| it.mode).map(|it| on_off(it == MousePointer::Client)),
        );
    if display.clipboard.as_ref().and_then(|it| it.copypaste) == Some(false) {
        opts = opts.switch("disable-copy-paste", true);
    }
    if display.filetransfer.as_ref().and_then(|it| it.enable) == Some(false) {
        opts = opts.switch("disable-agent-file-xfer", true);
    }
    opts = opts
        .maybe("gl", gl.and_then(|it| it.enable).map(on_off))
        .maybe("rendernode", gl.and_then(|it| it.rendernode.as_deref()))
        .switch("seamless-migration", true);
    args.add("-spice", opts.build());
    if let Some(keymap) = &display.keymap {
        args.add("-k", keymap);
    }
    Ok(())
}

fn network(display: &Graphics, input: &Input<'_>) -> Opts {
    let settings = input.settings;
    let auto = display.autoport != Some(false);
    let plain = display.port.filter(|it| *it > 0).or_else(|| {
        let wanted = auto && display.default_mode != Some(SpiceMode::Secure);
        wanted.then_some(5901)
    });
    let encrypted = display.tls_port.filter(|it| *it > 0).or_else(|| {
        let wanted = auto && settings.spice_tls && display.default_mode != Some(SpiceMode::Insecure);
        wanted.then_some(5902)
    });
    let opts = match (plain, encrypted) {
        (Some(plain), encrypted) => Opts::pair("port", plain).maybe("tls-port", encrypted),
        (None, Some(encrypted)) => Opts::pair("tls-port", encrypted),
        (None, None) => Opts::pair("port", 0),
    };
    opts.with("addr", graphics::address(display, &settings.spice_listen))
        .maybe("x509-dir", encrypted.map(|_| settings.spice_tls_x509_cert_dir.display()))
}

/// Which channels have to be encrypted.
fn channels(opts: Opts, display: &Graphics) -> Opts {
    let word = |mode: SpiceMode| match mode {
        SpiceMode::Secure => Some("tls-channel"),
        SpiceMode::Insecure => Some("plaintext-channel"),
        _ => None,
    };
    let opts = match display.default_mode.and_then(word) {
        Some(word) => opts.with(word, "default"),
        None => opts,
    };
    display.channel.iter().fold(opts, |opts, channel| {
        let (Some(name), Some(word)) = (channel.name, channel.mode.and_then(word)) else { return opts };
        opts.with(word, name.as_str())
    })
}
