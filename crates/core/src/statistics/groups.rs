//! Groups of numbers, and sets of them.

use std::fmt;

/// A group of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StatsGroup {
    /// What the guest is doing.
    State,
    /// CPU time of all that serves it.
    CpuTotal,
    /// Its memory.
    Balloon,
    /// Its vCPUs.
    Vcpu,
    /// Its network cards.
    Interface,
    /// Its disks.
    Block,
    /// Its I/O threads.
    IoThread,
    /// How fast it writes its memory.
    DirtyRate,
}

impl StatsGroup {
    /// All, in virsh's order.
    pub const ALL: &'static [Self] = &[
        Self::State,
        Self::CpuTotal,
        Self::Balloon,
        Self::Vcpu,
        Self::Interface,
        Self::Block,
        Self::IoThread,
        Self::DirtyRate,
    ];

    /// The name of virsh's option for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::CpuTotal => "cpu-total",
            Self::Balloon => "balloon",
            Self::Vcpu => "vcpu",
            Self::Interface => "interface",
            Self::Block => "block",
            Self::IoThread => "iothread",
            Self::DirtyRate => "dirtyrate",
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

impl fmt::Display for StatsGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of groups.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StatsGroups(u16);

impl StatsGroups {
    /// Every group.
    #[must_use]
    pub fn all() -> Self {
        StatsGroup::ALL.iter().copied().collect()
    }

    /// Whether the group is in it.
    #[must_use]
    pub fn contains(self, group: StatsGroup) -> bool {
        self.0 & group.bit() != 0
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its groups, in virsh's order.
    pub fn iter(self) -> impl Iterator<Item = StatsGroup> {
        StatsGroup::ALL.iter().copied().filter(move |group| self.contains(*group))
    }
}

impl FromIterator<StatsGroup> for StatsGroups {
    fn from_iter<T: IntoIterator<Item = StatsGroup>>(groups: T) -> Self {
        Self(groups.into_iter().fold(0, |all, group| all | group.bit()))
    }
}

impl From<StatsGroup> for StatsGroups {
    fn from(group: StatsGroup) -> Self {
        Self(group.bit())
    }
}

impl fmt::Display for StatsGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.iter().enumerate() {
            write!(f, "{}{group}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for StatsGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_groups() {
        let some: StatsGroups = [StatsGroup::Block, StatsGroup::State].into_iter().collect();
        assert_eq!(some.to_string(), "state, block");
        assert!(StatsGroups::all().without(some).and(some).is_empty());
        assert_eq!(StatsGroups::all().iter().count(), StatsGroup::ALL.len());
        assert_eq!(some.without(StatsGroup::State.into()).iter().collect::<Vec<_>>(), [StatsGroup::Block]);
    }
}
