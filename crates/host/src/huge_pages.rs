//! The pools of huge pages, resized on request.
//!
//! Source: Documentation/admin-guide/mm/hugetlbpage.rst (`nr_hugepages` of the host and of each node).

use polyvirt_numa_placement::{HostNode, Kib};

use crate::{Host, HostError};

/// Sets the number of pages of one size, of a node or, without one, of the host, which then spreads them as it sees fit.
/// Gives the number that there is afterwards: the kernel may find memory for fewer.
pub(crate) fn resize(host: &Host, node: Option<HostNode>, size: Kib, pages: PoolSize) -> Result<u64, HostError> {
    let dir = match node {
        Some(node) => format!("sys/devices/system/node/node{node}/hugepages/hugepages-{}kB", size.0),
        None => format!("sys/kernel/mm/hugepages/hugepages-{}kB", size.0),
    };
    let file = format!("{dir}/nr_hugepages");
    let path = host.root().join(&file);
    let before = host.natural(&file)?.ok_or_else(|| HostError::Missing(path.clone()))?;
    let wanted = match pages {
        PoolSize::Exactly(count) => count,
        PoolSize::More(count) => before.saturating_add(count),
    };
    std::fs::write(&path, wanted.to_string()).map_err(|source| HostError::Write { path: path.clone(), source })?;
    host.natural(&file)?.ok_or(HostError::Missing(path))
}

/// How large a pool shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolSize {
    /// This many pages.
    Exactly(u64),
    /// This many pages more than now.
    More(u64),
}
