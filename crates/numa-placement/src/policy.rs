//! Memory policies and page sizes, the words shared by definitions, plans and drivers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::set::NodeSet;
use crate::units::Kib;

/// How memory is bound to host nodes; the words of `<numatune>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemMode {
    /// Only these nodes; an allocation fails rather than come from elsewhere (`MPOL_BIND`).
    Strict,
    /// These nodes first, others when they are full (`MPOL_PREFERRED`, for several `MPOL_PREFERRED_MANY`).
    Preferred,
    /// Page by page in turn over these nodes (`MPOL_INTERLEAVE`).
    Interleave,
    /// No policy at all: the cpuset cgroup confines the guest, and may be changed while it runs.
    Restrictive,
}

impl MemMode {
    /// All modes, in the order of libvirt's documentation.
    pub const ALL: [MemMode; 4] = [MemMode::Interleave, MemMode::Strict, MemMode::Preferred, MemMode::Restrictive];

    /// The word in a definition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MemMode::Strict => "strict",
            MemMode::Preferred => "preferred",
            MemMode::Interleave => "interleave",
            MemMode::Restrictive => "restrictive",
        }
    }
}

impl fmt::Display for MemMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not one of the four words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no memory mode: write 'strict', 'preferred', 'interleave' or 'restrictive'")]
pub struct UnknownMode(pub String);

impl FromStr for MemMode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<MemMode, UnknownMode> {
        let word_short = || word.chars().take(40).collect();
        MemMode::ALL.into_iter().find(|mode| mode.as_str() == word).ok_or_else(|| UnknownMode(word_short()))
    }
}

/// A policy that may be applied: how, and to which nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemPolicy {
    /// `None`: nothing is asked of the hypervisor or the kernel.
    pub mode: Option<MemMode>,
    /// The host nodes; empty if there is no mode.
    pub nodes: NodeSet,
    /// Interleaved memory goes by the weights of the nodes (`MPOL_WEIGHTED_INTERLEAVE`) and not page by page in turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weighted: bool,
}

impl MemPolicy {
    /// No policy: memory comes from wherever the kernel takes it.
    #[must_use]
    pub const fn none() -> MemPolicy {
        MemPolicy { mode: None, nodes: NodeSet::new(), weighted: false }
    }

    /// This mode on these nodes.
    #[must_use]
    pub const fn new(mode: MemMode, nodes: NodeSet) -> MemPolicy {
        MemPolicy { mode: Some(mode), nodes, weighted: false }
    }

    /// Interleaved memory by the weights of the nodes.
    #[must_use]
    pub const fn weighted(mut self, weighted: bool) -> MemPolicy {
        self.weighted = weighted;
        self
    }

    /// The word of QEMU's memory backends, which come with the nodes as `host-nodes`. `None`: emit neither
    /// (rules Q6 and Q7: no node set, or restrictive; QEMU has no word for weights, so the policy of its process counts).
    #[must_use]
    pub fn qemu_word(&self) -> Option<&'static str> {
        match self.mode? {
            _ if self.nodes.is_empty() => None,
            MemMode::Strict => Some("bind"),
            MemMode::Preferred => Some("preferred"),
            MemMode::Interleave if self.weighted => None,
            MemMode::Interleave => Some("interleave"),
            MemMode::Restrictive => None,
        }
    }
}

/// The page size memory is taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PageSize {
    /// The host's ordinary pages (transparent huge pages included).
    #[default]
    Base,
    /// Pages of this size, from the host's pools.
    Huge(Kib),
}

/// The page size that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PageRequest {
    /// Ordinary pages.
    #[default]
    Base,
    /// `<hugepages/>` without a size: the host's default huge page size.
    DefaultHuge,
    /// This size. The host's base page size means ordinary pages.
    Size(Kib),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_their_words() {
        for mode in MemMode::ALL {
            assert_eq!(mode.as_str().parse::<MemMode>().unwrap(), mode);
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert!("Strict".parse::<MemMode>().unwrap_err().to_string().contains("'Strict'"));
    }

    #[test]
    fn q6_the_policy_word_of_a_qemu_backend() {
        let on = |mode| MemPolicy::new(mode, NodeSet::of_range(0, 1)).qemu_word();
        assert_eq!(on(MemMode::Strict), Some("bind"));
        assert_eq!(on(MemMode::Preferred), Some("preferred"));
        assert_eq!(on(MemMode::Interleave), Some("interleave"));
        assert_eq!(MemPolicy::new(MemMode::Strict, NodeSet::new()).qemu_word(), None);
        assert_eq!(MemPolicy::none().qemu_word(), None);
    }

    #[test]
    fn weights_are_left_to_the_policy_of_the_process() {
        let policy = MemPolicy::new(MemMode::Interleave, NodeSet::of_range(0, 1));
        let plain = serde_json::to_string(&policy).unwrap();
        assert!(!plain.contains("weighted"), "older readers know nothing of it: {plain}");
        let weighted = policy.weighted(true);
        assert_eq!(weighted.qemu_word(), None);
        let text = serde_json::to_string(&weighted).unwrap();
        assert_eq!(serde_json::from_str::<MemPolicy>(&text).unwrap(), weighted);
    }

    #[test]
    fn q7_restrictive_emits_nothing() {
        assert_eq!(MemPolicy::new(MemMode::Restrictive, NodeSet::of_range(0, 1)).qemu_word(), None);
    }
}
