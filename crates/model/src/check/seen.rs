//! What a definition gives once, and where it did.

use std::collections::HashMap;
use std::hash::Hash;

/// So many are looked through one by one: most guests have no more of anything, and nothing is hashed for them.
const FEW: usize = 16;

/// Keys that were seen, each with what is said about the last of it. Any number may come from a hostile document.
pub(crate) struct Seen<K, V = ()> {
    few: Vec<(K, V)>,
    /// All of them, once there are more.
    many: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Seen<K, V> {
    pub(crate) fn new() -> Self {
        Self { few: Vec::new(), many: HashMap::new() }
    }

    /// Adds a key. What was said about it before, if it was there already.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.many.is_empty() {
            if let Some((_, known)) = self.few.iter_mut().find(|(known, _)| *known == key) {
                return Some(std::mem::replace(known, value));
            }
            if self.few.len() < FEW {
                self.few.push((key, value));
                return None;
            }
            self.many.extend(self.few.drain(..));
        }
        self.many.insert(key, value)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        if self.many.is_empty() {
            return self.few.iter().find(|(known, _)| known == key).map(|(_, value)| value);
        }
        self.many.get(key)
    }
}

impl<K: Eq + Hash> Seen<K> {
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }
}

impl<K: Eq + Hash> FromIterator<K> for Seen<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut seen = Self::new();
        for key in keys {
            seen.insert(key, ());
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(keys in prop::collection::vec(0..30_u8, 0..60)) {
            let (mut seen, mut map) = (Seen::new(), HashMap::new());
            for (at, key) in keys.into_iter().enumerate() {
                prop_assert_eq!(seen.insert(key, at), map.insert(key, at));
                prop_assert!((0..30).all(|key| seen.get(&key) == map.get(&key)));
            }
        }
    }
}
