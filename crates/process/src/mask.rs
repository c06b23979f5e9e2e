//! Sets of CPU and node numbers in the form the kernel takes: arrays of `unsigned long`.
//!
//! These are for the system calls of this crate; set algebra belongs to the placement types.

use std::fmt;

/// One more than the largest CPU or node number a mask holds. Far above any kernel's limit
/// (`NR_CPUS` is at most 8192 today); it bounds what hostile input can make us allocate.
pub const MAX_IDS: u32 = 65_536;

/// A number that no mask holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("number {0} is too large for a CPU or node; the largest is {max}", max = MAX_IDS - 1)]
pub struct IdTooLarge(pub u32);

const WORD: u32 = usize::BITS;

#[derive(Clone, Default, PartialEq, Eq)]
struct Bits(Vec<usize>);

impl Bits {
    fn collect(ids: impl IntoIterator<Item = u32>) -> Result<Self, IdTooLarge> {
        let mut words = Vec::new();
        for id in ids {
            if id >= MAX_IDS {
                return Err(IdTooLarge(id));
            }
            let at = (id / WORD) as usize;
            if at >= words.len() {
                words.resize(at + 1, 0);
            }
            words[at] |= 1 << (id % WORD);
        }
        Ok(Self(words))
    }

    /// Takes words as the kernel filled them; trailing empty ones are dropped so that equal sets are equal.
    fn from_words(mut words: Vec<usize>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        words.truncate((MAX_IDS / WORD) as usize);
        Self(words)
    }

    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..)
            .zip(&self.0)
            .flat_map(|(at, word)| (0..WORD).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * WORD + bit))
    }

    /// The kernel's list format: ascending, runs of two or more as `A-B`.
    fn list(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ids = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = ids.next() {
            let mut last = first;
            while ids.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            if first == last {
                write!(out, "{separator}{first}")?;
            } else {
                write!(out, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

macro_rules! mask {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $name(Bits);

        impl $name {
            /// The set of these numbers.
            ///
            /// # Errors
            /// [`IdTooLarge`] for the first number of [`MAX_IDS`] or more.
            pub fn new(ids: impl IntoIterator<Item = u32>) -> Result<Self, IdTooLarge> {
                Bits::collect(ids).map(Self)
            }

            /// The numbers, ascending.
            pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
                self.0.iter()
            }

            /// How many numbers there are.
            pub fn len(&self) -> usize {
                self.0.iter().count()
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.0.iter().next().is_none()
            }

            #[allow(dead_code, reason = "only one of the two kinds is read back from the kernel")]
            pub(crate) fn from_words(words: Vec<usize>) -> Self {
                Self(Bits::from_words(words))
            }

            pub(crate) fn words(&self) -> &[usize] {
                &self.0.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.list(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

mask! {
    /// Host CPUs, as `sched_setaffinity(2)` takes them. Printed in the kernel's list format (`0-3,8`).
    CpuMask
}
mask! {
    /// Host NUMA nodes, as `set_mempolicy(2)` takes them. Printed in the kernel's list format.
    NodeMask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_the_kernels_list_format() {
        for (ids, text) in
            [(vec![], ""), (vec![0], "0"), (vec![3, 1, 0], "0-1,3"), (vec![63, 64, 65, 130], "63-65,130")]
        {
            assert_eq!(CpuMask::new(ids).unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_no_kernel_has() {
        assert_eq!(NodeMask::new([1, MAX_IDS]), Err(IdTooLarge(MAX_IDS)));
        assert_eq!(NodeMask::new([MAX_IDS - 1]).unwrap().len(), 1);
    }

    #[test]
    fn trailing_empty_words_do_not_count() {
        assert_eq!(CpuMask::from_words(vec![5, 0, 0]), CpuMask::new([0, 2]).unwrap());
        assert!(CpuMask::from_words(vec![0]).is_empty());
    }

    proptest! {
        #[test]
        fn holds_exactly_what_it_was_given(ids in proptest::collection::btree_set(0u32..9000, 0..60)) {
            let mask = CpuMask::new(ids.iter().copied()).unwrap();
            prop_assert!(mask.iter().eq(ids.iter().copied()));
            prop_assert_eq!(mask.len(), ids.len());
        }
    }
}
