//! Folders of the host: 9p, which QEMU serves, and virtiofs, which a process of its own serves.

use std::path::PathBuf;

use polyvirt_core::model::filesystem::{AccessMode, Filesystem, FilesystemDriverType, Multidevs};

use super::{
    Args, Folders, Input, alias,
    option::{Members, Opts},
    place,
};

pub(super) fn filesystems(args: &mut Args, input: &Input<'_>) {
    for folder in &input.config.devices.filesystems {
        let virtiofs = folder.driver.as_ref().and_then(|it| it.kind) == Some(FilesystemDriverType::Virtiofs);
        let members = if virtiofs { self::virtiofs(args, input, folder) } else { plan9(args, input, folder) };
        let members = place::virtio_options(members, folder.driver.as_ref().map(|it| &it.virtio));
        let boot = folder.info.boot.as_ref().and_then(|it| it.order);
        args.device(input, &folder.info, place::boot(members, &folder.info, boot, input));
    }
}

fn tag(folder: &Filesystem) -> &str {
    folder.target.as_ref().map_or("", |it| it.dir.as_str())
}

/// Where virtiofsd listens that is started for a folder.
pub(crate) fn socket(folder: &Filesystem, folders: &Folders) -> PathBuf {
    folders.run.join(format!("{}-fs.sock", alias::of(&folder.info)))
}

fn virtiofs(args: &mut Args, input: &Input<'_>, folder: &Filesystem) -> Members {
    let name = alias::of(&folder.info);
    let own = folder.source.as_ref().and_then(|it| it.socket.clone());
    let socket = own.unwrap_or_else(|| socket(folder, input.folders).to_string_lossy().into_owned());
    let chardev = format!("chr-vu-{name}");
    args.add("-chardev", Opts::new("socket").with("id", &chardev).with("path", socket).build());
    Members::new("driver", place::virtio("vhost-user-fs", &folder.info, None, input))
        .with("id", name)
        .with("chardev", chardev)
        .maybe("queue-size", folder.driver.as_ref().and_then(|it| it.queue))
        .with("tag", tag(folder))
}

fn plan9(args: &mut Args, input: &Input<'_>, folder: &Filesystem) -> Members {
    let name = alias::of(&folder.info);
    let about = folder.driver.as_ref();
    let handle = about.and_then(|it| it.kind) == Some(FilesystemDriverType::Handle);
    let model = match folder.accessmode {
        Some(AccessMode::Mapped) => "mapped",
        Some(AccessMode::Squash) => "none",
        _ => "passthrough",
    };
    let mode = |it: Option<u32>| it.map(|it| format!("{it:04o}"));
    let multidevs = folder.multidevs.filter(|it| *it != Multidevs::Default).map(|it| it.as_str());
    let id = format!("fsdev-{name}");
    let opts = Opts::new(if handle { "handle" } else { "local" })
        .maybe("security_model", (!handle).then_some(model))
        .maybe("multidevs", multidevs)
        .maybe("fmode", mode(folder.fmode))
        .maybe("dmode", mode(folder.dmode))
        .maybe("writeout", about.and_then(|it| it.wrpolicy).map(|it| it.as_str()))
        .with("id", &id)
        .with("path", folder.source.as_ref().and_then(|it| it.dir.as_deref()).unwrap_or_default());
    let opts = if folder.readonly { opts.switch("readonly", true) } else { opts };
    args.add("-fsdev", opts.build());
    Members::new("driver", place::virtio("virtio-9p", &folder.info, folder.model, input))
        .with("id", name)
        .with("fsdev", id)
        .with("mount_tag", tag(folder))
}
