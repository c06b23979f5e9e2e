//! Incus with `limits.cpu.nodes=balanced`: the nodes with the fewest instances, as many as the mean size of a node
//! asks for. Sizes of the instances, memory and distances are not looked at.

use super::{Ask, Rival, Spot, View};

/// Incus's balancing.
#[derive(Debug, Default)]
pub struct Incus;

impl Rival for Incus {
    fn name(&self) -> &'static str {
        "incus"
    }

    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot> {
        let count = u32::try_from(view.nodes.len().max(1)).unwrap_or(u32::MAX);
        let threads: u32 = view.nodes.iter().map(|node| node.threads).sum();
        // vcpus / (threads / count), rounded up.
        let wanted = (u64::from(ask.vcpus) * u64::from(count)).div_ceil(u64::from(threads.max(1)));
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).clamp(1, view.nodes.len().max(1));
        let mut order: Vec<usize> = (0..view.nodes.len()).collect();
        order.sort_by_key(|at| view.nodes[*at].guests);
        order.truncate(wanted);
        Some(Spot::on(order))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIB, ask, host};
    use super::*;

    #[test]
    fn instances_are_counted_whatever_their_size() {
        let (topology, mut nodes) = host(&[(8, 32); 3]);
        (nodes[0].guests, nodes[0].runnable) = (2, 2);
        (nodes[1].guests, nodes[1].runnable, nodes[1].promised) = (1, 8, 32 * GIB);
        nodes[2].guests = 3;
        let view = View { topology: &topology, nodes: &nodes, dedicated: false };
        assert_eq!(Incus.place(&view, &ask(4, 16)).unwrap(), Spot::on(vec![1]), "though it is full");
        assert_eq!(Incus.place(&view, &ask(9, 16)).unwrap().cpus, [1, 0], "two nodes for nine CPUs");
    }
}
