//! Measured latencies in place of rough distances: what the kernel shows of ACPI's heterogeneous memory attribute table.
//!
//! SLIT gives a byte for a pair of nodes, and firmware often writes the same few numbers for all memory without CPUs. HMAT gives
//! nanoseconds. The kernel shows them for the CPUs nearest to each node, so those distances become the ratio of latencies, ten
//! for the quickest node with CPUs; from farther CPUs the memory is as much farther as SLIT says.
//!
//! Source: Documentation/admin-guide/mm/numaperf.rst.

use std::fs;

use super::Tree;
use crate::set::NodeSet;
use crate::topology::{LOCAL_DISTANCE, TopologyError};
use crate::units::HostNode;

/// 255 means unreachable.
const FARTHEST: u32 = 254;

/// How far memory is from the CPUs that are nearest to it.
#[derive(Debug)]
pub(super) struct Access {
    initiators: NodeSet,
    nanoseconds: u64,
}

impl Tree<'_> {
    /// What the kernel tells of access to this node's memory. Class 1 is of CPUs alone; class 0 may be of a device too.
    pub(super) fn access(&self, id: HostNode) -> Result<Option<Access>, TopologyError> {
        for class in [1, 0] {
            let dir = format!("sys/devices/system/node/node{id}/access{class}/initiators");
            let Some(text) = self.text(&format!("{dir}/read_latency"))? else { continue };
            let Some(nanoseconds) = text.trim().parse().ok().filter(|ns| *ns > 0) else { continue };
            let entries = fs::read_dir(self.root.join(&dir)).into_iter().flatten().filter_map(Result::ok);
            let initiators = entries
                .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse::<u32>().ok())
                .take(crate::topology::MAX_NODES)
                .collect();
            return Ok(Some(Access { initiators, nanoseconds }));
        }
        Ok(None)
    }
}

/// Puts latencies into the distances to nodes that are not their own CPUs' memory; names the nodes concerned. `rows` and
/// `access` are in the order of `ids`.
pub(super) fn sharpen(rows: &mut [Vec<u32>], ids: &[HostNode], access: &[Option<Access>]) -> NodeSet {
    let own =
        |(id, access): &(&HostNode, &Option<Access>)| access.as_ref().is_some_and(|it| it.initiators.contains(**id));
    let quickest =
        ids.iter().zip(access).filter(own).filter_map(|(_, access)| Some(access.as_ref()?.nanoseconds)).min();
    let Some(quickest) = quickest else { return NodeSet::new() };
    let mut changed = NodeSet::new();
    for (target, access) in access.iter().enumerate() {
        let Some(access) = access.as_ref().filter(|access| !access.initiators.contains(ids[target])) else { continue };
        let local = u64::from(LOCAL_DISTANCE);
        let near = access.nanoseconds.saturating_mul(local).saturating_add(quickest / 2) / quickest;
        let near = u32::try_from(near).unwrap_or(FARTHEST).clamp(u32::from(LOCAL_DISTANCE) + 1, FARTHEST);
        let nearest = (0..ids.len()).filter(|at| access.initiators.contains(ids[*at]));
        let Some(rough) = nearest.filter_map(|at| rows[at].get(target).copied()).min() else { continue };
        for (from, row) in rows.iter_mut().enumerate().filter(|(from, _)| *from != target) {
            let Some(distance) = row.get_mut(target) else { continue };
            let beyond = if access.initiators.contains(ids[from]) { 0 } else { distance.saturating_sub(rough) };
            *distance = near.saturating_add(beyond).min(FARTHEST);
        }
        changed.insert(ids[target]);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u32) -> Vec<HostNode> {
        (0..count).map(HostNode).collect()
    }

    fn access(initiators: &[u32], nanoseconds: u64) -> Option<Access> {
        Some(Access { initiators: initiators.iter().copied().map(HostNode).collect(), nanoseconds })
    }

    /// Two sockets, and memory at each that is slower than SLIT makes it look.
    #[test]
    fn memory_without_cpus_is_as_far_as_its_latency_says() {
        let mut rows = vec![vec![10, 21, 14, 24], vec![21, 10, 24, 14], vec![14, 24, 10, 26], vec![24, 14, 26, 10]];
        let told = [access(&[0], 100), access(&[1], 110), access(&[0], 250), access(&[1], 250)];
        let changed = sharpen(&mut rows, &ids(4), &told);
        assert_eq!(changed.to_string(), "2-3");
        // 250 ns are two and a half times 100; from the other socket it is ten farther, as SLIT says.
        assert_eq!((rows[0][2], rows[1][2], rows[0][3], rows[1][3]), (25, 35, 35, 25));
        assert_eq!((rows[0][1], rows[2][0], rows[0][0]), (21, 14, 10));
    }

    #[test]
    fn without_a_measure_or_with_absurd_ones_distances_stay_in_their_range() {
        let rough = vec![vec![10, 20], vec![20, 10]];
        let mut rows = rough.clone();
        assert!(sharpen(&mut rows, &ids(2), &[None, access(&[0], 250)]).is_empty());
        assert_eq!(rows, rough);
        sharpen(&mut rows, &ids(2), &[access(&[0], 100), access(&[0], u64::MAX)]);
        assert_eq!(rows[0], [10, 254]);
        sharpen(&mut rows, &ids(2), &[access(&[0], 100), access(&[0], 1)]);
        assert_eq!(rows[0], [10, 11]);
        // The kernel tells no distances.
        let mut none = vec![Vec::new(), Vec::new()];
        assert!(sharpen(&mut none, &ids(2), &[access(&[0], 100), access(&[0], 200)]).is_empty());
    }
}
