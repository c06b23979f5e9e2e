//! Video cards. The first is the one that firmware shows itself on, where the board has VGA.

use polyvirt_core::model::display::{Video, VideoBackend, VideoModel, VideoType};

use super::{
    Args, Input, SHOWN_DESCRIPTOR, alias,
    option::{Members, Opts},
    place,
};

pub(super) fn videos(args: &mut Args, input: &Input<'_>) {
    for (at, video) in input.config.devices.videos.iter().enumerate() {
        let Some(model) = &video.model else { continue };
        let primary = model.primary.unwrap_or(at == 0);
        let Some(driver) = driver(video, model, primary, input) else { continue };
        let name = alias::of(&video.info);
        let mut members = Members::new("driver", driver.clone()).with("id", name);
        if is_vhost_user(video) {
            let chardev = format!("chr-vu-{name}");
            args.add("-chardev", Opts::new("socket").with("id", &chardev).with("fd", SHOWN_DESCRIPTOR).build());
            members = members.maybe("max_outputs", model.heads).with("chardev", chardev);
        } else {
            members = memory(members, model, input);
        }
        if matches!(model.kind, Some(VideoType::Vga | VideoType::Qxl | VideoType::Virtio | VideoType::Bochs)) {
            let resolution = model.resolution.as_ref();
            members = members.maybe("xres", resolution.map(|it| it.x)).maybe("yres", resolution.map(|it| it.y));
        }
        // The VGA variants are not virtio functions alone, and do not take them.
        if model.kind == Some(VideoType::Virtio) && !driver.contains("vga") {
            members = place::virtio_options(members, video.driver.as_ref().map(|it| &it.virtio));
        }
        args.device(input, &video.info, members);
    }
}

fn is_vhost_user(video: &Video) -> bool {
    video.driver.as_ref().and_then(|it| it.name) == Some(VideoBackend::VhostUser)
}

/// The device; `None` for a guest without one.
fn driver(video: &Video, model: &VideoModel, primary: bool, input: &Input<'_>) -> Option<String> {
    let kind = match model.kind? {
        VideoType::Vga => "VGA",
        VideoType::Cirrus => "cirrus-vga",
        VideoType::Vmvga => "vmware-svga",
        VideoType::Qxl if primary => "qxl-vga",
        VideoType::Qxl => "qxl",
        VideoType::Bochs => "bochs-display",
        VideoType::Ramfb => "ramfb",
        VideoType::Virtio => return Some(virtio(video, model, primary, input)),
        _ => return None,
    };
    Some(kind.into())
}

fn virtio(video: &Video, model: &VideoModel, primary: bool, input: &Input<'_>) -> String {
    let with_vga = primary
        && input.binary.has_type("virtio-vga")
        && !matches!(input.binary.arch.as_str(), "s390x" | "aarch64" | "arm");
    if is_vhost_user(video) {
        return if with_vga {
            "vhost-user-vga".into()
        } else {
            place::virtio("vhost-user-gpu", &video.info, None, input)
        };
    }
    let wants_gl = model.acceleration.as_ref().and_then(|it| it.accel3d) == Some(true);
    if with_vga {
        let gl = wants_gl && input.binary.has_type("virtio-vga-gl");
        return if gl { "virtio-vga-gl".into() } else { "virtio-vga".into() };
    }
    let gl = wants_gl && input.binary.has_type("virtio-gpu-gl-device");
    place::virtio(if gl { "virtio-gpu-gl" } else { "virtio-gpu" }, &video.info, None, input)
}

/// Sizes: KiB in a definition, bytes or MiB in QEMU.
fn memory(members: Members, model: &VideoModel, input: &Input<'_>) -> Members {
    let bytes = |it: Option<u32>| it.map(|it| u64::from(it) * 1024);
    let mib = |it: Option<u32>| it.map(|it| it / 1024);
    match model.kind {
        Some(VideoType::Qxl) => members
            .maybe("max_outputs", model.heads.filter(|it| *it > 0))
            .maybe("ram_size", bytes(model.ram))
            .maybe("vram_size", bytes(model.vram))
            .maybe("vram64_size_mb", Some(mib(model.vram64).unwrap_or(0)))
            .maybe("vgamem_mb", mib(model.vgamem)),
        Some(VideoType::Virtio) => {
            let virgl = model.acceleration.as_ref().and_then(|it| it.accel3d);
            // Since QEMU 6.1 that is a device of its own, which may not be installed.
            let split =
                !input.binary.has_property("virtio-gpu-pci", "virgl") || input.binary.has_type("virtio-gpu-gl-device");
            members
                .maybe("max_outputs", model.heads.filter(|it| *it > 0))
                .maybe("virgl", virgl.filter(|_| !split).map(super::option::on_off))
                // What is off by itself is not said.
                .maybe("blob", model.blob.filter(|it| *it))
                .maybe("edid", model.edid)
        }
        Some(VideoType::Vga) => members.maybe("vgamem_mb", mib(model.vram)).maybe("edid", model.edid),
        Some(VideoType::Vmvga) => members.maybe("vgamem_mb", mib(model.vram)),
        Some(VideoType::Bochs) => members.maybe("vgamem", bytes(model.vram)).maybe("edid", model.edid),
        _ => members,
    }
}
