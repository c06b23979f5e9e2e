//! Sizes of disks and marks on their images.

use polyvirt_core::{BlockResize, BlockThreshold, Error, ErrorKind, Result, async_trait, model::disk::Disk};
use polyvirt_qmp::{BlockResize as Resize, BlockSetWriteThreshold};

use super::{ANSWER, QemuDomain, Shared};
use crate::command::Images;

/// How long a size may take to change: a file that grows on slow storage.
const RESIZED: std::time::Duration = std::time::Duration::from_secs(25);

impl Shared {
    /// The images of a disk, as the guest that runs has them.
    pub(super) fn images(&self, disk: &Disk) -> Result<Images> {
        let name = disk.target.as_ref().map_or("", |it| it.dev.as_str());
        let nothing = || Error::new(ErrorKind::NotFound, format!("nothing is in the drive '{name}'"));
        self.builder()?.images(&self.live().config, disk).ok_or_else(nothing)
    }
}

#[async_trait]
impl BlockResize for QemuDomain {
    async fn resize(&self, disk: &Disk, bytes: u64) -> Result<()> {
        let images = self.shared.images(disk)?;
        let top = images.chain.first().ok_or_else(|| Error::new(ErrorKind::NotFound, "the disk has no image"))?;
        self.shared.execute_within(&Resize { node_name: &top.top, size: bytes }, RESIZED).await.map(drop)
    }
}

#[async_trait]
impl BlockThreshold for QemuDomain {
    async fn set_threshold(&self, disk: &Disk, image: u32, bytes: u64) -> Result<()> {
        let images = self.shared.images(disk)?;
        let found = images.chain.iter().chain(&images.mirror).find(|it| it.number == image);
        let found = found.ok_or_else(|| {
            let numbers: Vec<_> = images.chain.iter().map(|it| it.number.to_string()).collect();
            Error::new(ErrorKind::NotFound, format!("the disk has no image {image}; it has {}", numbers.join(", ")))
        })?;
        // It counts bytes of the file, which the storage node has.
        let order = BlockSetWriteThreshold { node_name: &found.storage, write_threshold: bytes };
        self.shared.execute_within(&order, ANSWER).await.map(drop)
    }
}
