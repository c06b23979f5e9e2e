//! Keys that are typed for a guest, by the names and codes of several code sets.
//!
//! A [`Key`] is a key's place on a PC keyboard, not the sign that a layout puts there. Pure; what a hypervisor makes of a key is its
//! driver's.

mod table;

use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, ErrorKind, Result};
use table::KEYS;

/// A key: its code of set 1, with bit 7 for the prefix `e0` (QEMU's "qnum", and what RFB's extended key events carry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u8);

impl Key {
    /// The code, bit 7 for the prefix `e0`.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

/// How keys are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeSet {
    /// Linux' names (`KEY_A`) and codes.
    #[default]
    Linux,
    /// Codes of set 1, with their prefix: `0x1e`, `0xe05b`.
    Xt,
    /// The same.
    AtSet1,
    /// Usages of USB's keyboard page.
    Usb,
    /// QEMU's numbers: codes of set 1, with bit 7 for the prefix.
    Qnum,
    /// The same, by its other name.
    Rfb,
}

impl CodeSet {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Linux, Self::Xt, Self::AtSet1, Self::Usb, Self::Qnum, Self::Rfb];

    /// The name in a word, as virsh writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Xt => "xt",
            Self::AtSet1 => "atset1",
            Self::Usb => "usb",
            Self::Qnum => "qnum",
            Self::Rfb => "rfb",
        }
    }

    /// The key of a name or a number, decimal or with `0x`.
    ///
    /// # Errors
    /// `InvalidArgument` if this set has no such key.
    pub fn key(self, text: &str) -> Result<Key> {
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        let found = match number {
            Some(code) => self.of_code(code),
            None if self == Self::Linux => {
                KEYS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text)).map(|(_, _, number, _)| *number)
            }
            None => None,
        };
        found.and_then(|it| u8::try_from(it).ok()).map(Key).ok_or_else(|| self.unknown(text))
    }

    fn of_code(self, code: u16) -> Option<u16> {
        let row = |wanted: &dyn Fn(&table::Row) -> bool| KEYS.iter().find(|it| wanted(it)).map(|it| it.2);
        match self {
            Self::Linux => row(&|it| it.1 == code),
            Self::Usb => row(&|it| code != 0 && it.3 == code),
            Self::Xt | Self::AtSet1 => match code {
                1..=0x7f => Some(code),
                0xe001..=0xe07f => Some(0x80 | (code & 0x7f)),
                _ => None,
            },
            Self::Qnum | Self::Rfb => (1..=0xff).contains(&code).then_some(code),
        }
    }

    fn unknown(self, text: &str) -> Error {
        let error = Error::new(
            ErrorKind::InvalidArgument,
            format!("the code set '{}' has no key '{}'", self.name(), text.escape_debug()),
        );
        let wanted = text.to_ascii_uppercase();
        let near = KEYS.iter().find(|(name, ..)| name.strip_prefix("KEY_") == Some(wanted.as_str()));
        match (self, near) {
            (Self::Linux, Some((name, ..))) => error.hint(format!("write {name}")),
            (Self::Linux, None) => error.hint("write a name such as KEY_A, KEY_LEFTCTRL or KEY_F1, or its code"),
            _ => error.hint("write a code such as 30 or 0x1e; names are for the code set 'linux'"),
        }
    }
}

/// Keys that are pressed together, in order, and let go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyPress {
    /// The keys.
    pub keys: Vec<Key>,
    /// How long they are held; `None` as the hypervisor likes.
    pub hold: Option<Duration>,
}

impl KeyPress {
    /// Keys in one press at most.
    pub const KEYS: usize = 16;
    /// How long they can be held.
    pub const HOLD: Duration = Duration::from_secs(60);

    /// A press of keys.
    ///
    /// # Errors
    /// `InvalidArgument` without keys, with more than [`Self::KEYS`], and if they are held longer than [`Self::HOLD`].
    pub fn new(keys: Vec<Key>, hold: Option<Duration>) -> Result<Self> {
        let wrong = |problem: String| Err(Error::new(ErrorKind::InvalidArgument, problem));
        if keys.is_empty() || keys.len() > Self::KEYS {
            return wrong(format!("{} keys at once; from 1 to {} work", keys.len(), Self::KEYS));
        }
        match hold {
            Some(hold) if hold > Self::HOLD => {
                wrong(format!("keys held for {} ms; at most {} work", hold.as_millis(), Self::HOLD.as_millis()))
            }
            _ => Ok(Self { keys, hold }),
        }
    }
}

/// Typing on the guest's keyboard.
#[async_trait]
pub trait Keyboard: Send + Sync {
    /// Presses keys and lets them go.
    ///
    /// *Behaviour*: returns when they were handed over; whether the guest reads them nobody knows. A paused guest has no one to read
    /// them: `InvalidState`.
    async fn send(&self, keys: &KeyPress) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(set: CodeSet, text: &str) -> Option<u8> {
        set.key(text).ok().map(Key::number)
    }

    #[test]
    fn one_key_by_all_its_names() {
        for (set, text) in [
            (CodeSet::Linux, "KEY_RIGHTCTRL"),
            (CodeSet::Linux, "key_rightctrl"),
            (CodeSet::Linux, "97"),
            (CodeSet::Xt, "0xe01d"),
            (CodeSet::AtSet1, "57373"),
            (CodeSet::Usb, "0xE4"),
            (CodeSet::Qnum, "157"),
            (CodeSet::Rfb, "0x9d"),
        ] {
            assert_eq!(number(set, text), Some(0x9d), "{} {text}", set.name());
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (set, text) in [
            (CodeSet::Linux, "KEY_"),
            (CodeSet::Linux, "0"),
            (CodeSet::Linux, "65536"),
            (CodeSet::Linux, "-1"),
            (CodeSet::Xt, "0xe000"),
            (CodeSet::Xt, "128"),
            (CodeSet::Usb, "0"),
            (CodeSet::Usb, "KEY_A"),
            (CodeSet::Qnum, "256"),
        ] {
            let error = set.key(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{} {text}", set.name());
            assert!(error.remedy().is_some());
        }
        assert_eq!(CodeSet::Linux.key("enter").unwrap_err().remedy(), Some("write KEY_ENTER"));
    }

    #[test]
    fn no_two_keys_share_a_name_or_a_number() {
        for pick in [|it: &table::Row| it.1, |it: &table::Row| it.2, |it: &table::Row| it.3] {
            let mut codes: Vec<_> = KEYS.iter().map(pick).filter(|it| *it != 0).collect();
            let all = codes.len();
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), all);
        }
        assert!(KEYS.iter().all(|(name, _, number, _)| name.starts_with("KEY_") && *number < 0x100));
    }

    #[test]
    fn a_press_is_bounded() {
        let key = CodeSet::Linux.key("KEY_A").unwrap();
        assert!(KeyPress::new(vec![key; 16], Some(KeyPress::HOLD)).is_ok());
        assert!(KeyPress::new(vec![], None).is_err());
        assert!(KeyPress::new(vec![key; 17], None).is_err());
        assert!(KeyPress::new(vec![key], Some(KeyPress::HOLD + Duration::from_millis(1))).is_err());
    }
}
