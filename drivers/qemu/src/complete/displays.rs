//! `<graphics>`: where servers listen that say nothing, or whose sockets were made by an earlier run.

use polyvirt_core::model::{
    DomainConfig,
    display::{Graphics, GraphicsKind, Listen, ListenType},
};

use crate::config::Config;

pub(super) fn complete(config: &mut DomainConfig, settings: &Config) {
    for graphics in &mut config.devices.graphics {
        // Without a port nobody can connect but through the guest's own descriptors.
        let ports = graphics.port.is_some() || graphics.tls_port.is_some() || graphics.autoport == Some(true);
        let first = graphics.listens.first().and_then(|it| it.kind);
        let somewhere = matches!(first, Some(ListenType::Address | ListenType::Network));
        if graphics.kind == Some(GraphicsKind::Spice) && !ports && somewhere && !settings.spice_auto_unix_socket {
            graphics.listens = vec![Listen::default().with_kind(ListenType::None)];
            graphics.listen = None;
            graphics.autoport = None;
        }
    }
}

/// Forgets sockets that an earlier run made.
pub(super) fn forget_made(config: &mut DomainConfig, settings: &Config) {
    for graphics in config.devices.graphics.iter_mut().filter(|it| it.kind == Some(GraphicsKind::Vnc)) {
        forget_made_socket(graphics, settings);
    }
}

/// A socket in the guests' folders is of a guest that ran; the next run makes another.
fn forget_made_socket(graphics: &mut Graphics, settings: &Config) {
    let ours = |path: &String| std::path::Path::new(path).starts_with(&settings.lib_dir);
    if graphics.socket.as_ref().is_some_and(ours) && !settings.vnc_auto_unix_socket {
        graphics.socket = None;
        graphics.listens = vec![Listen::default().with_kind(ListenType::Address)];
        graphics.autoport = Some(true);
        graphics.port = Some(-1);
    }
}
