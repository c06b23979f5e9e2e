//! What is promised to guests already, per node: the part of the ledger that planning sees.
//!
//! Two figures bound what a node may still promise. The kernel's free memory has lost what guests *touched*, so what
//! they were promised and have not touched yet is taken off it. And independent of the kernel, all promises together
//! stay below what is installed:
//!
//! `free for promises = min(free + reclaimable − reserve − untouched, installed − pools − reserve − promised)`
//!
//! Both err on the careful side: a page that is touched after the last look counts twice until the next look.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::BUSY_PER_VCPU;
use crate::set::CpuSet;
use crate::topology::Node;
use crate::units::{HostNode, Kib};

/// What was seen is expected to grow so much.
const BUSY_GROWS: f64 = 1.15;

/// Cores that are expected to be busy where so many thousandths of a CPU were.
pub(crate) fn expected(busy_milli: u64) -> f64 {
    crate::engine::real(busy_milli) / 1000.0 * BUSY_GROWS
}

/// Promises on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NodePromise {
    /// Ordinary memory promised.
    pub memory: Kib,
    /// The part of it that guests have not touched yet.
    pub untouched: Kib,
    /// Huge pages promised, by page size.
    pub pages: BTreeMap<Kib, u64>,
    /// The part of them that guests have not touched yet.
    pub untouched_pages: BTreeMap<Kib, u64>,
    /// Online vCPUs in thousandths: one that may run on two nodes counts 500 on each.
    pub milli_vcpus: u64,
    /// CPUs that belong to one guest alone.
    #[serde(skip_serializing_if = "CpuSet::is_empty")]
    pub dedicated: CpuSet,
    /// How busy the node's CPUs were seen, in thousandths of a CPU. `None`: nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_milli: Option<u64>,
}

impl NodePromise {
    /// What `busy_milli` counts vCPUs that nobody looked at as, so that half a core is expected of each.
    pub(crate) const fn unseen_milli(milli_vcpus: u64) -> u64 {
        // BUSY_PER_VCPU / BUSY_GROWS
        milli_vcpus.saturating_mul(50) / 115
    }

    /// Cores that are expected to be busy: what was seen and a little more, else half a core for every vCPU.
    pub(crate) fn expected_busy(&self) -> f64 {
        // What runs on CPUs of its own is no load for the others.
        let own = self.dedicated.len() as u64 * 1000;
        let vcpus = self.milli_vcpus.saturating_sub(own);
        let unseen = || crate::engine::real(vcpus) / 1000.0 * BUSY_PER_VCPU;
        self.busy_milli.map_or_else(unseen, |seen| expected(seen.saturating_sub(own)))
    }
}

/// Promises on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Promised {
    /// By node; a node without promises may be missing.
    pub nodes: BTreeMap<HostNode, NodePromise>,
}

impl Promised {
    /// The promises on a node.
    #[must_use]
    pub fn node(&self, id: HostNode) -> Option<&NodePromise> {
        self.nodes.get(&id)
    }

    /// The promises on a node, to add to.
    pub fn node_mut(&mut self, id: HostNode) -> &mut NodePromise {
        self.nodes.entry(id).or_default()
    }

    /// Adds all of another set of promises.
    pub fn add(&mut self, other: &Promised) {
        for (id, more) in &other.nodes {
            let sum = self.node_mut(*id);
            sum.memory = sum.memory.saturating_add(more.memory);
            sum.untouched = sum.untouched.saturating_add(more.untouched);
            sum.milli_vcpus = sum.milli_vcpus.saturating_add(more.milli_vcpus);
            sum.dedicated = sum.dedicated.union(&more.dedicated);
            // Somebody's look at the whole node, not a part of it.
            sum.busy_milli = sum.busy_milli.max(more.busy_milli);
            for (to, from) in [(&mut sum.pages, &more.pages), (&mut sum.untouched_pages, &more.untouched_pages)] {
                for (size, pages) in from {
                    let total = to.entry(*size).or_default();
                    *total = total.saturating_add(*pages);
                }
            }
        }
    }

    /// Ordinary memory that the node may still promise. See the module for the formula.
    #[must_use]
    pub fn memory_left(&self, node: &Node) -> Kib {
        let none = NodePromise::default();
        let promise = self.node(node.id).unwrap_or(&none);
        let by_kernel = node.available().saturating_sub(promise.untouched);
        by_kernel.min(node.promisable().saturating_sub(promise.memory))
    }

    /// Huge pages of this size that the node may still promise.
    #[must_use]
    pub fn pages_left(&self, node: &Node, size: Kib) -> u64 {
        let Some(pool) = node.pool(size) else { return 0 };
        let of = |pages: &BTreeMap<Kib, u64>| pages.get(&size).copied().unwrap_or(0);
        let (promised, untouched) =
            self.node(node.id).map_or((0, 0), |promise| (of(&promise.pages), of(&promise.untouched_pages)));
        pool.free.saturating_sub(untouched).min(pool.total.saturating_sub(promised))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::PagePool;

    fn node() -> Node {
        Node::new(HostNode(1))
            .with_memory(Kib::from_gib(16))
            .with_free(Kib::from_gib(10))
            .with_reserve(Kib::from_gib(1))
            .with_pool(PagePool::new(Kib(2048), 1024, 1000))
    }

    #[test]
    fn nothing_promised_leaves_what_is_free_less_the_reserve() {
        assert_eq!(Promised::default().memory_left(&node()), Kib::from_gib(9));
        assert_eq!(Promised::default().pages_left(&node(), Kib(2048)), 1000);
        assert_eq!(Promised::default().pages_left(&node(), Kib(4096)), 0);
    }

    #[test]
    fn untouched_promises_count_against_free_and_all_against_what_is_installed() {
        let mut promised = Promised::default();
        promised.node_mut(HostNode(1)).memory = Kib::from_gib(8);
        promised.node_mut(HostNode(1)).untouched = Kib::from_gib(2);
        // By the kernel 10 - 1 - 2 = 7; by what is installed 16 - 2 (pool) - 1 - 8 = 5.
        assert_eq!(promised.memory_left(&node()), Kib::from_gib(5));
        promised.node_mut(HostNode(1)).untouched = Kib::from_gib(6);
        assert_eq!(promised.memory_left(&node()), Kib::from_gib(3));
        promised.node_mut(HostNode(1)).pages.insert(Kib(2048), 1020);
        assert_eq!(promised.pages_left(&node(), Kib(2048)), 4);
    }

    #[test]
    fn sums_and_survives_json() {
        let mut one = Promised::default();
        one.node_mut(HostNode(3)).pages.insert(Kib(2048), 5);
        let mut two = one.clone();
        two.node_mut(HostNode(3)).milli_vcpus = 1500;
        two.add(&one);
        assert_eq!(two.node(HostNode(3)).unwrap().pages[&Kib(2048)], 10);
        let text = serde_json::to_string(&two).unwrap();
        assert_eq!(serde_json::from_str::<Promised>(&text).unwrap(), two);
    }
}
