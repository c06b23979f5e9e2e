//! The words of a bitmap: the first few in place, so that sets of a small host need no allocation.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// Numbers below 192 are held in place: the CPUs of two sockets of 96.
const INLINE: usize = 3;

/// A vector of words that starts in place. Only the words count, not where they are.
#[derive(Clone, Debug)]
pub(super) enum Words {
    /// So many of these; the others are zero.
    Few(u8, [u64; INLINE]),
    /// More than that, or less after a large set shrank.
    Many(Vec<u64>),
}

impl Words {
    pub(super) const fn new() -> Words {
        Words::Few(0, [0; INLINE])
    }

    /// Adds zeros up to this length.
    pub(super) fn grow(&mut self, length: usize) {
        match self {
            Words::Few(used, words) if length > INLINE => {
                let mut many = Vec::with_capacity(length);
                many.extend_from_slice(&words[..usize::from(*used)]);
                many.resize(length, 0);
                *self = Words::Many(many);
            }
            Words::Few(used, _) => *used = (*used).max(u8::try_from(length).unwrap_or(u8::MAX)),
            Words::Many(words) => words.resize(words.len().max(length), 0),
        }
    }

    /// Cuts to this length.
    pub(super) fn truncate(&mut self, length: usize) {
        match self {
            Words::Few(used, words) => {
                let length = length.min(usize::from(*used));
                words[length..].fill(0);
                *used = u8::try_from(length).unwrap_or(0);
            }
            Words::Many(words) => words.truncate(length),
        }
    }
}

impl Default for Words {
    fn default() -> Words {
        Words::new()
    }
}

impl Deref for Words {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match self {
            Words::Few(used, words) => &words[..usize::from(*used)],
            Words::Many(words) => words,
        }
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u64] {
        match self {
            Words::Few(used, words) => &mut words[..usize::from(*used)],
            Words::Many(words) => words,
        }
    }
}

impl FromIterator<u64> for Words {
    fn from_iter<I: IntoIterator<Item = u64>>(iter: I) -> Words {
        let iter = iter.into_iter();
        let mut words = Words::new();
        // The longest there can be is known for all set operations, so the vector is made once.
        words.grow(iter.size_hint().1.filter(|most| *most > INLINE).unwrap_or(0));
        let mut length = 0;
        for word in iter {
            if length >= words.len() {
                words.grow(length + 1);
            }
            words[length] = word;
            length += 1;
        }
        words.truncate(length);
        words
    }
}

impl PartialEq for Words {
    fn eq(&self, other: &Words) -> bool {
        **self == **other
    }
}

impl Eq for Words {}

impl PartialOrd for Words {
    fn partial_cmp(&self, other: &Words) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Words {
    fn cmp(&self, other: &Words) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Words {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(words: &Words) -> u64 {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        words.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn where_the_words_are_does_not_count() {
        let few: Words = [5, 7].into_iter().collect();
        let mut many: Words = [5, 7, 0, 0, 9].into_iter().collect();
        many.truncate(2);
        assert!(matches!((&few, &many), (Words::Few(..), Words::Many(_))));
        assert_eq!(few, many);
        assert_eq!(few.cmp(&many), Ordering::Equal);
        assert_eq!(hash(&few), hash(&many));
    }

    #[test]
    fn growing_keeps_what_is_there_and_cutting_clears() {
        let mut words: Words = [1, 2, 3].into_iter().collect();
        words.truncate(1);
        words.grow(3);
        assert_eq!(*words, [1, 0, 0]);
        words.grow(5);
        assert_eq!(*words, [1, 0, 0, 0, 0]);
        words.grow(2);
        assert_eq!(words.len(), 5, "growing never cuts");
    }

    #[test]
    fn a_filter_without_a_known_length_is_collected_too() {
        let words: Words = (0..9u64).filter(|n| n % 2 == 0).collect();
        assert_eq!(*words, [0, 2, 4, 6, 8]);
    }
}
