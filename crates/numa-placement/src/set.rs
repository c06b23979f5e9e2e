//! Sets of small numbers: host CPUs, host nodes, guest vCPUs, guest cells.
//!
//! One bitmap, four types: [`CpuSet`], [`NodeSet`], [`VcpuSet`] and [`CellSet`] cannot be mixed up. Two text forms are
//! read: libvirt's (`0-2,^1,5`) for what people write, by [`FromStr`](std::str::FromStr), and the kernel's list form
//! for sysfs, by [`IdSet::from_kernel_list`]. Both are canonical on output.
//!
//! Invariant: no number reaches [`LIMIT`]; so a set takes 2 KiB at most, whatever a file or a client says.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use crate::units::{GuestCell, HostCpu, HostNode, VcpuId};

mod text;
mod words;

pub use text::{SetError, SetErrorKind};
use words::Words;

/// Numbers are below this. libvirt bounds the bitmaps of its domain XML so, and Linux has no machine beyond it.
pub const LIMIT: u32 = 16_384;

mod sealed {
    pub trait Sealed {}
}

/// What the members of an [`IdSet`] are.
pub trait SetKind: sealed::Sealed + Copy + Eq + Ord + Hash + fmt::Debug + Default + Send + Sync + 'static {
    /// The members' own type.
    type Id: Copy + Ord + From<u32> + Into<u32> + fmt::Debug;
    /// The word for a member in messages.
    const WORD: &'static str;
}

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $id:ty, $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl SetKind for $name {
            type Id = $id;
            const WORD: &'static str = $word;
        }
    };
}
kind!(
    /// Marker of [`CpuSet`].
    Cpus, HostCpu, "CPU");
kind!(
    /// Marker of [`NodeSet`].
    Nodes, HostNode, "node");
kind!(
    /// Marker of [`VcpuSet`].
    Vcpus, VcpuId, "vCPU");
kind!(
    /// Marker of [`CellSet`].
    Cells, GuestCell, "cell");

/// A set of host CPUs.
pub type CpuSet = IdSet<Cpus>;
/// A set of host NUMA nodes.
pub type NodeSet = IdSet<Nodes>;
/// A set of a guest's vCPUs.
pub type VcpuSet = IdSet<Vcpus>;
/// A set of a guest's NUMA cells.
pub type CellSet = IdSet<Cells>;

/// A set of numbers below [`LIMIT`].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdSet<K: SetKind> {
    /// Bit `n % 64` of word `n / 64`; the last word is never zero, so equal sets are equal words.
    words: Words,
    kind: PhantomData<K>,
}

impl<K: SetKind> IdSet<K> {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        IdSet { words: Words::new(), kind: PhantomData }
    }

    /// The set of this one member (empty if the number is not below [`LIMIT`]).
    #[must_use]
    pub fn of(id: impl Into<K::Id>) -> Self {
        std::iter::once(id.into()).collect()
    }

    /// The set `first..=last`, cut at [`LIMIT`]; empty if it runs backwards.
    #[must_use]
    pub fn of_range(first: u32, last: u32) -> Self {
        let mut set = Self::new();
        set.insert_range(first, last);
        set
    }

    /// Adds a member; returns whether the set holds it now, which only a number at or above [`LIMIT`] prevents.
    pub fn insert(&mut self, id: impl Into<K::Id>) -> bool {
        let id: u32 = id.into().into();
        if id >= LIMIT {
            return false;
        }
        self.insert_range(id, id);
        true
    }

    /// Takes a member away; returns whether it was there.
    pub fn remove(&mut self, id: impl Into<K::Id>) -> bool {
        let id: u32 = id.into().into();
        let there = self.has(id);
        if there {
            self.words[word(id)] &= !bit(id);
            self.trim();
        }
        there
    }

    /// Whether it is a member.
    #[must_use]
    pub fn contains(&self, id: impl Into<K::Id>) -> bool {
        self.has(id.into().into())
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// The smallest member.
    #[must_use]
    pub fn first(&self) -> Option<K::Id> {
        self.iter().next()
    }

    /// The largest member.
    #[must_use]
    pub fn last(&self) -> Option<K::Id> {
        self.numbers_rev().next().map(K::Id::from)
    }

    /// Members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = K::Id> + '_ {
        self.numbers().map(K::Id::from)
    }

    /// Maximal runs `(first, last)`, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut numbers = self.numbers().peekable();
        std::iter::from_fn(move || {
            let first = numbers.next()?;
            let mut last = first;
            while let Some(next) = numbers.next_if(|n| *n == last + 1) {
                last = next;
            }
            Some((first, last))
        })
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self::from_words(self.words.iter().zip(other.words.iter()).map(|(a, b)| a & b).collect())
    }

    /// How many members both have.
    #[must_use]
    pub fn intersection_len(&self, other: &Self) -> usize {
        self.words.iter().zip(other.words.iter()).map(|(a, b)| (a & b).count_ones() as usize).sum()
    }

    /// Members of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (long, short) = if self.words.len() >= other.words.len() { (self, other) } else { (other, self) };
        let mut words = long.words.clone();
        for (word, more) in words.iter_mut().zip(short.words.iter()) {
            *word |= more;
        }
        Self::from_words(words)
    }

    /// Members of `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        Self::from_words(self.words.iter().zip(theirs).map(|(a, b)| a & !b).collect())
    }

    /// Whether every member of `self` is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words.len() <= other.words.len() && self.words.iter().zip(other.words.iter()).all(|(a, b)| a & !b == 0)
    }

    /// Whether they share no member.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.words.iter().zip(other.words.iter()).all(|(a, b)| a & b == 0)
    }

    fn from_words(words: Words) -> Self {
        let mut set = IdSet { words, kind: PhantomData };
        set.trim();
        set
    }

    fn trim(&mut self) {
        let used = self.words.iter().rposition(|w| *w != 0).map_or(0, |at| at + 1);
        self.words.truncate(used);
    }

    fn has(&self, id: u32) -> bool {
        self.words.get(word(id)).is_some_and(|w| w & bit(id) != 0)
    }

    fn insert_range(&mut self, first: u32, last: u32) {
        let last = last.min(LIMIT - 1);
        if first > last {
            return;
        }
        if self.words.len() <= word(last) {
            self.words.grow(word(last) + 1);
        }
        for at in word(first)..=word(last) {
            let low = if at == word(first) { u64::MAX << (first % 64) } else { u64::MAX };
            let high = if at == word(last) { u64::MAX >> (63 - last % 64) } else { u64::MAX };
            self.words[at] |= low & high;
        }
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(self.words.iter()).flat_map(|(at, word)| bits(*word).map(move |b| at * 64 + b))
    }

    fn numbers_rev(&self) -> impl Iterator<Item = u32> + '_ {
        let top = (0u32..).zip(self.words.iter()).last();
        top.into_iter().map(|(at, word)| at * 64 + (63 - word.leading_zeros()))
    }
}

const fn word(id: u32) -> usize {
    (id / 64) as usize
}

const fn bit(id: u32) -> u64 {
    1 << (id % 64)
}

fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let lowest = word.trailing_zeros();
        word &= word - 1;
        Some(lowest)
    })
}

impl<K: SetKind, T: Into<K::Id>> FromIterator<T> for IdSet<K> {
    /// Numbers at or above [`LIMIT`] are left out.
    fn from_iter<I: IntoIterator<Item = T>>(ids: I) -> Self {
        let mut set = Self::new();
        set.extend(ids);
        set
    }
}

impl<K: SetKind, T: Into<K::Id>> Extend<T> for IdSet<K> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, ids: I) {
        for id in ids {
            self.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn plain(set: &CpuSet) -> BTreeSet<u32> {
        set.iter().map(u32::from).collect()
    }

    fn made(ids: &BTreeSet<u32>) -> CpuSet {
        ids.iter().copied().map(HostCpu).collect()
    }

    proptest! {
        #[test]
        fn algebra_is_that_of_plain_sets(
            a in prop::collection::btree_set(0u32..300, 0..40),
            b in prop::collection::btree_set(0u32..300, 0..40),
        ) {
            let (x, y) = (made(&a), made(&b));
            prop_assert_eq!(plain(&x.union(&y)), &a | &b);
            prop_assert_eq!(plain(&x.intersection(&y)), &a & &b);
            prop_assert_eq!(x.intersection_len(&y), (&a & &b).len());
            prop_assert_eq!(plain(&x.difference(&y)), &a - &b);
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.is_disjoint(&y), a.is_disjoint(&b));
            prop_assert_eq!(x.len(), a.len());
            prop_assert_eq!(x.first().map(u32::from), a.first().copied());
            prop_assert_eq!(x.last().map(u32::from), a.last().copied());
            prop_assert_eq!(x == y, a == b);
            let runs: BTreeSet<u32> = x.ranges().flat_map(|(f, l)| f..=l).collect();
            prop_assert_eq!(runs, a);
        }
    }

    #[test]
    fn removing_the_top_makes_sets_equal_again() {
        let mut set = CpuSet::of(HostCpu(3));
        set.insert(HostCpu(900));
        assert!(set.remove(HostCpu(900)));
        assert!(!set.remove(HostCpu(900)));
        assert_eq!(set, CpuSet::of(HostCpu(3)));
    }

    #[test]
    fn numbers_beyond_the_limit_are_not_held() {
        let mut set = NodeSet::new();
        assert!(!set.insert(HostNode(LIMIT)));
        assert!(!set.contains(HostNode(u32::MAX)));
        assert!(set.insert(HostNode(LIMIT - 1)));
        assert_eq!(NodeSet::of_range(16_382, u32::MAX).len(), 2);
        assert!(NodeSet::of_range(3, 1).is_empty());
    }
}
