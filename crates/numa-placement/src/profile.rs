//! What a driver can express. The engine plans inside it, so that every plan can be applied.

use serde::{Deserialize, Serialize};

use crate::policy::MemMode;
use crate::units::Kib;

/// Guest cells a driver can present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CellSupport {
    /// The guest sees the host's nodes, or nothing (containers).
    None,
    /// Virtual cells.
    Virtual {
        /// At most this many.
        max: u32,
    },
}

/// How the memory of a cell may spread over host nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodesPerCell {
    /// Each cell on one node (Xen's `pnode`).
    One,
    /// Each cell on a set of its own (QEMU's memory backends).
    Many,
    /// One set for the whole process (containers).
    Process,
}

/// A set of memory modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "a set with named members")]
pub struct ModeSet {
    /// [`MemMode::Strict`].
    pub strict: bool,
    /// [`MemMode::Preferred`].
    pub preferred: bool,
    /// [`MemMode::Interleave`].
    pub interleave: bool,
    /// [`MemMode::Interleave`] by weights, as the kernel has since 6.9.
    pub weighted: bool,
    /// [`MemMode::Restrictive`].
    pub restrictive: bool,
}

impl ModeSet {
    /// The four modes of libvirt's format.
    #[must_use]
    pub const fn libvirt() -> ModeSet {
        ModeSet { strict: true, preferred: true, interleave: true, weighted: false, restrictive: true }
    }

    /// Strict alone.
    #[must_use]
    pub const fn strict() -> ModeSet {
        ModeSet { strict: true, preferred: false, interleave: false, weighted: false, restrictive: false }
    }

    /// Whether the mode is in the set.
    #[must_use]
    pub const fn contains(&self, mode: MemMode) -> bool {
        match mode {
            MemMode::Strict => self.strict,
            MemMode::Preferred => self.preferred,
            MemMode::Interleave => self.interleave,
            MemMode::Restrictive => self.restrictive,
        }
    }
}

/// Threads that can be pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "a set with named members")]
pub struct PinSupport {
    /// vCPUs to sets they never leave.
    pub vcpu_hard: bool,
    /// vCPUs to sets they prefer.
    pub vcpu_soft: bool,
    /// The emulator thread.
    pub emulator: bool,
    /// I/O threads.
    pub io_threads: bool,
}

impl PinSupport {
    /// Hard pins of every thread, no soft ones.
    #[must_use]
    pub const fn hard() -> PinSupport {
        PinSupport { vcpu_hard: true, vcpu_soft: false, emulator: true, io_threads: true }
    }

    /// Hard and soft pins of vCPUs only (Xen).
    #[must_use]
    pub const fn vcpus_only() -> PinSupport {
        PinSupport { vcpu_hard: true, vcpu_soft: true, emulator: false, io_threads: false }
    }
}

/// Parts of a plan that may change while the guest runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "a set with named members")]
pub struct LiveSupport {
    /// Pins.
    pub pins: bool,
    /// The nodes of a restrictive policy.
    pub mems: bool,
    /// Moving pages between nodes.
    pub migrate: bool,
    /// Adding and removing memory devices.
    pub memory_devices: bool,
}

impl LiveSupport {
    /// Everything.
    #[must_use]
    pub const fn all() -> LiveSupport {
        LiveSupport { pins: true, mems: true, migrate: true, memory_devices: true }
    }
}

/// What a driver can express.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlacementProfile {
    /// Guest cells.
    pub cells: CellSupport,
    /// How the memory of a cell may spread.
    pub nodes_per_cell: NodesPerCell,
    /// Memory modes.
    pub modes: ModeSet,
    /// Whether sizes per node can be enforced; else they are promises only.
    pub exact_split: bool,
    /// Pins.
    pub pins: PinSupport,
    /// Huge page sizes the driver can use; empty: whatever the host has.
    pub page_sizes: Vec<Kib>,
    /// The driver's tools give up above this number of host nodes.
    pub max_host_nodes: Option<u32>,
    /// Changes while the guest runs.
    pub live: LiveSupport,
}

impl PlacementProfile {
    /// QEMU on Linux: virtual cells, several nodes per cell, all modes, hard pins.
    #[must_use]
    pub fn qemu() -> PlacementProfile {
        PlacementProfile {
            // MAX_NODES of QEMU's include/sysemu/numa.h.
            cells: CellSupport::Virtual { max: 128 },
            nodes_per_cell: NodesPerCell::Many,
            // Weights are the policy of the process.
            modes: ModeSet { weighted: true, ..ModeSet::libvirt() },
            exact_split: false,
            pins: PinSupport::hard(),
            page_sizes: Vec::new(),
            max_host_nodes: None,
            live: LiveSupport::all(),
        }
    }

    /// A container: no cells of its own, one policy for the process.
    #[must_use]
    pub fn container() -> PlacementProfile {
        PlacementProfile {
            cells: CellSupport::None,
            nodes_per_cell: NodesPerCell::Process,
            pins: PinSupport { vcpu_hard: true, ..PinSupport::default() },
            ..PlacementProfile::qemu()
        }
    }

    /// One host node per cell, strict, sizes enforced: Xen's vNUMA.
    #[must_use]
    pub fn one_node_per_cell() -> PlacementProfile {
        PlacementProfile {
            nodes_per_cell: NodesPerCell::One,
            modes: ModeSet::strict(),
            exact_split: true,
            pins: PinSupport::vcpus_only(),
            live: LiveSupport { pins: true, ..LiveSupport::default() },
            ..PlacementProfile::qemu()
        }
    }
}
