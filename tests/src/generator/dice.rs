//! Choices from a seed: the same on every machine and in every release of this program.

use polyvirt::model::Kib;
use polyvirt_xml::{Style, Value, ValueContext, ValueKind};

/// A source of choices. SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014): a few lines, and
/// any seed is a good one.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn number(&mut self, low: u32, high: u32) -> u32 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        low + u32::try_from(self.bits() % span).expect("less than the span")
    }

    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.number(0, 99) < percent
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let last = u32::try_from(of.len()).expect("short lists").checked_sub(1).expect("a list of something");
        of[usize::try_from(self.number(0, last)).expect("an index")].clone()
    }

    /// So many times of a hundred one of these.
    pub fn maybe<T: Clone>(&mut self, percent: u32, of: &[T]) -> Option<T> {
        self.chance(percent).then(|| self.pick(of))
    }

    /// So many times of a hundred what `make` makes.
    pub fn sometimes<T>(&mut self, percent: u32, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }

    /// Any word that the model's description has for this type, but for these.
    ///
    /// # Panics
    /// When the type has no words, or these are all.
    pub fn word_but<T: Value>(&mut self, but: &[&str]) -> T {
        let (words, style) = match T::KIND {
            ValueKind::Words(words) => (words, Style::Plain),
            ValueKind::Bool => (&["yes", "no"][..], Style::YesNo),
            other => panic!("a type of {other:?} has no words"),
        };
        let left: Vec<&str> = words.iter().copied().filter(|word| !but.contains(word)).collect();
        let context = ValueContext { style, unit: None };
        T::parse(self.pick(&left), &context).unwrap_or_else(|error| panic!("a word of the description: {error}"))
    }

    /// Any word of the type.
    pub fn word<T: Value>(&mut self) -> T {
        self.word_but(&[])
    }

    /// So many times of a hundred a word, but for these.
    pub fn some_but<T: Value>(&mut self, percent: u32, but: &[&str]) -> Option<T> {
        self.chance(percent).then(|| self.word_but(but))
    }

    /// So many times of a hundred a word.
    pub fn some<T: Value>(&mut self, percent: u32) -> Option<T> {
        self.some_but(percent, &[])
    }

    /// So many mebibytes.
    pub fn mib(&mut self, low: u32, high: u32) -> Kib {
        Kib::from_mib(u64::from(self.number(low, high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt::model::disk::DiskCache;

    #[test]
    fn a_seed_gives_the_same_choices_always() {
        let mut dice = Dice::new(1);
        assert_eq!([dice.bits(), dice.bits()], [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67]);
        assert!((0..1000).map(|_| dice.number(3, 7)).all(|it| (3..=7).contains(&it)));
    }

    #[test]
    fn words_are_those_of_the_description() {
        let mut dice = Dice::new(7);
        let seen: std::collections::BTreeSet<&str> =
            (0..200).map(|_| dice.word_but::<DiskCache>(&["default"]).as_str()).collect();
        let all = DiskCache::WORDS.iter().copied().filter(|it| *it != "default").collect();
        assert_eq!(seen, all);
    }
}
