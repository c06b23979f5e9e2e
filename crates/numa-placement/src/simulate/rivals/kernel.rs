//! No placement at all: threads run wherever CPUs are idle, and memory lies where it was first touched.

use super::{Ask, Rival, Spot, View};

/// The kernel's own balancing.
#[derive(Debug, Default)]
pub struct Kernel;

impl Rival for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn place(&mut self, view: &View<'_>, _: &Ask) -> Option<Spot> {
        Some(Spot::anywhere(view))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, host};
    use super::*;

    #[test]
    fn a_guest_is_everywhere() {
        let (topology, nodes) = host(&[(2, 4); 3]);
        let view = View { topology: &topology, nodes: &nodes, dedicated: false };
        assert_eq!(Kernel.place(&view, &ask(1, 1)), Some(Spot::on(vec![0, 1, 2])));
    }
}
