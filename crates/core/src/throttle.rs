//! Limits of a running guest's disks.

use async_trait::async_trait;
use polyvirt_model::disk::Disk;

use crate::Result;

/// Limits of what goes to a disk and comes from it.
#[async_trait]
pub trait BlockThrottle: Send + Sync {
    /// Puts a disk's limits in place of those that it has: the disk as it is to be, of which only they differ.
    ///
    /// *Behaviour*: all or none. A disk without any limit has none afterwards. A disk that is not there is `NotFound`, a drive without a
    /// medium `InvalidState`.
    async fn set(&self, disk: &Disk) -> Result<()>;
}
