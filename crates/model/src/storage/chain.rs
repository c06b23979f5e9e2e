//! Chains of images: formats, backing stores, and the mirrors that block jobs write.

use polyvirt_xml::{Element, words};

use super::{ImageFormat, Source, SourceKind};
use crate::codec::Bytes;

/// `<dataStore>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DataStore {
    /// The kind of its source.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// Its format.
    #[xml(child)]
    pub format: Option<Format>,
    /// Where it is.
    #[xml(child)]
    pub source: Option<Source>,
}

/// `<format>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Format {
    /// The format of the image.
    #[xml(attr, name = "type")]
    pub kind: Option<ImageFormat>,
    /// The cache for its metadata.
    #[xml(child, name = "metadata_cache")]
    pub metadata_cache: Option<MetadataCache>,
}

/// `<metadata_cache>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MetadataCache {
    /// Its size.
    #[xml(leaf, name = "max_size", codec = Bytes, unit = "bytes")]
    pub max_size: Option<u64>,
}

/// `<backingStore>`: what an image is based on. An empty one ends the chain.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackingStore {
    /// The kind of its source; absent: there is none.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// Its number in the chain.
    #[xml(attr)]
    pub index: Option<u32>,
    /// Its format.
    #[xml(child)]
    pub format: Option<Format>,
    /// Where it is.
    #[xml(child)]
    pub source: Option<Source>,
    /// What it is based on.
    #[xml(child)]
    pub backing_store: Option<Box<BackingStore>>,
}

words! {
    /// Block jobs that mirror a disk.
    pub enum MirrorJob { Copy = "copy", ActiveCommit = "active-commit" }
}
words! {
    /// How far a mirror is: it follows the guest's writes, or the job is being ended one way or the other.
    pub enum MirrorReady { Yes = "yes", Abort = "abort", Pivot = "pivot" }
}

/// `<mirror>`: the target of a block job, while the guest runs.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Mirror {
    /// The kind of its source.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// A file (old form).
    #[xml(attr)]
    pub file: Option<String>,
    /// Its format (old form).
    #[xml(attr, name = "format")]
    pub format_name: Option<ImageFormat>,
    /// The job.
    #[xml(attr)]
    pub job: Option<MirrorJob>,
    /// Whether it follows the guest's writes, or how the job ends.
    #[xml(attr)]
    pub ready: Option<MirrorReady>,
    /// Its format.
    #[xml(child)]
    pub format: Option<Format>,
    /// Where it is.
    #[xml(child)]
    pub source: Option<Source>,
    /// What it is based on.
    #[xml(child)]
    pub backing_store: Option<Box<BackingStore>>,
}
