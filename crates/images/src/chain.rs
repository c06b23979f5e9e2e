//! Chains, followed from image to image on this host.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        disk::Disk,
        storage::{BackingStore, DataStore, Format, ImageFormat, Source, SourceKind},
    },
};

use crate::{
    header::{HEAD_LIMIT, Header, HeaderError},
    name::BackingName,
    sniff::{LOOKED_AT, sniff},
};

/// The most images of a chain, as many as QEMU can be told of.
pub const DEPTH: usize = 200;

/// What is read of an image before its header says that it needs more.
const FIRST: usize = 64 << 10;

/// Writes into a disk what its images are based on, as far as the definition does not say so itself.
///
/// A `<backingStore>` that is there is taken as written; one without a source ends the chain. Where the definition says nothing more, the
/// images are asked. What is not on this host ends the search: whoever opens it finds out. So does a topmost image that cannot be
/// read; the start says why.
///
/// Blocks: it opens the files.
///
/// # Errors
/// `NotFound`, `Denied` and `Storage` for a backing image that is missing or cannot be read; `InvalidConfig` for a chain that loops, is
/// deeper than [`DEPTH`], has a broken header, or does not say in which format a backing image is that is not raw; `Unsupported` for one
/// on a server of a kind that is not followed. Each names the image and the one that refers to it.
pub fn complete(disk: &mut Disk) -> Result<()> {
    let kind = disk.kind.unwrap_or(SourceKind::File);
    let format = disk.driver.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
    let Some(source) = disk.source.as_mut() else { return Ok(()) };
    let mut chain = Chain::default();
    let mut here = Some(Layer { path: local(kind, source), format, is_top: true });
    if let Some(layer) = &here {
        chain.enter(layer)?;
        data_store(layer, source)?;
    }
    let mut below = &mut disk.backing_store;
    loop {
        if below.is_none() {
            let Some(layer) = here.take() else { return Ok(()) };
            *below = chain.next(&layer)?.map(Box::new);
        }
        let Some(store) = below else { return Ok(()) };
        if store.kind.is_none() && store.source.is_none() {
            return Ok(());
        }
        // What is written there.
        let format = store.format.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
        let kind = store.kind.unwrap_or(SourceKind::File);
        let path = store.source.as_ref().and_then(|it| local(kind, it));
        let layer = Layer { path, format, is_top: false };
        chain.enter(&layer)?;
        if let Some(source) = store.source.as_mut() {
            data_store(&layer, source)?;
        }
        here = Some(layer);
        below = &mut store.backing_store;
    }
}

/// Where an image is on this host.
fn local(kind: SourceKind, source: &Source) -> Option<PathBuf> {
    let path = match kind {
        SourceKind::File => source.file.as_deref(),
        SourceKind::Block => source.dev.as_deref(),
        _ => None,
    };
    path.filter(|it| !it.is_empty()).map(PathBuf::from)
}

/// An image of a chain.
struct Layer {
    /// `None` if it is not on this host.
    path: Option<PathBuf>,
    format: ImageFormat,
    is_top: bool,
}

/// The images so far.
#[derive(Default)]
struct Chain {
    seen: HashSet<(u64, u64)>,
    depth: usize,
    last: PathBuf,
}

impl Chain {
    /// Adds an image.
    fn enter(&mut self, layer: &Layer) -> Result<()> {
        self.depth += 1;
        let by = std::mem::take(&mut self.last);
        if self.depth > DEPTH {
            let message =
                format!("a chain of more than {DEPTH} images cannot be had: {} is one too deep", by.display());
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("commit some of them into the images below, with `qemu-img commit`"));
        }
        let Some(path) = &layer.path else { return Ok(()) };
        self.last.clone_from(path);
        let about = match std::fs::metadata(path) {
            Ok(about) => about,
            // The start looks at it with better words.
            Err(_) if layer.is_top => return Ok(()),
            Err(error) => return Err(unusable(path, &by, layer.format, error)),
        };
        let identity = match about.file_type() {
            it if it.is_block_device() => (u64::MAX, about.rdev()),
            it if it.is_file() => (about.dev(), about.ino()),
            _ if layer.is_top => return Ok(()),
            _ => {
                let message = format!(
                    "{}, which {} is based on, is neither a file nor a block device",
                    path.display(),
                    by.display()
                );
                return Err(Error::new(ErrorKind::InvalidConfig, message).hint(rebase(&by, layer.format)));
            }
        };
        if !self.seen.insert(identity) {
            let message = format!(
                "the chain of images loops: {} is based on {}, which is above it",
                by.display(),
                path.display()
            );
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .with("image", path.display())
                .with("referred to by", by.display())
                .hint(rebase(&by, layer.format)));
        }
        Ok(())
    }

    /// What an image says it is based on; `None` if that cannot be known here.
    fn next(&self, layer: &Layer) -> Result<Option<BackingStore>> {
        let Some(path) = &layer.path else { return Ok(None) };
        let Some(header) = header(layer, path)? else {
            return Ok(None);
        };
        let Some(name) = header.backing else { return Ok(Some(BackingStore::default())) };
        let failed = |error: Error| error.with("image", &name).with("referred to by", path.display());
        let found = BackingName::parse(&name, path).map_err(|error| {
            let message = format!("what {} is based on cannot be followed: {error}", path.display());
            failed(Error::new(ErrorKind::Unsupported, message))
                .hint("write a <backingStore> with its source below the <source> of the disk")
        })?;
        let mut store = BackingStore::default();
        let said = |within: Option<String>| header.backing_format.filter(|it| !it.is_empty()).or(within);
        let said = match found {
            BackingName::Local { path: at, format } => {
                let said = said(format);
                let about = std::fs::metadata(&at).map_err(|error| unusable(&at, path, ImageFormat::Raw, error))?;
                let mut source = Source::default();
                let text = at.to_str().map(str::to_owned);
                if about.file_type().is_block_device() {
                    (store.kind, source.dev) = (Some(SourceKind::Block), text);
                } else {
                    (store.kind, source.file) = (Some(SourceKind::File), text);
                }
                store.source = Some(source);
                if said.is_none() {
                    must_be_raw(&at, path).map_err(failed)?;
                }
                said
            }
            BackingName::Network { source, format } => {
                store.kind = Some(SourceKind::Network);
                store.source = Some(*source);
                said(format)
            }
        };
        let mut format = Format::default();
        format.kind = Some(match said {
            None => ImageFormat::Raw,
            Some(word) => named(&word).ok_or_else(|| {
                let message = format!(
                    "{} is based on an image of format '{word}', which is none of those known here",
                    path.display()
                );
                failed(Error::new(ErrorKind::Unsupported, message)).hint(rebase(path, ImageFormat::Raw))
            })?,
        });
        store.format = Some(format);
        Ok(Some(store))
    }
}

/// A format by the name that QEMU has for it. Protocols in its place mean raw data.
fn named(word: &str) -> Option<ImageFormat> {
    Some(match word {
        "raw" | "file" | "host_device" => ImageFormat::Raw,
        "qcow2" => ImageFormat::Qcow2,
        "qcow" => ImageFormat::Qcow,
        "qed" => ImageFormat::Qed,
        "vmdk" => ImageFormat::Vmdk,
        "vdi" => ImageFormat::Vdi,
        "vpc" => ImageFormat::Vpc,
        "parallels" => ImageFormat::Ploop,
        "bochs" => ImageFormat::Bochs,
        "cloop" => ImageFormat::Cloop,
        "dmg" => ImageFormat::Dmg,
        _ => return None,
    })
}

/// Writes into a source where its data is, if its header says that it is in another file.
fn data_store(layer: &Layer, source: &mut Source) -> Result<()> {
    let Some(path) = layer.path.as_deref().filter(|_| layer.format == ImageFormat::Qcow2) else { return Ok(()) };
    if source.data_store.is_some() {
        return Ok(());
    }
    let Some(name) = header(layer, path)?.and_then(|it| it.data_file) else { return Ok(()) };
    let BackingName::Local { path: at, .. } = BackingName::parse(&name, path).map_err(|error| {
        Error::new(ErrorKind::Unsupported, format!("the data of {} cannot be had: {error}", path.display()))
    })?
    else {
        let message = format!("the data of {} is not on this host: {name}", path.display());
        return Err(Error::new(ErrorKind::Unsupported, message)
            .hint("write a <dataStore> with its source into the <source> of the disk"));
    };
    let about = std::fs::metadata(&at).map_err(|error| unusable(&at, path, ImageFormat::Raw, error))?;
    let mut store = DataStore::default();
    let mut file = Source::default();
    let text = at.to_str().map(str::to_owned);
    if about.file_type().is_block_device() {
        (store.kind, file.dev) = (Some(SourceKind::Block), text);
    } else {
        (store.kind, file.file) = (Some(SourceKind::File), text);
    }
    store.source = Some(file);
    let mut format = Format::default();
    format.kind = Some(ImageFormat::Raw);
    store.format = Some(format);
    source.data_store = Some(Box::new(store));
    Ok(())
}

/// The header of an image; `None` for a topmost one that cannot be read.
fn header(layer: &Layer, path: &Path) -> Result<Option<Header>> {
    if !Header::may_have_backing(layer.format) {
        return Ok(Some(Header::default()));
    }
    let mut wanted = FIRST;
    loop {
        let head = match head(path, wanted) {
            Ok(head) => head,
            Err(_) if layer.is_top => return Ok(None),
            Err(error) => return Err(polyvirt_core::io_error("read", path, error)),
        };
        match Header::parse(layer.format, &head) {
            Ok(header) => return Ok(Some(header)),
            // A text may end with its file.
            Err(HeaderError::Short(more)) if head.len() < wanted && layer.format == ImageFormat::Vmdk => {
                let mut padded = head;
                padded.resize(more.min(HEAD_LIMIT), 0);
                let parsed = Header::parse(layer.format, &padded);
                return parsed.map(Some).map_err(|error| unreadable(path, &error));
            }
            Err(HeaderError::Short(more)) if head.len() == wanted && more > wanted => wanted = more.min(HEAD_LIMIT),
            Err(HeaderError::Short(more)) => {
                let short = HeaderError::Broken(format!("the file ends before byte {more}"));
                return Err(unreadable(path, &short));
            }
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
}

/// As many bytes of a file as there are, up to a bound.
fn head(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    // Nothing that is no file or disk is opened: opening alone may do something.
    let usual = |it: &std::fs::Metadata| it.is_file() || it.file_type().is_block_device();
    let refuse = || io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a block device");
    if !usual(&std::fs::metadata(path)?) {
        return Err(refuse());
    }
    let file: File = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !usual(&file.metadata()?) {
        return Err(refuse());
    }
    let mut head = vec![0; limit.min(HEAD_LIMIT)];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// Refuses an image of which nobody says the format and that does not look like raw data.
fn must_be_raw(path: &Path, by: &Path) -> Result<()> {
    let head = head(path, LOOKED_AT).map_err(|error| unusable(path, by, ImageFormat::Raw, error))?;
    let Some(looks) = sniff(&head) else { return Ok(()) };
    let message = format!(
        "{} does not say in which format {} is, and it looks like {looks}: a guest could have written that into a raw image",
        by.display(),
        path.display()
    );
    Err(Error::new(ErrorKind::InvalidConfig, message).hint(format!(
        "if it is, say so with `qemu-img rebase -u -F {looks} -b {} {}`; else with -F raw",
        path.display(),
        by.display()
    )))
}

fn unreadable(path: &Path, error: &HeaderError) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("{}: {error}", path.display())).with("image", path.display()).hint(
        format!("see `qemu-img info {}`, and <driver type=…> or <format type=…> in the definition", path.display()),
    )
}

fn unusable(path: &Path, by: &Path, format: ImageFormat, error: io::Error) -> Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Storage,
    };
    let what = if missing { "is missing".to_owned() } else { format!("cannot be used: {error}") };
    let message = format!("the image {} {what}; {} is based on it", path.display(), by.display());
    let remedy =
        if missing { rebase(by, format) } else { format!("look at its rights with `namei -l {}`", path.display()) };
    Error::new(kind, message)
        .with("image", path.display())
        .with("referred to by", by.display())
        .hint(remedy)
        .source(error)
}

fn rebase(by: &Path, format: ImageFormat) -> String {
    format!(
        "tell {0} where its backing image is, with `qemu-img rebase -u -F {format} -b PATH {0}`; if the definition has a <backingStore>, change it there",
        by.display()
    )
}

#[cfg(test)]
mod tests;
