//! Text forms of [`IdSet`].
//!
//! libvirt's: comma list of `N`, `A-B` and `^N`, where `^N` takes N away from what came before; blanks around items and
//! dashes. The kernel's (`cpulist`, Documentation/admin-guide/kernel-parameters): comma list of `N` and `A-B`, may be
//! empty. Canonical output: ascending, runs of two or more as `A-B`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{IdSet, LIMIT, SetKind};

/// Text longer than this is not looked at: the longest canonical list of 16384 numbers has about 48,000 characters.
const TEXT_LIMIT: usize = 128 * 1024;

/// Why a text is not a set, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
#[non_exhaustive]
pub struct SetError {
    /// Byte offset of the offending part.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: SetErrorKind,
}

/// What is wrong with the text of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetErrorKind {
    /// Nothing there at all.
    Empty,
    /// An item without a number: two commas in a row, or one at an end.
    EmptyItem,
    /// Not `N`, `A-B` or `^N`.
    NotAnItem(String),
    /// `A-B` with A > B.
    Backwards(u32, u32),
    /// A number at or above the limit.
    TooLarge(String),
    /// The text is longer than any set can need.
    TooLong(usize),
}

impl fmt::Display for SetErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetErrorKind::Empty => f.write_str("the set is empty: write numbers and ranges such as '0-3,5'"),
            SetErrorKind::EmptyItem => f.write_str("a number is missing beside a comma"),
            SetErrorKind::NotAnItem(text) => {
                // The text is anybody's: neither line ends nor control sequences pass.
                write!(f, "'{}' is none of 'N', 'A-B' and '^N'", text.escape_debug())
            }
            SetErrorKind::Backwards(first, last) => {
                write!(f, "'{first}-{last}' runs backwards: write '{last}-{first}'")
            }
            SetErrorKind::TooLarge(text) => write!(f, "'{text}' is too large: numbers end at {}", LIMIT - 1),
            SetErrorKind::TooLong(length) => write!(f, "{length} bytes are too long for a set"),
        }
    }
}

impl<K: SetKind> FromStr for IdSet<K> {
    type Err = SetError;

    /// Reads libvirt's form. The result may be empty (`0,^0`): whether that is allowed its user decides.
    fn from_str(text: &str) -> Result<Self, SetError> {
        if text.trim_matches(is_blank).is_empty() {
            return Err(SetError { offset: 0, kind: SetErrorKind::Empty });
        }
        parse(text, true)
    }
}

impl<K: SetKind> IdSet<K> {
    /// Reads the kernel's list form, as in `/sys/devices/system/cpu/online`; empty text is the empty set.
    ///
    /// # Errors
    /// [`SetError`], with the offset into `text`.
    pub fn from_kernel_list(text: &str) -> Result<Self, SetError> {
        if text.trim().is_empty() {
            return Ok(Self::new());
        }
        parse(text.trim_end(), false)
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn parse<K: SetKind>(text: &str, exclusions: bool) -> Result<IdSet<K>, SetError> {
    if text.len() > TEXT_LIMIT {
        return Err(SetError { offset: 0, kind: SetErrorKind::TooLong(text.len()) });
    }
    let mut set = IdSet::new();
    let mut offset = 0;
    for part in text.split(',') {
        let item = part.trim_matches(is_blank);
        let at = offset + (part.len() - part.trim_start_matches(is_blank).len());
        offset += part.len() + 1;
        if item.is_empty() {
            return Err(SetError { offset: at, kind: SetErrorKind::EmptyItem });
        }
        apply(&mut set, item, exclusions).map_err(|kind| SetError { offset: at, kind })?;
    }
    Ok(set)
}

fn apply<K: SetKind>(set: &mut IdSet<K>, item: &str, exclusions: bool) -> Result<(), SetErrorKind> {
    if let Some(excluded) = item.strip_prefix('^').filter(|_| exclusions) {
        let id = number(excluded, item)?;
        set.remove(K::Id::from(id));
        return Ok(());
    }
    match item.split_once('-') {
        None => {
            let id = number(item, item)?;
            set.insert_range(id, id);
        }
        Some((first, last)) => {
            let (first, last) =
                (number(first.trim_end_matches(is_blank), item)?, number(last.trim_start_matches(is_blank), item)?);
            if first > last {
                return Err(SetErrorKind::Backwards(first, last));
            }
            set.insert_range(first, last);
        }
    }
    Ok(())
}

fn number(digits: &str, item: &str) -> Result<u32, SetErrorKind> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SetErrorKind::NotAnItem(shortened(item)));
    }
    match digits.parse::<u32>() {
        Ok(id) if id < LIMIT => Ok(id),
        _ => Err(SetErrorKind::TooLarge(shortened(digits))),
    }
}

/// An error message quotes a word, not a megabyte.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

impl<K: SetKind> fmt::Display for IdSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (first, last) in self.ranges() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&first.to_string());
            if last > first {
                text.push('-');
                text.push_str(&last.to_string());
            }
        }
        f.pad(&text)
    }
}

impl<K: SetKind> fmt::Debug for IdSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl<K: SetKind> Serialize for IdSet<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: SetKind> Deserialize<'de> for IdSet<K> {
    /// The canonical text; unlike in a definition, an empty one is the empty set.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text.is_empty() { Ok(Self::new()) } else { text.parse().map_err(serde::de::Error::custom) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::set::{CpuSet, NodeSet};

    #[test]
    fn reads_libvirts_form() {
        for (text, canonical) in [
            ("0-2,^1,5", "0,2,5"),
            (" 0 , 1-3 ", "0-3"),
            ("0,^0", ""),
            ("^7,3", "3"),
            ("1,0,2", "0-2"),
            ("0-1", "0-1"),
            ("16383", "16383"),
            ("007", "7"),
            ("\t4\n", "4"),
            ("1 - 2", "1-2"),
        ] {
            assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn says_where_and_what_and_what_would_be_right() {
        for (text, offset, message) in [
            ("", 0, "the set is empty: write numbers and ranges such as '0-3,5'"),
            ("  ", 0, "the set is empty: write numbers and ranges such as '0-3,5'"),
            ("0, 3-1", 3, "'3-1' runs backwards: write '1-3'"),
            ("0,,1", 2, "a number is missing beside a comma"),
            ("0,", 2, "a number is missing beside a comma"),
            ("1,x", 2, "'x' is none of 'N', 'A-B' and '^N'"),
            ("^1-2", 0, "'^1-2' is none of 'N', 'A-B' and '^N'"),
            ("-1", 0, "'-1' is none of 'N', 'A-B' and '^N'"),
            ("1-", 0, "'1-' is none of 'N', 'A-B' and '^N'"),
            ("1 2", 0, "'1 2' is none of 'N', 'A-B' and '^N'"),
            ("16384", 0, "'16384' is too large: numbers end at 16383"),
            ("0-99999999999", 0, "'99999999999' is too large: numbers end at 16383"),
            ("1-10^10000000000", 0, "'1-10^10000000000' is none of 'N', 'A-B' and '^N'"),
        ] {
            let error = text.parse::<CpuSet>().unwrap_err();
            assert_eq!((error.offset, error.to_string().as_str()), (offset, message), "{text:?}");
        }
    }

    #[test]
    fn quotes_a_word_and_not_a_megabyte() {
        assert!("z".repeat(100_000).parse::<NodeSet>().unwrap_err().to_string().len() < 120);
        assert!(matches!("0,".repeat(1 << 20).parse::<NodeSet>().unwrap_err().kind, SetErrorKind::TooLong(_)));
    }

    #[test]
    fn reads_the_kernels_form() {
        assert_eq!(CpuSet::from_kernel_list("0-3,8\n").unwrap().to_string(), "0-3,8");
        assert!(CpuSet::from_kernel_list("\n").unwrap().is_empty());
        assert!(CpuSet::from_kernel_list("^1").is_err());
    }

    #[test]
    fn the_serde_form_is_the_canonical_text() {
        let set: NodeSet = "0,2-3".parse().unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), "\"0,2-3\"");
        assert_eq!(serde_json::from_str::<NodeSet>("\"0,2-3\"").unwrap(), set);
        assert_eq!(serde_json::from_str::<NodeSet>("\"\"").unwrap(), NodeSet::new());
        assert!(serde_json::from_str::<NodeSet>("\"99999\"").is_err());
    }

    proptest! {
        #[test]
        fn canonical_text_is_a_fixed_point(ids in prop::collection::btree_set(0u32..LIMIT, 1..60)) {
            let set: CpuSet = ids.into_iter().collect();
            let text = set.to_string();
            prop_assert_eq!(&text.parse::<CpuSet>().unwrap(), &set);
            prop_assert_eq!(&CpuSet::from_kernel_list(&text).unwrap(), &set);
        }

        #[test]
        fn no_text_panics(text in "[-0-9,^ x\u{e4}]{0,40}") {
            if let Err(error) = text.parse::<CpuSet>() {
                prop_assert!(text.is_char_boundary(error.offset));
            }
        }
    }
}
