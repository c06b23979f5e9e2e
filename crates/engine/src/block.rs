//! Sizes and errors of a guest's disks.
//!
//! Of a guest that runs its hypervisor tells them. Of one that does not, the file itself does: a raw image is as long as it is, and
//! the head of a qcow2 image says what the guest sees. Nothing else of an image is read, and no program is run on it: an image is
//! its guest's, and may lie.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
    time::Duration,
};

use polyvirt_core::{
    BlockNumbers, BlockSizes, DiskError, Error, ErrorKind, Result, io_error,
    model::{DomainConfig, disk::Disk, storage::ImageFormat},
};

use crate::{actor::not_running, guest::Guest, store::blocking};

/// How long a file may take to be looked at.
const LOOK: Duration = Duration::from_secs(10);

impl Guest {
    /// How large a disk is, live or stopped. It is named by its target (`vda`) or its source.
    ///
    /// # Errors
    /// `NotFound` for a disk that the guest does not have and for an empty drive; `Unsupported` for a stopped guest's image of a
    /// format that is not read here.
    pub async fn block_sizes(&self, disk: &str) -> Result<BlockSizes> {
        let (stored, record) = self.files().await?;
        if let Some(record) = record {
            let live = record.live()?.config;
            let found = self.disk(&live, disk)?;
            let domain = self.domain().await?;
            let driver = self.connection.driver().descriptor().name;
            return domain.block_info().ok_or_else(|| Error::unsupported(driver, "sizes of disks"))?.sizes(found).await;
        }
        let stored = stored.ok_or_else(|| not_running(self.name()))?;
        let found = self.disk(&stored.config, disk)?.clone();
        let target = target(&found).to_owned();
        let looked = tokio::time::timeout(LOOK, blocking(move || of_image(&found))).await;
        looked.map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("the file of '{target}' does not answer within {LOOK:?}"))
                .hint("see the storage that it is on")
        })?
    }

    /// Disks of the running guest that are in error, by their targets.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Unsupported`; `Busy`.
    pub async fn disk_errors(&self) -> Result<Vec<(String, DiskError)>> {
        let live = self.view().await?.live.ok_or_else(|| not_running(self.name()))?;
        let domain = self.domain().await?;
        let driver = self.connection.driver().descriptor().name;
        domain.block_info().ok_or_else(|| Error::unsupported(driver, "errors of disks"))?.errors(&live).await
    }

    fn disk<'a>(&self, config: &'a DomainConfig, name: &str) -> Result<&'a Disk> {
        disk_of(self.name(), config, name)
    }
}

/// The disk of a guest that has this target or this source.
///
/// # Errors
/// `NotFound`.
pub(crate) fn disk_of<'a>(guest: &str, config: &'a DomainConfig, name: &str) -> Result<&'a Disk> {
    let named = |disk: &&Disk| target(disk) == name || source(disk) == Some(name);
    config.devices.disks.iter().find(named).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("the guest '{guest}' has no disk '{name}'"))
            .hint(format!("`polyvirt domblklist {guest}` shows them"))
    })
}

fn target(disk: &Disk) -> &str {
    disk.target.as_ref().map_or("", |it| &it.dev)
}

/// The host's file or device.
fn source(disk: &Disk) -> Option<&str> {
    let source = disk.source.as_ref()?;
    source.file.as_deref().or(source.dev.as_deref()).filter(|it| !it.is_empty())
}

/// A disk of a guest that does not run.
pub(crate) fn without_numbers(disk: &Disk) -> BlockNumbers {
    BlockNumbers::new(target(disk), source(disk).map(ToOwned::to_owned))
}

fn of_image(disk: &Disk) -> Result<BlockSizes> {
    let path = source(disk).ok_or_else(|| match disk.source {
        None => Error::new(ErrorKind::NotFound, format!("nothing is in the drive '{}'", target(disk))),
        Some(_) => Error::new(ErrorKind::Unsupported, format!("the disk '{}' is not on this host", target(disk)))
            .hint("start the guest: its hypervisor tells the size"),
    })?;
    let path = Path::new(path);
    let failed = |error| io_error("look at", path, error);
    let about = std::fs::metadata(path).map_err(failed)?;
    let (physical, allocation) = match about.file_type() {
        kind if kind.is_block_device() => {
            let length = File::open(path).and_then(|mut it| it.seek(SeekFrom::End(0))).map_err(failed)?;
            (length, length)
        }
        // Blocks of 512 bytes, whatever the file system's are (stat(2)).
        kind if kind.is_file() => (about.len(), about.blocks().saturating_mul(512)),
        _ => return Err(Error::new(ErrorKind::InvalidArgument, format!("{} is no image", path.display()))),
    };
    let capacity = match disk.driver.as_ref().and_then(|it| it.kind) {
        None | Some(ImageFormat::Raw | ImageFormat::Iso) => physical,
        Some(ImageFormat::Qcow2) => {
            let mut head = [0; 32];
            File::open(path).and_then(|mut it| it.read_exact(&mut head)).map_err(failed)?;
            qcow2_capacity(&head).ok_or_else(|| {
                Error::new(ErrorKind::InvalidConfig, format!("{} is no qcow2 image", path.display()))
                    .hint("see <driver type=…> of the disk")
            })?
        }
        Some(other) => {
            let message = format!("what a guest sees of an image of format '{other}' is not read here");
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint(format!("start the guest, or see `qemu-img info {}`", path.display())));
        }
    };
    Ok(BlockSizes::new(capacity, allocation, physical))
}

/// What the guest sees of a qcow2 image (QEMU, docs/interop/qcow2: bytes 24 to 31 of the header).
fn qcow2_capacity(head: &[u8; 32]) -> Option<u64> {
    let version = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let size = head[24..].try_into().map(u64::from_be_bytes).ok()?;
    (head.starts_with(b"QFI\xfb") && (2..=3).contains(&version)).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(path: &Path, format: &str) -> Disk {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><devices><disk type='file' device='disk'>\
             <driver name='qemu' type='{format}'/><source file='{}'/><target dev='vda'/></disk></devices></domain>",
            path.display()
        );
        DomainConfig::parse(&text, &Default::default()).unwrap().config.devices.disks.remove(0)
    }

    #[test]
    fn images_tell_their_sizes_and_liars_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        let raw = of_image(&disk(&path, "raw")).unwrap();
        assert_eq!((raw.capacity, raw.physical), (1 << 20, 1 << 20));
        assert!(raw.allocation < 1 << 20, "a file of holes takes no room: {raw:?}");
        assert_eq!(of_image(&disk(&path, "qcow2")).unwrap_err().kind(), ErrorKind::InvalidConfig);
        assert_eq!(of_image(&disk(&path, "vmdk")).unwrap_err().kind(), ErrorKind::Unsupported);
        let mut head = b"QFI\xfb\0\0\0\x03".to_vec();
        head.resize(24, 0);
        head.extend(5_u64.to_be_bytes());
        std::fs::write(&path, &head).unwrap();
        assert_eq!(of_image(&disk(&path, "qcow2")).unwrap().capacity, 5);
        std::fs::write(&path, &head[..31]).unwrap();
        assert!(of_image(&disk(&path, "qcow2")).is_err());
        assert_eq!(of_image(&disk(directory.path(), "raw")).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(of_image(&disk(&directory.path().join("none"), "raw")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
