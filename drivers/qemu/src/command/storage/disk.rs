//! Disks: a chain of block nodes and the device on top.

use polyvirt_core::{
    Result,
    model::{
        DomainConfig,
        address::Address,
        disk::{Disk, DiskBus, DiskCache, DiskDevice},
        os::BootDeviceKind,
        storage::{ImageFormat, MirrorJob, Source, SourceKind},
    },
};

use super::{
    super::{Args, Input, boot::BootOrder, option::Members},
    Counter, Drive, ImageNode, Layer, chain, data_file, drive, frontend, throttle,
};

/// What the host's file or device is called; `None` for an empty drive and for what is not on this host.
pub(crate) fn path(disk: &Disk) -> Option<&str> {
    let source = disk.source.as_ref()?;
    source.file.as_deref().or(source.dev.as_deref()).filter(|it| !it.is_empty())
}

/// The bus, as completion wrote it.
pub(crate) fn disk_bus(disk: &Disk) -> DiskBus {
    disk.target.as_ref().and_then(|it| it.bus).unwrap_or(DiskBus::Virtio)
}

pub(crate) fn device_kind(disk: &Disk) -> DiskDevice {
    disk.device.unwrap_or(DiskDevice::Disk)
}

/// Whether something is in the drive.
pub(crate) fn is_full(disk: &Disk) -> bool {
    disk.source.as_ref().is_some_and(|it| *it != polyvirt_core::model::storage::Source::default())
}

/// Whether the guest can only read it.
pub(crate) fn is_readonly(disk: &Disk) -> bool {
    disk.readonly || device_kind(disk) == DiskDevice::Cdrom
}

/// The place on the bus: `(controller, bus, target, unit)`, from the address or else from the name (`sdb` is the second).
pub(crate) fn place(disk: &Disk) -> (u32, u32, u32, u64) {
    if let Some(Address::Drive(at)) = &disk.info.address {
        return (at.controller.unwrap_or(0), at.bus.unwrap_or(0), at.target.unwrap_or(0), at.unit.unwrap_or(0));
    }
    let number = disk.target.as_ref().and_then(|it| number(&it.dev)).unwrap_or(0);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    match disk_bus(disk) {
        DiskBus::Ide => (small(number / 4), small(number / 2 % 2), 0, number % 2),
        DiskBus::Sata => (small(number / 6), 0, 0, number % 6),
        DiskBus::Scsi => (small(number / 7), 0, 0, number % 7),
        _ => (0, 0, 0, number),
    }
}

/// The number of a disk's name: `vda` is 0, `vdz` 25, `vdaa` 26.
pub(crate) fn number(dev: &str) -> Option<u64> {
    let letters = ["vd", "sd", "hd", "fd"].iter().find_map(|it| dev.strip_prefix(it))?;
    let letters = letters.trim_end_matches(|it: char| it.is_ascii_digit());
    if letters.is_empty() || letters.len() > 4 || !letters.bytes().all(|it| it.is_ascii_lowercase()) {
        return None;
    }
    Some(letters.bytes().fold(0, |number, letter| number * 26 + u64::from(letter - b'a') + 1) - 1)
}

/// Adds all disks.
pub(in super::super) fn disks(
    args: &mut Args,
    input: &Input<'_>,
    order: &mut BootOrder,
    counter: &mut Counter,
) -> Result<()> {
    // Who is last in the definition has the lowest numbers.
    let mut starts = Vec::new();
    for disk in input.config.devices.disks.iter().rev() {
        starts.push(counter.0);
        advance(disk, counter);
    }
    for (at, disk) in input.config.devices.disks.iter().enumerate() {
        let mut counter = Counter(starts.pop().unwrap_or_default());
        let path = format!("/domain/devices/disk[{}]", at + 1);
        let kind = match device_kind(disk) {
            DiskDevice::Cdrom => BootDeviceKind::Cdrom,
            DiskDevice::Floppy => BootDeviceKind::Fd,
            _ => BootDeviceKind::Hd,
        };
        let boot = order.take(kind, disk.info.boot.as_ref().and_then(|it| it.order));
        match disk_bus(disk) {
            _ if is_late(disk) => {}
            DiskBus::Sd => drive::add(args, input, disk, &path)?,
            _ if disk.kind == Some(SourceKind::VhostUser) => {
                let device = frontend::vhost_user(args, input, disk, &path)?;
                args.device(input, &disk.info, super::super::place::boot(device, &disk.info, boot, input));
            }
            DiskBus::Fdc => {
                let node = nodes(args, input, disk, &path, &mut counter)?;
                frontend::floppy(args, disk, node, boot);
            }
            _ => {
                let node = nodes(args, input, disk, &path, &mut counter)?;
                let device = frontend::device(input, disk, &path)?.maybe("drive", node);
                args.device(input, &disk.info, super::super::place::boot(device, &disk.info, boot, input));
            }
        }
    }
    Ok(())
}

/// Whether it is plugged in after the start, above an image that it shares until then.
fn is_late(disk: &Disk) -> bool {
    disk.transient.as_ref().is_some_and(|it| it.share_backing == Some(true))
}

/// The highest number of an image of a guest that runs.
pub(crate) fn last_image(config: &DomainConfig) -> u32 {
    let mut taken = Vec::new();
    for disk in &mut config.devices.disks.clone() {
        images(disk, &mut |image| taken.extend(image.index));
    }
    taken.into_iter().max().unwrap_or(0)
}

/// Writes the number of each image into the definition, by which its block nodes are known as long as the guest runs. Who has
/// one keeps it; those of others are above `last`.
pub(crate) fn number_images(config: &mut DomainConfig, last: u32) {
    let mut next = last.max(last_image(config));
    for disk in config.devices.disks.iter_mut().rev() {
        images(disk, &mut |image| {
            next += u32::from(image.index.is_none());
            image.index.get_or_insert(next);
        });
        // Programs look for those of backing images beside their type.
        let mut below = disk.backing_store.as_deref_mut();
        while let Some(store) = below {
            store.index = store.source.as_ref().and_then(|it| it.index);
            below = store.backing_store.as_deref_mut();
        }
    }
}

/// Shows every image of a disk, from the top.
fn images(disk: &mut Disk, visit: &mut dyn FnMut(&mut Source)) {
    if is_empty(disk) {
        return;
    }
    let mut next = disk.source.as_mut().map(|it| (it, disk.backing_store.as_deref_mut()));
    while let Some((source, below)) = next {
        visit(source);
        if let Some(data) = source.data_store.as_mut().and_then(|it| it.source.as_mut()) {
            visit(data);
        }
        next = below.and_then(|it| Some((it.source.as_mut()?, it.backing_store.as_deref_mut())));
    }
    let Some(mirror) = disk.mirror.as_mut().filter(|it| it.job != Some(MirrorJob::ActiveCommit)) else { return };
    let mut next = mirror.source.as_mut().map(|it| (it, mirror.backing_store.as_deref_mut()));
    while let Some((source, below)) = next {
        visit(source);
        next = below.and_then(|it| Some((it.source.as_mut()?, it.backing_store.as_deref_mut())));
    }
}

/// Counts what [`nodes`] will count.
fn advance(disk: &Disk, counter: &mut Counter) {
    let Some(layer) = top(disk, String::new(), counter) else {
        // An empty drive has a number for what will be put into it.
        counter.next();
        return;
    };
    data_file(&layer, counter);
    let mut next = super::backing_of(disk.backing_store.as_deref());
    while let Some(Some(store)) = next {
        let Some(source) = store.source.as_ref() else { break };
        counter.of(source);
        if let Some(data) = source.data_store.as_ref().and_then(|it| it.source.as_ref()) {
            counter.of(data);
        }
        next = super::backing_of(store.backing_store.as_deref());
    }
    throttle::names(disk, counter);
}

/// The topmost image; `None` for an empty drive.
pub(super) fn top<'a>(disk: &'a Disk, path: String, counter: &mut Counter) -> Option<Layer<'a>> {
    let source = disk.source.as_ref().filter(|_| !is_empty(disk))?;
    let about = disk.driver.as_ref();
    Some(Layer {
        kind: disk.kind.unwrap_or(SourceKind::File),
        source,
        format: about.and_then(|it| it.kind).unwrap_or(ImageFormat::Raw),
        name: format!("libvirt-{}", counter.of(source)),
        readonly: is_readonly(disk),
        path,
        encryption: source.encryption.as_ref().or(disk.encryption.as_ref()),
        auth: source.auth.as_ref().or(disk.auth.as_ref()),
        metadata_cache: about.and_then(|it| it.metadata_cache.as_ref()).and_then(|it| it.max_size),
        drive: Drive {
            cache: cache_mode(disk),
            io: about.and_then(|it| it.io),
            discard: about.and_then(|it| it.discard),
            discard_no_unref: about.and_then(|it| it.discard_no_unref),
            detect_zeroes: about.and_then(|it| it.detect_zeroes),
            floppy: device_kind(disk) == DiskDevice::Floppy,
            cdrom: device_kind(disk) == DiskDevice::Cdrom,
        },
        with_format: false,
    })
}

/// How the host caches it. What several guests write is not cached for any of them.
pub(super) fn cache_mode(disk: &Disk) -> Option<DiskCache> {
    let given = disk.driver.as_ref().and_then(|it| it.cache).filter(|it| *it != DiskCache::Default);
    given.or_else(|| (disk.shareable && !is_readonly(disk)).then_some(DiskCache::None))
}

fn is_empty(disk: &Disk) -> bool {
    let Some(source) = &disk.source else { return true };
    match disk.kind.unwrap_or(SourceKind::File) {
        SourceKind::File => source.file.as_deref().unwrap_or_default().is_empty(),
        SourceKind::Block => source.dev.as_deref().unwrap_or_default().is_empty(),
        SourceKind::Dir => source.dir.as_deref().unwrap_or_default().is_empty(),
        SourceKind::Network => source.protocol.is_none(),
        _ => false,
    }
}

/// The other image of a block job, unless it is one of the disk's own: those of a guest that runs have numbers.
fn mirror<'a>(disk: &'a Disk, path: &str) -> Option<Layer<'a>> {
    let mirror = disk.mirror.as_ref().filter(|it| it.job != Some(MirrorJob::ActiveCommit))?;
    let source = mirror.source.as_ref().filter(|it| it.index.is_some())?;
    let layer = top(disk, format!("{path}/mirror"), &mut Counter::default())?;
    Some(Layer {
        kind: mirror.kind.unwrap_or(SourceKind::File),
        source,
        format: mirror.format.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw),
        name: format!("libvirt-{}", source.index.unwrap_or_default()),
        readonly: false,
        encryption: source.encryption.as_ref(),
        auth: source.auth.as_ref(),
        metadata_cache: None,
        ..layer
    })
}

/// The images of a disk of a guest that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Images {
    /// From the top.
    pub(crate) chain: Vec<ImageNode>,
    /// The other one of a copy.
    pub(crate) mirror: Option<ImageNode>,
    /// Whether filters stand between the images and the device.
    pub(crate) filtered: bool,
}

/// The nodes of a disk's images; `None` for an empty drive, and for one of a guest that does not run.
pub(crate) fn images_of(input: &Input<'_>, disk: &Disk) -> Option<Images> {
    let top = top(disk, String::new(), &mut Counter::default())?;
    let mut chain = vec![ImageNode::of(&top, input)?];
    let mut next = super::backing_of(disk.backing_store.as_deref());
    while let Some(Some(store)) = next {
        let Some(source) = store.source.as_ref() else { break };
        let layer = super::backing_layer(&top, store, source, &mut Counter::default(), "");
        chain.push(ImageNode::of(&layer, input)?);
        next = super::backing_of(store.backing_store.as_deref());
    }
    let filtered =
        disk.throttlefilters.is_some() || disk.driver.as_ref().is_some_and(|it| it.copy_on_read == Some(true));
    Some(Images { chain, mirror: mirror(disk, "").and_then(|it| ImageNode::of(&it, input)), filtered })
}

/// Adds the nodes of a disk; returns the one that its device uses.
fn nodes(args: &mut Args, input: &Input<'_>, disk: &Disk, path: &str, counter: &mut Counter) -> Result<Option<String>> {
    let Some(layer) = top(disk, path.to_owned(), counter) else { return Ok(None) };
    let mut node = chain(args, input, &layer, disk.backing_store.as_deref(), counter, &[])?;
    if let Some(mirror) = mirror(disk, path) {
        let shared = images_of(input, disk).map(|it| it.chain).unwrap_or_default();
        let below = disk.mirror.as_ref().and_then(|it| it.backing_store.as_deref());
        chain(args, input, &mirror, below, &mut Counter::default(), &shared)?;
    }
    let filters = throttle::names(disk, counter);
    if disk.driver.as_ref().and_then(|it| it.copy_on_read) == Some(true) {
        let name = format!("libvirt-CoR-{}", disk.target.as_ref().map_or("", |it| it.dev.as_str()));
        let filter = Members::new("driver", "copy-on-read")
            .with("node-name", name.clone())
            .with("file", node)
            .with("discard", "unmap");
        args.add("-blockdev", filter.build());
        node = name;
    }
    Ok(Some(throttle::filters(args, disk, &filters, node)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    #[test]
    fn images_have_the_numbers_of_their_nodes_and_keep_them() {
        let text = "<domain type='qemu'><name>a</name><devices>\
            <disk type='file'><source file='/a'/><backingStore type='file'><format type='raw'/><source file='/b'/></backingStore>\
            <target dev='vda'/></disk><disk type='file' device='cdrom'><target dev='sda'/></disk>\
            <disk type='file'><source file='/c'/><target dev='vdb'/></disk></devices></domain>";
        let mut config = DomainConfig::parse(text, &ParseOptions::default()).unwrap().config;
        let numbers = |config: &mut DomainConfig| {
            let mut all = Vec::new();
            config.devices.disks.iter_mut().for_each(|disk| images(disk, &mut |it| all.push(it.index)));
            all
        };
        number_images(&mut config, 0);
        assert_eq!(numbers(&mut config), [Some(2), Some(3), Some(1)]);
        config.devices.disks.remove(2);
        config.devices.disks[1].source = Some(Source::default());
        config.devices.disks[1].source.as_mut().unwrap().file = Some("/d".into());
        number_images(&mut config, 0);
        assert_eq!(numbers(&mut config), [Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn names_are_numbers() {
        for (dev, expected) in [
            ("vda", Some(0)),
            ("sdz", Some(25)),
            ("vdaa", Some(26)),
            ("vdab1", Some(27)),
            ("vd", None),
            ("vd1", None),
            ("vdA", None),
            ("v", None),
            ("vdzzzzz", None),
            ("üda", None),
            ("disk", None),
        ] {
            assert_eq!(number(dev), expected, "{dev}");
        }
    }
}
