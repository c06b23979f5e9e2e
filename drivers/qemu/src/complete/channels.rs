//! Character devices: sockets that an earlier run made are forgotten, so that the next one makes its own, and what has no
//! meaning behind a device is not kept.

use std::path::Path;

use polyvirt_core::model::{
    DomainConfig,
    chardev::{ChannelTargetType, CharBackend, CharEndpoint},
};

use crate::config::Config;

/// The D-Bus channel of redirected USB devices (QEMU, *D-Bus display*).
const REDIRECTION: &str = "org.qemu.usbredir";

/// Below the guests' folder, where sockets of channels used to be.
const OLD_FOLDER: &str = "channel/target";

pub(super) fn complete(config: &mut DomainConfig) {
    let devices = &mut config.devices;
    let serials = devices.serials.iter_mut().map(|it| (it.kind, &mut it.backend));
    let parallels = devices.parallels.iter_mut().map(|it| (it.kind, &mut it.backend));
    let consoles = devices.consoles.iter_mut().map(|it| (it.kind, &mut it.backend));
    let redirected = devices.redirdevs.iter_mut().map(|it| (it.kind, &mut it.backend));
    let random = devices.rngs.iter_mut().filter_map(|it| it.backend.as_mut());
    let random = random.map(|it| (it.kind, &mut it.source));
    for (kind, source) in serials.chain(parallels).chain(consoles).chain(redirected).chain(random) {
        if kind != Some(CharBackend::Tcp) {
            source.protocol = None;
        }
    }
    for device in devices.redirdevs.iter_mut().filter(|it| it.kind == Some(CharBackend::Dbus)) {
        if device.backend.source.is_empty() {
            device.backend.source.push(CharEndpoint::default());
        }
        device.backend.source[0].channel.get_or_insert_with(|| REDIRECTION.to_owned());
    }
}

/// Forgets sockets that an earlier run made.
pub(super) fn forget_made(config: &mut DomainConfig, settings: &Config) {
    for channel in &mut config.devices.channels {
        let virtio = channel.target.as_ref().and_then(|it| it.kind) == Some(ChannelTargetType::Virtio);
        if !virtio || channel.kind != Some(CharBackend::Unix) {
            continue;
        }
        let made = |endpoint: &CharEndpoint| {
            let path = endpoint.path.as_deref().map(Path::new);
            let folders = [settings.channel_target_dir.clone(), settings.lib_dir.join(OLD_FOLDER)];
            path.is_some_and(|path| folders.iter().any(|folder| path.starts_with(folder)))
        };
        for endpoint in channel.backend.source.iter_mut().filter(|it| made(it)) {
            endpoint.path = None;
            endpoint.mode = None;
        }
        channel.backend.source.retain(|it| *it != CharEndpoint::default());
    }
}
