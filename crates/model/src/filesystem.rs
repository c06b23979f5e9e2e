//! `<filesystem>`: directories and images of the host that a guest mounts.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioModel, VirtioOptions};
use crate::codec::{Octal, Size, SizeUnit};
use crate::security::IdMap;
use crate::storage::ImageFormat;

words! {
    /// What is mounted.
    pub enum FilesystemKind {
        Mount = "mount", Block = "block", File = "file", Template = "template", Ram = "ram", Bind = "bind",
        Volume = "volume",
    }
}
words! {
    /// Whose permissions count.
    pub enum AccessMode { Passthrough = "passthrough", Mapped = "mapped", Squash = "squash" }
}
words! {
    /// What happens with files of several devices.
    pub enum Multidevs { Default = "default", Remap = "remap", Forbid = "forbid", Warn = "warn" }
}

/// `<filesystem>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Filesystem {
    /// What is mounted; absent: a directory.
    #[xml(attr, name = "type")]
    pub kind: Option<FilesystemKind>,
    /// Whose permissions count; absent: `passthrough`. Since 0.8.5.
    #[xml(attr)]
    pub accessmode: Option<AccessMode>,
    /// The variant of virtio. Since 5.2.0.
    #[xml(attr)]
    pub model: Option<VirtioModel>,
    /// Files of several devices. Since 6.3.0.
    #[xml(attr)]
    pub multidevs: Option<Multidevs>,
    /// Permissions of new files, octal; absent: 0600. Since 6.10.0.
    #[xml(attr, codec = Octal)]
    pub fmode: Option<u32>,
    /// Permissions of new directories, octal; absent: 0700. Since 6.10.0.
    #[xml(attr, codec = Octal)]
    pub dmode: Option<u32>,
    /// How it is served.
    #[xml(child)]
    pub driver: Option<FilesystemDriver>,
    /// The program that serves it. Since 6.2.0.
    #[xml(child)]
    pub binary: Option<FilesystemBinary>,
    /// Users.
    #[xml(child)]
    pub idmap: Option<IdMap>,
    /// What is mounted.
    #[xml(child)]
    pub source: Option<FilesystemSource>,
    /// Where the guest sees it.
    #[xml(child)]
    pub target: Option<FilesystemTarget>,
    /// The guest may not write.
    #[xml(flag)]
    pub readonly: bool,
    /// The most it may hold. Since 0.9.13.
    #[xml(leaf, name = "space_hard_limit", codec = Size, unit = "bytes")]
    pub space_hard_limit: Option<Kib>,
    /// What it should hold. Since 0.9.13.
    #[xml(leaf, name = "space_soft_limit", codec = Size, unit = "bytes")]
    pub space_soft_limit: Option<Kib>,
    /// Name, address, boot order.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// Who serves a filesystem.
    pub enum FilesystemDriverType {
        Default = "default", Path = "path", Handle = "handle", Loop = "loop", Nbd = "nbd", Ploop = "ploop",
        Virtiofs = "virtiofs", Mtp = "mtp",
    }
}

words! {
    /// When writes to a filesystem reach the host.
    pub enum WritePolicy { Immediate = "immediate" }
}

/// `<driver>` of `<filesystem>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilesystemDriver {
    /// Who serves it.
    #[xml(attr, name = "type")]
    pub kind: Option<FilesystemDriverType>,
    /// The format of an image.
    #[xml(attr)]
    pub format: Option<ImageFormat>,
    /// When writes reach the host; absent: as the host likes. Since 0.9.10.
    #[xml(attr)]
    pub wrpolicy: Option<WritePolicy>,
    /// Entries of the queue. Since 6.2.0.
    #[xml(attr)]
    pub queue: Option<u32>,
    /// Options of virtio.
    #[xml(group)]
    pub virtio: VirtioOptions,
}

/// `<binary>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilesystemBinary {
    /// Its path.
    #[xml(attr)]
    pub path: Option<String>,
    /// Whether extended attributes are passed on.
    #[xml(attr, onoff)]
    pub xattr: Option<bool>,
    /// What is cached.
    #[xml(child)]
    pub cache: Option<FilesystemCache>,
    /// How it is confined. Since 7.2.0.
    #[xml(child)]
    pub sandbox: Option<FilesystemSandbox>,
    /// Locks.
    #[xml(child)]
    pub lock: Option<FilesystemLock>,
    /// Threads. Since 8.5.0.
    #[xml(child, name = "thread_pool")]
    pub thread_pool: Option<ThreadPool>,
    /// How it opens files.
    #[xml(child)]
    pub openfiles: Option<OpenFiles>,
}

words! {
    /// What virtiofsd caches.
    pub enum CacheMode { None = "none", Always = "always" }
}
words! {
    /// How virtiofsd is confined.
    pub enum SandboxMode { Namespace = "namespace", Chroot = "chroot" }
}

/// `<cache>` of `<binary>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilesystemCache {
    /// What is cached.
    #[xml(attr)]
    pub mode: Option<CacheMode>,
}

/// `<sandbox>` of `<binary>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilesystemSandbox {
    /// How it is confined.
    #[xml(attr)]
    pub mode: Option<SandboxMode>,
}

/// `<lock>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilesystemLock {
    /// POSIX locks.
    #[xml(attr, onoff)]
    pub posix: Option<bool>,
    /// BSD locks.
    #[xml(attr, onoff)]
    pub flock: Option<bool>,
}

/// `<thread_pool>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ThreadPool {
    /// Threads.
    #[xml(attr)]
    pub size: u32,
}

/// `<openfiles>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct OpenFiles {
    /// Files at most.
    #[xml(attr)]
    pub max: Option<u64>,
}

/// `<source>` of `<filesystem>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilesystemSource {
    /// A directory.
    #[xml(attr)]
    pub dir: Option<String>,
    /// A block device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// An image.
    #[xml(attr)]
    pub file: Option<String>,
    /// A template.
    #[xml(attr)]
    pub name: Option<String>,
    /// A storage pool.
    #[xml(attr)]
    pub pool: Option<String>,
    /// A volume of the pool.
    #[xml(attr)]
    pub volume: Option<String>,
    /// The socket of a server that runs already.
    #[xml(attr)]
    pub socket: Option<String>,
    /// The size of a RAM disk.
    #[xml(attr)]
    pub usage: Option<u64>,
    /// The unit of `usage`; absent: KiB.
    #[xml(attr)]
    pub units: Option<SizeUnit>,
}

/// `<target>` of `<filesystem>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilesystemTarget {
    /// A directory, or a tag.
    #[xml(attr)]
    pub dir: String,
}
