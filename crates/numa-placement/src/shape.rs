//! What the guest sees of NUMA: its cells, their sizes, vCPUs and distances. Planning never changes it.

use serde::{Deserialize, Serialize};

use crate::set::VcpuSet;
use crate::units::{GuestCell, Kib};

/// One cell of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellShape {
    /// Its number.
    pub cell: GuestCell,
    /// Its memory, without memory devices.
    pub memory: Kib,
    /// Its vCPUs; empty for a cell of memory only.
    pub vcpus: VcpuSet,
}

impl CellShape {
    /// A cell with this memory and these vCPUs.
    #[must_use]
    pub fn new(cell: GuestCell, memory: Kib, vcpus: VcpuSet) -> CellShape {
        CellShape { cell, memory, vcpus }
    }
}

/// What the guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestShape {
    /// Its cells, ascending; empty if the guest has none. Then a plan has one implied cell.
    pub cells: Vec<CellShape>,
    /// Maximum number of vCPUs.
    pub vcpus_max: u32,
    /// vCPUs that are there at the start.
    pub vcpus_online: u32,
    /// All memory, memory devices included.
    pub memory: Kib,
    /// Distances row by row, n × n for n cells; empty if none were given.
    pub distances: Vec<u8>,
}

impl GuestShape {
    /// A guest without cells; all vCPUs are there at the start.
    #[must_use]
    pub fn flat(vcpus: u32, memory: Kib) -> GuestShape {
        GuestShape { cells: Vec::new(), vcpus_max: vcpus, vcpus_online: vcpus, memory, distances: Vec::new() }
    }

    /// A guest with these cells; memory is their sum, all vCPUs are there at the start.
    #[must_use]
    pub fn with_cells(mut cells: Vec<CellShape>, vcpus: u32) -> GuestShape {
        cells.sort_by_key(|cell| cell.cell);
        let memory = cells.iter().map(|cell| cell.memory).sum();
        GuestShape { cells, vcpus_max: vcpus, vcpus_online: vcpus, memory, distances: Vec::new() }
    }

    /// This many vCPUs are there at the start, at most all.
    #[must_use]
    pub fn online(mut self, vcpus: u32) -> GuestShape {
        self.vcpus_online = vcpus.min(self.vcpus_max);
        self
    }

    /// These distances between the cells, row by row.
    #[must_use]
    pub fn distances(mut self, distances: Vec<u8>) -> GuestShape {
        self.distances = distances;
        self
    }

    /// The cells to plan: the guest's own, or one implied cell 0 with everything.
    ///
    /// A vCPU that no cell names is put into cell 0 (rule C5 makes definitions say so).
    #[must_use]
    pub fn planned_cells(&self) -> Vec<CellShape> {
        let all = self.vcpus_max.checked_sub(1).map_or(VcpuSet::new(), |last| VcpuSet::of_range(0, last));
        if self.cells.is_empty() {
            return vec![CellShape::new(GuestCell(0), self.memory, all)];
        }
        let mut cells = self.cells.clone();
        let named = cells.iter().fold(VcpuSet::new(), |set, cell| set.union(&cell.vcpus));
        cells[0].vcpus = cells[0].vcpus.union(&all.difference(&named));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_without_cells_has_one_implied_cell() {
        let cells = GuestShape::flat(3, Kib(77)).planned_cells();
        assert_eq!(cells, [CellShape::new(GuestCell(0), Kib(77), VcpuSet::of_range(0, 2))]);
        assert!(GuestShape::flat(0, Kib(1)).planned_cells()[0].vcpus.is_empty());
    }

    #[test]
    fn vcpus_that_no_cell_names_go_to_cell_0() {
        let one = CellShape::new(GuestCell(1), Kib(1), VcpuSet::of_range(2, 3));
        let zero = CellShape::new(GuestCell(0), Kib(1), VcpuSet::new());
        let shape = GuestShape::with_cells(vec![one, zero], 5);
        assert_eq!(shape.planned_cells()[0].vcpus.to_string(), "0-1,4");
        assert_eq!(shape.memory, Kib(2));
    }
}
