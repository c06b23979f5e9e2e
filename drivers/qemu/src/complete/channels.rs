//! `<channel>`: sockets that an earlier run made are forgotten, so that the next one makes its own.

use std::path::Path;

use polyvirt_core::model::{
    DomainConfig,
    chardev::{ChannelTargetType, CharBackend, CharEndpoint},
};

use crate::config::Config;

/// Below the guests' folder, where sockets of channels used to be.
const OLD_FOLDER: &str = "channel/target";

pub(super) fn complete(config: &mut DomainConfig, settings: &Config) {
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
