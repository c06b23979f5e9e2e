//! Block nodes: how QEMU reads and writes what a disk or firmware consists of.
//!
//! Each layer of a chain is a storage node (the protocol), perhaps a slice of it, and a format node; the raw format needs
//! none of its own where QEMU's block jobs can do without. Filters (copy-on-read, throttling) stand on top.
//!
//! ```text
//! device ── throttle ── copy-on-read ── libvirt-1-format ── libvirt-1-storage
//!                                             └ backing ── libvirt-2-format ── …
//! ```
//!
//! Invariant: the topmost node of a layer says `read-only`; those below follow it (`auto-read-only`).

pub(crate) mod disk;
mod drive;
mod frontend;
mod protocol;
pub(super) mod secret;
mod source;
mod throttle;

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        disk::{DetectZeroes, Discard, DiskCache, DiskIo},
        storage::{BackingStore, Encryption, EncryptionEngine, EncryptionFormat, ImageFormat, Source, SourceKind},
    },
};
use serde_json::{Value, json};

pub(crate) use self::disk::Images;
pub(super) use self::{
    disk::disks,
    frontend::{scsi_place, threads},
    throttle::groups,
};
use super::{Args, Input, option::Members};

/// Deepest chain: QEMU opens each layer, and a definition is a client's.
const DEPTH: usize = 200;

/// One image, with what the disk says of all its layers.
#[derive(Clone, Debug)]
pub(super) struct Layer<'a> {
    pub(super) kind: SourceKind,
    pub(super) source: &'a Source,
    pub(super) format: ImageFormat,
    /// What nodes are called: `libvirt-1`, `libvirt-pflash0`.
    pub(super) name: String,
    pub(super) readonly: bool,
    /// Where it stands in the definition.
    pub(super) path: String,
    pub(super) encryption: Option<&'a Encryption>,
    pub(super) auth: Option<&'a polyvirt_core::model::storage::Auth>,
    pub(super) metadata_cache: Option<u64>,
    pub(super) drive: Drive,
    /// A format node even for raw images.
    pub(super) with_format: bool,
}

/// What a disk's `<driver>` says, for every layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drive {
    pub(super) cache: Option<DiskCache>,
    pub(super) io: Option<DiskIo>,
    pub(super) discard: Option<Discard>,
    pub(super) discard_no_unref: Option<bool>,
    pub(super) detect_zeroes: Option<DetectZeroes>,
    pub(super) floppy: bool,
    pub(super) cdrom: bool,
}

/// What is below a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// QEMU finds out from the image.
    Unknown,
    /// Nothing, whatever the image says.
    Nothing,
    /// This node.
    Node(String),
}

/// What the layer under a disk's top is, if the definition says.
pub(super) fn backing_of(store: Option<&BackingStore>) -> Option<Option<&BackingStore>> {
    let store = store?;
    Some((store.kind.is_some() || store.source.is_some()).then_some(store))
}

/// The nodes of an image of a guest that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageNode {
    /// Its number.
    pub(crate) number: u32,
    /// The node that shows its data.
    pub(crate) top: String,
    /// The node that has its bytes.
    pub(crate) storage: String,
}

impl ImageNode {
    fn of(layer: &Layer<'_>, input: &Input<'_>) -> Option<Self> {
        Some(Self { number: layer.source.index?, top: layer.top(input), storage: layer.storage_name() })
    }
}

/// Hands out the numbers of block nodes.
#[derive(Debug, Default)]
pub(super) struct Counter(u32);

impl Counter {
    pub(super) fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }

    /// The number of an image: what stands in a running guest's definition, else the next.
    fn of(&mut self, source: &Source) -> u32 {
        source.index.unwrap_or_else(|| self.next())
    }
}

impl Layer<'_> {
    fn is_raw(&self) -> bool {
        matches!(
            self.format,
            ImageFormat::None | ImageFormat::Raw | ImageFormat::Iso | ImageFormat::Fat | ImageFormat::Dir
        )
    }

    fn engine(&self) -> Option<EncryptionEngine> {
        self.encryption.map(|it| it.engine.unwrap_or(EncryptionEngine::Qemu))
    }

    fn needs_format(&self, input: &Input<'_>) -> bool {
        !self.is_raw()
            || self.with_format
            || self.kind == SourceKind::Dir
            || self.engine() == Some(EncryptionEngine::Qemu)
            || !input.binary.has_path("block-commit/backing-mask-protocol")
    }

    fn slice(&self) -> Option<(u64, u64)> {
        self.source.slices.as_ref()?.slice.first().map(|it| (it.offset, it.size))
    }

    fn storage_name(&self) -> String {
        format!("{}-storage", self.name)
    }

    fn slice_name(&self) -> String {
        format!("{}-slice-sto", self.name)
    }

    /// The node on top of the layer.
    pub(super) fn top(&self, input: &Input<'_>) -> String {
        if self.needs_format(input) {
            format!("{}-format", self.name)
        } else if self.slice().is_some() {
            self.slice_name()
        } else {
            self.storage_name()
        }
    }

    /// Adds the nodes of this layer with what they need.
    pub(super) fn nodes(&self, args: &mut Args, input: &Input<'_>, below: &Below, data: Option<&str>) -> Result<()> {
        let top = self.top(input);
        let protocol = protocol::members(self, args, input, &top)?;
        let storage = self.storage_name();
        args.add("-blockdev", self.finish(protocol, &storage, storage == top).build());
        let mut file = storage;
        if let Some((offset, size)) = self.slice()
            && !(self.needs_format(input) && self.is_raw() && self.encryption.is_none())
        {
            let name = self.slice_name();
            let slice = Members::new("driver", "raw").with("file", file).with("offset", offset).with("size", size);
            args.add("-blockdev", self.finish(slice, &name, name == top).build());
            file = name;
        }
        if self.needs_format(input) {
            let mut format = self.format(args, input, &top)?;
            if self.is_raw()
                && self.encryption.is_none()
                && let Some((offset, size)) = self.slice()
            {
                format = format.with("offset", offset).with("size", size);
            }
            format = format.with("file", file).maybe("data-file", data);
            format = match below {
                Below::Unknown => format,
                Below::Nothing if self.has_backing() => format.with("backing", Value::Null),
                Below::Nothing => format,
                Below::Node(node) => format.with("backing", node.clone()),
            };
            args.add("-blockdev", self.finish(format, &top, true).build());
        }
        Ok(())
    }

    /// Adds the storage node alone, under this name: what a SCSI unit of the host needs.
    pub(super) fn single(&self, args: &mut Args, input: &Input<'_>, name: &str) -> Result<()> {
        let members = protocol::members(self, args, input, name)?;
        args.add("-blockdev", self.finish(members, name, true).build());
        Ok(())
    }

    fn has_backing(&self) -> bool {
        matches!(self.format, ImageFormat::Qcow | ImageFormat::Qcow2 | ImageFormat::Qed | ImageFormat::Vmdk)
    }

    /// Name, access and caching, which every node has.
    fn finish(&self, members: Members, name: &str, is_top: bool) -> Members {
        let drive = &self.drive;
        let members = members.with("node-name", name);
        let members = if is_top {
            members
                .with("read-only", self.readonly)
                .maybe("discard", drive.discard.map(|it| it.as_str()))
                .maybe("detect-zeroes", drive.detect_zeroes().map(|it| it.as_str()))
        } else {
            members.with("auto-read-only", true).with("discard", "unmap")
        };
        members.maybe("cache", drive.cache.and_then(cache))
    }

    fn format(&self, args: &mut Args, input: &Input<'_>, top: &str) -> Result<Members> {
        let by_qemu = self.encryption.filter(|_| self.engine() == Some(EncryptionEngine::Qemu));
        let secret = match by_qemu {
            Some(encryption) => {
                let id = format!("{top}-encryption-secret0");
                let path = format!("{}/encryption", self.path);
                secret::object(args, input, &id, encryption.secret.first(), &path)?;
                Some(id)
            }
            None => None,
        };
        let driver = match self.format {
            _ if self.is_raw() && secret.is_some() => {
                return Ok(Members::new("driver", "luks").maybe("key-secret", secret));
            }
            _ if self.is_raw() => "raw",
            ImageFormat::Vhd => "vpc",
            ImageFormat::Ploop => "parallels",
            other => other.as_str(),
        };
        let scheme = match by_qemu.and_then(|it| it.format) {
            Some(EncryptionFormat::Luks | EncryptionFormat::Default) => "luks",
            Some(EncryptionFormat::Qcow) => "aes",
            Some(other) => other.as_str(),
            None => "luks",
        };
        let qcow2 = self.format == ImageFormat::Qcow2;
        Ok(Members::new("driver", driver)
            .maybe("encrypt", secret.map(|it| json!({"format": scheme, "key-secret": it})))
            .maybe("discard-no-unref", self.drive.discard_no_unref.filter(|_| qcow2))
            .maybe("cache-size", self.metadata_cache.filter(|_| qcow2)))
    }
}

impl Drive {
    /// Zeroes become holes only where holes may be made.
    fn detect_zeroes(&self) -> Option<DetectZeroes> {
        match self.detect_zeroes? {
            DetectZeroes::Unmap if self.discard != Some(Discard::Unmap) => Some(DetectZeroes::On),
            other => Some(other),
        }
    }
}

/// Cache modes are two switches of the nodes and one of the device (see [`write_cache`]).
fn cache(mode: DiskCache) -> Option<Value> {
    let (direct, no_flush) = match mode {
        DiskCache::None | DiskCache::DirectSync => (true, false),
        DiskCache::Unsafe => (false, true),
        DiskCache::Writethrough | DiskCache::Writeback => (false, false),
        _ => return None,
    };
    Some(json!({"direct": direct, "no-flush": no_flush}))
}

/// Whether the guest sees a cache that it has to flush.
pub(super) fn write_cache(mode: Option<DiskCache>) -> Option<&'static str> {
    match mode? {
        DiskCache::DirectSync | DiskCache::Writethrough => Some("off"),
        DiskCache::None | DiskCache::Writeback | DiskCache::Unsafe => Some("on"),
        _ => None,
    }
}

/// Adds the nodes of a chain, deepest first; returns the name of the topmost. `numbers` are those of its layers and their
/// data files, from the top; what is shared is there already.
pub(super) fn chain(
    args: &mut Args,
    input: &Input<'_>,
    top: &Layer<'_>,
    store: Option<&BackingStore>,
    counter: &mut Counter,
    shared: &[ImageNode],
) -> Result<String> {
    let mut layers = vec![(top.clone(), data_file(top, counter))];
    let mut next = backing_of(store);
    let mut below = match next {
        Some(None) => Below::Nothing,
        _ => Below::Unknown,
    };
    let mut path = format!("{}/backingStore", top.path);
    while let Some(Some(store)) = next {
        if layers.len() > DEPTH {
            let problem = format!("a chain of more than {DEPTH} images cannot be had; commit some of them");
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", &top.path));
        }
        let Some(source) = store.source.as_ref() else { break };
        let layer = backing_layer(top, store, source, counter, &path);
        let data = data_file(&layer, counter);
        layers.push((layer, data));
        next = backing_of(store.backing_store.as_deref());
        below = if next == Some(None) { Below::Nothing } else { Below::Unknown };
        path.push_str("/backingStore");
    }
    let mut name = String::new();
    for (layer, data) in layers.iter().rev() {
        name = layer.top(input);
        if shared.iter().any(|it| it.top == name) {
            below = Below::Node(name.clone());
            continue;
        }
        let file = data.as_ref().map(|it| it.top(input));
        if let Some(data) = data {
            data.nodes(args, input, &Below::Unknown, None)?;
        }
        layer.nodes(args, input, &below, file.as_deref())?;
        below = Below::Node(name.clone());
    }
    Ok(name)
}

fn backing_layer<'a>(
    top: &Layer<'a>,
    store: &'a BackingStore,
    source: &'a Source,
    counter: &mut Counter,
    path: &str,
) -> Layer<'a> {
    let format = store.format.as_ref();
    Layer {
        kind: store.kind.unwrap_or(SourceKind::File),
        source,
        format: format.and_then(|it| it.kind).unwrap_or(ImageFormat::Raw),
        name: format!("libvirt-{}", counter.of(source)),
        readonly: true,
        path: path.to_owned(),
        encryption: source.encryption.as_ref(),
        auth: source.auth.as_ref(),
        metadata_cache: format.and_then(|it| it.metadata_cache.as_ref()).and_then(|it| it.max_size),
        drive: Drive { detect_zeroes: None, discard_no_unref: None, ..top.drive },
        with_format: false,
    }
}

/// Where a qcow2 image keeps its guest data, if not in itself.
fn data_file<'a>(layer: &Layer<'a>, counter: &mut Counter) -> Option<Layer<'a>> {
    let store = layer.source.data_store.as_ref()?;
    let source = store.source.as_ref()?;
    let format = store.format.as_ref();
    Some(Layer {
        kind: store.kind.unwrap_or(SourceKind::File),
        source,
        format: format.and_then(|it| it.kind).unwrap_or(ImageFormat::Raw),
        name: format!("libvirt-{}", counter.of(source)),
        readonly: layer.readonly,
        path: format!("{}/source/dataStore", layer.path),
        encryption: source.encryption.as_ref(),
        auth: source.auth.as_ref(),
        metadata_cache: None,
        drive: Drive { detect_zeroes: None, discard_no_unref: None, ..layer.drive },
        with_format: false,
    })
}
