//! `<boot>` of a device: when it is tried.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use polyvirt_xml::{Element, Scalar, Style, Value, ValueContext, ValueError, ValueKind};

/// `<boot>` of a device: its place in the boot order.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Boot {
    /// From 1.
    #[xml(attr)]
    pub order: Option<u32>,
    /// s390: parameters of the boot loader, eight characters. Since 3.5.0.
    #[xml(attr)]
    pub loadparm: Option<LoadParm>,
}

/// What an s390 boot loader is told: one to eight capital letters, digits, points and blanks. Small letters are made large, as
/// libvirt does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadParm(String);

impl LoadParm {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoadParm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for LoadParm {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b' ';
        if (1..=8).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.to_ascii_uppercase()));
        }
        let shown: String = text.chars().take(40).collect();
        Err(ValueError::new(format!("'{shown}' is not one to eight letters, digits, points and blanks")))
    }
}

impl Value for LoadParm {
    const KIND: ValueKind = ValueKind::Syntax("loadparm");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        text.parse()
    }

    fn write(&self, _: Style, out: &mut String) {
        out.push_str(&self.0);
    }

    fn scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_eight_capital_letters() {
        assert_eq!("2.lp".parse::<LoadParm>().unwrap().as_str(), "2.LP");
        for bad in ["", "123456789", "a-b", "\u{e4}"] {
            assert!(bad.parse::<LoadParm>().is_err(), "{bad}");
        }
    }
}
