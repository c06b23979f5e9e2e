//! OpenStack Nova: every guest cell on a host cell of its own, the first permutation in which all fit. Distances are
//! not looked at, and a guest with one cell never spans.

use super::{Ask, Rival, Spot, View};

/// Which host cells are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Those with most left, the default.
    Spread,
    /// Those with least left.
    Pack,
}

/// Nova's fitting of guest cells to host cells.
#[derive(Debug)]
pub struct Nova {
    strategy: Strategy,
    /// Guest cells of every guest; `None`: as few as the size of a host cell allows, as an operator would write it.
    cells: Option<u32>,
}

impl Nova {
    /// This strategy.
    #[must_use]
    pub fn new(strategy: Strategy) -> Nova {
        Nova { strategy, cells: None }
    }

    /// So many cells for every guest.
    #[must_use]
    pub fn with_cells(mut self, cells: u32) -> Nova {
        self.cells = Some(cells);
        self
    }

    fn cells(&self, view: &View<'_>, ask: &Ask) -> usize {
        let node = view.nodes.first().copied().unwrap_or_default();
        let by_cpus = u64::from(ask.vcpus.div_ceil(node.threads.max(1)));
        let by_memory = ask.memory.0.div_ceil(node.memory.max(1));
        let cells = self.cells.map_or(by_cpus.max(by_memory), u64::from);
        usize::try_from(cells.max(1)).unwrap_or(usize::MAX)
    }
}

impl Rival for Nova {
    fn name(&self) -> &'static str {
        match self.strategy {
            Strategy::Spread => "nova spread",
            Strategy::Pack => "nova pack",
        }
    }

    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot> {
        let mut order: Vec<usize> = (0..view.nodes.len()).collect();
        // Stable sorts, the last key strongest.
        order.sort_by_key(|at| view.nodes[*at].unpromised());
        if view.dedicated {
            order.sort_by_key(|at| view.nodes[*at].free_threads);
        } else {
            order.sort_by_key(|at| std::cmp::Reverse(view.nodes[*at].runnable));
        }
        if self.strategy == Strategy::Spread {
            order.reverse();
        }
        let cells = self.cells(view, ask);
        let count = u32::try_from(cells).unwrap_or(u32::MAX);
        let (vcpus, memory) = (ask.vcpus.div_ceil(count), ask.memory.0.div_ceil(u64::from(count)));
        // Cells of one size: what fits one fits all, as the cache of pairs that did not fit finds out.
        let fits = |at: &usize| {
            let node = &view.nodes[*at];
            let cpus = if view.dedicated { node.free_threads } else { node.threads };
            cpus >= vcpus && node.unpromised() >= memory
        };
        let nodes = first_permutation(&order, cells, &fits)?;
        Some(Spot::on(nodes))
    }
}

/// The first arrangement of distinct host cells in which every guest cell fits.
fn first_permutation(order: &[usize], cells: usize, fits: &dyn Fn(&usize) -> bool) -> Option<Vec<usize>> {
    let chosen: Vec<usize> = order.iter().copied().filter(|at| fits(at)).take(cells).collect();
    (chosen.len() == cells).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, host};
    use super::*;

    fn place(nova: &mut Nova, free: &[u32], vcpus: u32) -> Option<Vec<usize>> {
        let (topology, mut nodes) = host(&vec![(16, 64); free.len()]);
        nodes.iter_mut().zip(free).for_each(|(node, free)| node.free_threads = *free);
        let view = View { topology: &topology, nodes: &nodes, dedicated: true };
        nova.place(&view, &ask(vcpus, 4)).map(|spot| spot.cpus)
    }

    #[test]
    fn spread_takes_the_emptiest_and_pack_the_fullest_that_fits() {
        assert_eq!(place(&mut Nova::new(Strategy::Spread), &[4, 12, 8], 4), Some(vec![1]));
        assert_eq!(place(&mut Nova::new(Strategy::Pack), &[4, 12, 8], 4), Some(vec![0]));
        assert_eq!(place(&mut Nova::new(Strategy::Pack), &[4, 12, 8], 5), Some(vec![2]));
    }

    #[test]
    fn one_cell_never_spans_and_several_take_distinct_host_cells() {
        assert_eq!(place(&mut Nova::new(Strategy::Spread), &[6, 6, 6], 8), None);
        assert_eq!(place(&mut Nova::new(Strategy::Spread).with_cells(2), &[6, 2, 7], 8), Some(vec![2, 0]));
        assert_eq!(place(&mut Nova::new(Strategy::Spread).with_cells(2), &[8, 2, 3], 8), None, "never twice the same");
        assert_eq!(
            place(&mut Nova::new(Strategy::Spread), &[16, 16], 32).map(|s| s.len()),
            Some(2),
            "wider than a cell"
        );
    }
}
