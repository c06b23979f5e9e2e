//! What CPUs amount to: how many there are, and how much work their cores carry.

use super::Node;
use crate::set::CpuSet;

/// CPUs of a node, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// CPUs.
    pub(crate) cpus: u32,
    /// CPUs on cores of which two or more are in the set.
    pub(crate) paired: u32,
    /// Cores that are in the set as a whole.
    pub(crate) whole: u32,
    /// Quarters of a core they amount to: the first thread of a core counts four, every further one adds one. That is
    /// what simultaneous threads gain on the whole; numad counts them at a fifth.
    pub(crate) quarters: u32,
}

impl Count {
    /// Counts the members of `cpus` by these cores; a CPU that is in no core is one of its own.
    pub(crate) fn of(cpus: &CpuSet, cores: &[CpuSet]) -> Count {
        let mut count = Count { cpus: narrow(cpus.len()), ..Count::default() };
        let (mut used, mut grouped) = (0u32, 0u32);
        for core in cores {
            let threads = narrow(core.intersection_len(cpus));
            if threads == 0 {
                continue;
            }
            used += 1;
            grouped += threads;
            count.paired += if threads > 1 { threads } else { 0 };
            count.whole += u32::from(threads as usize == core.len());
        }
        let alone = count.cpus.saturating_sub(grouped);
        count.whole += alone;
        count.quarters = 4 * (alone + used) + grouped.saturating_sub(used);
        count
    }

    /// Cores they amount to.
    pub(crate) fn cores(self) -> f64 {
        f64::from(self.quarters) / 4.0
    }
}

/// The CPUs of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Those the scheduler uses.
    pub(crate) usable: Count,
    /// Isolated ones included.
    pub(crate) all: Count,
}

impl Capacity {
    pub(crate) fn of(node: &Node, isolated: &CpuSet) -> Capacity {
        let all = Count::of(&node.cpus, &node.cores);
        let usable = match node.cpus.is_disjoint(isolated) {
            true => all,
            false => Count::of(&node.cpus.difference(isolated), &node.cores),
        };
        Capacity { usable, all }
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{HostNode, Kib};

    #[test]
    fn siblings_count_a_quarter() {
        let node = Node::new(HostNode(0)).with_memory(Kib(1)).with_cpus(CpuSet::of_range(0, 7)).with_threads(2);
        let capacity = Capacity::of(&node, &CpuSet::of_range(0, 0));
        assert_eq!(capacity.all, Count { cpus: 8, paired: 8, whole: 4, quarters: 20 });
        assert_eq!(capacity.usable, Count { cpus: 7, paired: 6, whole: 3, quarters: 19 });
        let alone = Count::of(&CpuSet::of_range(0, 2), &[]);
        assert_eq!(alone, Count { cpus: 3, paired: 0, whole: 3, quarters: 12 });
    }
}
