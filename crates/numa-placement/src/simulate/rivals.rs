//! Other placement algorithms, written from what is known of how they decide.
//!
//! Each sees what it would see on a real host: numad what guests have touched and how busy CPUs are, Xen and Nova what
//! they have handed out, Incus how many instances there are. Each keeps the state it would keep, and no more.
//!
//! What they do not model: the time they take, wrong measurements, and everything but CPUs and ordinary memory.

use crate::topology::HostTopology;
use crate::units::Kib;

mod incus;
mod kernel;
mod kubelet;
mod nova;
mod numad;
mod ours;
mod xapi;
mod xen;

pub use incus::Incus;
pub use kernel::Kernel;
pub use kubelet::{Kubelet, Policy};
pub use nova::{Nova, Strategy};
pub use numad::{Advice as NumadAdvice, NodeFigures as NumadNode, Numad, advise as numad_advise};
pub use ours::Ours;
pub use xapi::Xapi;
pub use xen::Xen;

/// What there is to know of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeView {
    /// Hardware threads.
    pub threads: u32,
    /// Cores they amount to.
    pub cores: f64,
    /// Threads that are nobody's own.
    pub free_threads: u32,
    /// Cores that are busy at this moment.
    pub busy: f64,
    /// Memory.
    pub memory: u64,
    /// KiB promised to guests.
    pub promised: u64,
    /// KiB that guests have touched.
    pub touched: u64,
    /// vCPUs that may run here, each counted on every node it may run on.
    pub runnable: u32,
    /// Guests that may run here.
    pub guests: u32,
}

impl NodeView {
    /// KiB that are not promised.
    #[must_use]
    pub fn unpromised(&self) -> u64 {
        self.memory.saturating_sub(self.promised)
    }

    /// KiB that nobody has touched.
    #[must_use]
    pub fn untouched(&self) -> u64 {
        self.memory.saturating_sub(self.touched)
    }
}

/// The host as an algorithm sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What does not change.
    pub topology: &'a HostTopology,
    /// What does, by position.
    pub nodes: &'a [NodeView],
    /// Whether guests get CPUs of their own.
    pub dedicated: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// vCPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: Kib,
}

/// Where a guest goes, by positions of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// Nodes for its CPUs. CPUs of its own are taken in this order.
    pub cpus: Vec<usize>,
    /// Nodes for its memory.
    pub memory: Vec<usize>,
    /// Memory is spread evenly over its nodes; else every thread touches what is nearest.
    pub striped: bool,
    /// No node is filled beyond what is promised to others; else beyond what others have touched.
    pub booked: bool,
}

impl Spot {
    /// CPUs and memory on the same nodes.
    #[must_use]
    pub fn on(nodes: Vec<usize>) -> Spot {
        Spot { memory: nodes.clone(), cpus: nodes, striped: false, booked: false }
    }

    /// Everywhere.
    #[must_use]
    pub fn anywhere(view: &View<'_>) -> Spot {
        Spot::on((0..view.nodes.len()).collect())
    }
}

/// An algorithm.
pub trait Rival {
    /// For tables.
    fn name(&self) -> &'static str;
    /// Whether it works on hosts with so many nodes.
    fn works_with(&self, _nodes: usize) -> bool {
        true
    }
    /// Where this guest goes; `None`: refused.
    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot>;
}

/// All subsets of 0…n-1 as masks; n is at most 16.
fn subsets(count: usize) -> std::ops::Range<u32> {
    1..1 << count.min(16)
}

/// The members of a mask, ascending.
fn members(mask: u32) -> impl Iterator<Item = usize> + Clone {
    (0..32usize).filter(move |at| mask & (1 << at) != 0)
}

#[cfg(test)]
pub(super) mod testing {
    //! Small hosts for the tests of the algorithms.

    use super::*;
    use crate::topology::Node;
    use crate::units::{HostCpu, HostNode};

    pub(crate) const GIB: u64 = 1 << 20;

    /// Nodes of so many CPUs and GiB, all free, 10 and 20 apart.
    pub(crate) fn host(nodes: &[(u32, u64)]) -> (HostTopology, Vec<NodeView>) {
        let mut first = 0;
        let mut builder = HostTopology::builder();
        let mut views = Vec::new();
        for (id, (cpus, gib)) in (0u32..).zip(nodes) {
            let set = (first..first + cpus).map(HostCpu).collect();
            first += cpus;
            builder = builder.node(Node::new(HostNode(id)).with_cpus(set).with_memory(Kib::from_gib(*gib)));
            views.push(NodeView {
                threads: *cpus,
                cores: f64::from(*cpus),
                free_threads: *cpus,
                memory: gib * GIB,
                ..NodeView::default()
            });
        }
        (builder.build().unwrap(), views)
    }

    pub(crate) fn ask(vcpus: u32, gib: u64) -> Ask {
        Ask { vcpus, memory: Kib::from_gib(gib) }
    }
}
