//! From what a definition says about placement to what is stored: rules P1–P13 and M1–M8 of libvirt's format.
//!
//! Pure: it sees neither the host nor the XML. [`store`] takes [`Written`], what the elements said, and returns
//! [`Stored`], what is kept and printed, or every rule that is broken. The order of checks is libvirt's: words and
//! node sets, then the general policy (P6–P8), then the policies of cells (M1–M8).
//!
//! | rule | |
//! |---|---|
//! | P1 | no `placement` on `<vcpu>` means `static` |
//! | P2 | automatic vCPUs drop `cpuset` |
//! | P3 | automatic vCPUs without `<memory>` create `strict`, `auto` |
//! | P4 | static vCPUs without `<memory>` create nothing |
//! | P5 | `<memory>` without any attribute is ignored, and P3 with it |
//! | P6 | without a placement word: `static` if a node set is given or the vCPUs are static, else `auto` |
//! | P7 | `static` needs a node set |
//! | P8 | `auto` drops the node set |
//! | P9 | no mode means `strict` |
//! | P10 | automatic memory makes vCPUs automatic that nothing pins |
//! | P11 | and leaves those that something pins |
//! | P12 | automatic vCPUs with memory on named nodes is allowed |
//! | P13 | one `<numatune>` at most |
//! | M1 | no `memnode` beside an automatic general policy |
//! | M2 | no `memnode` without guest cells |
//! | M3 | `cellid` is required, exists, and comes once |
//! | M4 | `nodeset` is required and not empty; no mode means `strict` |
//! | M5 | `memnode` without `<memory>` is fine; the general mode counts as `strict` |
//! | M6 | a general `restrictive` allows no other mode for a cell |
//! | M7 | a cell may be `restrictive` only if the general mode is |
//! | M8 | otherwise modes mix freely |

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::MemMode;
use crate::set::{CpuSet, NodeSet};
use crate::units::GuestCell;

mod store;

pub use store::store;

/// `placement` of `<vcpu>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VcpuPlacement {
    /// `static`: by pins and `cpuset`.
    #[default]
    Static,
    /// `auto`: by advice.
    Auto,
}

/// `placement` of `<memory>`, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemoryPlacement {
    /// `default`: as if there were no word, but the element counts.
    Default,
    /// `static`: the node set.
    Static,
    /// `auto`: by advice.
    Auto,
}

/// `<memory>` of `<numatune>`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenMemory {
    /// `mode`.
    pub mode: Option<MemMode>,
    /// `placement`.
    pub placement: Option<MemoryPlacement>,
    /// `nodeset`.
    pub nodeset: Option<NodeSet>,
}

/// `<memnode>` of `<numatune>`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenMemnode {
    /// `cellid`.
    pub cellid: Option<u32>,
    /// `mode`.
    pub mode: Option<MemMode>,
    /// `nodeset`.
    pub nodeset: Option<NodeSet>,
}

/// What a definition says about placement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// How many `<numatune>` elements there are.
    pub numatune_elements: usize,
    /// `placement` of `<vcpu>`.
    pub vcpu_placement: Option<VcpuPlacement>,
    /// `cpuset` of `<vcpu>`.
    pub vcpu_cpuset: Option<CpuSet>,
    /// Whether there is a `<vcpupin>`.
    pub vcpu_pin: bool,
    /// Whether there is an `<emulatorpin>`.
    pub emulator_pin: bool,
    /// Whether there is an `<iothreadpin>`.
    pub io_thread_pin: bool,
    /// The first `<memory>` of `<numatune>`; others are ignored (P13).
    pub memory: Option<WrittenMemory>,
    /// All `<memnode>`, in document order.
    pub memnodes: Vec<WrittenMemnode>,
    /// Number of guest cells.
    pub cells: u32,
}

/// Where the general policy takes its nodes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GeneralNodes {
    /// These; never empty.
    Named(NodeSet),
    /// The advice, which then holds for everything.
    Auto,
}

/// The policy of `<memory>`, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GeneralPolicy {
    /// Its mode.
    pub mode: MemMode,
    /// Its nodes.
    pub nodes: GeneralNodes,
}

impl GeneralPolicy {
    /// This mode on named nodes.
    #[must_use]
    pub fn named(mode: MemMode, nodes: NodeSet) -> GeneralPolicy {
        GeneralPolicy { mode, nodes: GeneralNodes::Named(nodes) }
    }

    /// This mode on the nodes of the advice.
    #[must_use]
    pub fn auto(mode: MemMode) -> GeneralPolicy {
        GeneralPolicy { mode, nodes: GeneralNodes::Auto }
    }

    /// Whether the nodes come from the advice.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        self.nodes == GeneralNodes::Auto
    }

    /// The named nodes.
    #[must_use]
    pub fn named_nodes(&self) -> Option<&NodeSet> {
        match &self.nodes {
            GeneralNodes::Named(nodes) => Some(nodes),
            GeneralNodes::Auto => None,
        }
    }
}

/// The policy of a `<memnode>`, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellPolicy {
    /// The guest cell.
    pub cell: GuestCell,
    /// Its mode.
    pub mode: MemMode,
    /// Its nodes; never empty.
    pub nodes: NodeSet,
    /// It holds beside an automatic policy as well, which libvirt's format cannot say (M1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
}

impl CellPolicy {
    /// This mode on these nodes for that cell.
    #[must_use]
    pub fn new(cell: GuestCell, mode: MemMode, nodes: NodeSet) -> CellPolicy {
        CellPolicy { cell, mode, nodes, fixed: false }
    }

    /// The same, beside an automatic policy as well.
    #[must_use]
    pub fn fixed(self) -> CellPolicy {
        CellPolicy { fixed: true, ..self }
    }
}

/// What is stored and printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// `placement` of `<vcpu>`; always printed.
    pub vcpu_placement: VcpuPlacement,
    /// `cpuset` of `<vcpu>`.
    pub vcpu_cpuset: Option<CpuSet>,
    /// `<memory>`; printed with `nodeset` or with `placement='auto'`.
    pub memory: Option<GeneralPolicy>,
    /// `<memnode>`, ascending by cell.
    pub memnodes: Vec<CellPolicy>,
}

impl Stored {
    /// CPUs and memory automatic, strict: what `<vcpu placement='auto'>` alone is stored as (P3).
    #[must_use]
    pub fn auto() -> Stored {
        Stored {
            vcpu_placement: VcpuPlacement::Auto,
            memory: Some(GeneralPolicy::auto(MemMode::Strict)),
            ..Stored::default()
        }
    }

    /// This general policy instead.
    #[must_use]
    pub fn with_memory(mut self, policy: GeneralPolicy) -> Stored {
        self.memory = Some(policy);
        self
    }

    /// This `<vcpu cpuset>` instead.
    #[must_use]
    pub fn with_cpuset(mut self, cpus: CpuSet) -> Stored {
        self.vcpu_cpuset = Some(cpus);
        self
    }

    /// One more cell policy, replacing one of the same cell.
    #[must_use]
    pub fn with_memnode(mut self, policy: CellPolicy) -> Stored {
        self.memnodes.retain(|other| other.cell != policy.cell);
        self.memnodes.push(policy);
        self.memnodes.sort_by_key(|policy| policy.cell);
        self
    }

    /// Whether advice is needed at start: vCPUs or memory are automatic.
    #[must_use]
    pub fn wants_advice(&self) -> bool {
        self.vcpu_placement == VcpuPlacement::Auto || self.memory.as_ref().is_some_and(GeneralPolicy::is_auto)
    }

    /// Whether a `<numatune>` is printed.
    #[must_use]
    pub fn prints_numatune(&self) -> bool {
        self.memory.is_some() || !self.memnodes.is_empty()
    }

    /// The cell's own policy.
    #[must_use]
    pub fn memnode(&self, cell: GuestCell) -> Option<&CellPolicy> {
        self.memnodes.iter().find(|policy| policy.cell == cell)
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Violation {
    /// The rule's number, such as "P7".
    pub rule: String,
    /// The element or attribute, as a path from the document's root; positions count from 1.
    pub path: String,
    /// What is wrong, with the value.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {} (rule {})", self.path, self.message, self.remedy, self.rule)
    }
}

/// All broken rules, in the order of checks; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations(pub Vec<Violation>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, violation) in self.0.iter().enumerate() {
            write!(f, "{}{violation}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
