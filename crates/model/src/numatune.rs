//! `<numatune>`: which host nodes a guest's memory comes from.

use polyvirt_numa_placement::rules::MemoryPlacement;
use polyvirt_numa_placement::{MemMode, NodeSet};
use polyvirt_xml::Element;

use crate::codec::{Sets, Words};

/// `<numatune>`. After completion it is what rules P1–P13 and M1–M8 store.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct NumaTune {
    /// The general policy.
    #[xml(child)]
    pub memory: Option<NumaMemory>,
    /// Policies of single guest cells. Since 1.2.7.
    #[xml(child)]
    pub memnode: Vec<MemNode>,
}

/// `<memory>` of `<numatune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct NumaMemory {
    /// The policy; absent: strict.
    #[xml(attr, codec = Words)]
    pub mode: Option<MemMode>,
    /// Host nodes.
    #[xml(attr, codec = Sets)]
    pub nodeset: Option<NodeSet>,
    /// Whether `nodeset` or the placement engine decides. Since 0.9.12.
    #[xml(attr, codec = Words)]
    pub placement: Option<MemoryPlacement>,
}

/// `<memnode>` of `<numatune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemNode {
    /// The guest cell; required (rule M3).
    #[xml(attr)]
    pub cellid: Option<u32>,
    /// The policy.
    #[xml(attr, codec = Words)]
    pub mode: Option<MemMode>,
    /// Host nodes; required (rule M4).
    #[xml(attr, codec = Sets)]
    pub nodeset: Option<NodeSet>,
}
