//! Devices of the client or the host behind a character device: smart cards, redirected USB devices, and which of them are
//! allowed.

use std::borrow::Cow;

use polyvirt_xml::{Element, Scalar, Style, Value, ValueContext, ValueError, ValueKind, words};

use super::{CharBackend, CharSource};
use crate::address::DeviceInfo;

words! {
    /// How a smart card is provided.
    pub enum SmartcardMode { Host = "host", HostCertificates = "host-certificates", Passthrough = "passthrough" }
}

/// `<smartcard>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Smartcard {
    /// How the card is provided.
    #[xml(attr)]
    pub mode: Option<SmartcardMode>,
    /// What is behind it, when passed through.
    #[xml(attr, name = "type")]
    pub kind: Option<CharBackend>,
    /// Certificates on the host.
    #[xml(leaf)]
    pub certificate: Vec<String>,
    /// Where the certificates are.
    #[xml(leaf)]
    pub database: Option<String>,
    /// Where the backend is.
    #[xml(group)]
    pub backend: CharSource,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// Buses whose devices a client can hand over.
    pub enum RedirBus { Usb = "usb" }
}

/// `<redirdev>`: a USB device of the client.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct RedirDev {
    /// The bus.
    #[xml(attr)]
    pub bus: Option<RedirBus>,
    /// What is behind it.
    #[xml(attr, name = "type")]
    pub kind: Option<CharBackend>,
    /// Where that is.
    #[xml(group)]
    pub backend: CharSource,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

/// `<redirfilter>`: which devices of the client are allowed.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct RedirFilter {
    /// Rules in order.
    #[xml(child)]
    pub usbdev: Vec<RedirRule>,
}

/// `<usbdev>`; absent or -1: any.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct RedirRule {
    /// The class.
    #[xml(attr)]
    pub class: Option<UsbClassFilter>,
    /// The vendor.
    #[xml(attr)]
    pub vendor: Option<UsbIdFilter>,
    /// The product.
    #[xml(attr)]
    pub product: Option<UsbIdFilter>,
    /// The device's revision (`bcdDevice`), not the protocol's.
    #[xml(attr)]
    pub version: Option<UsbVersionFilter>,
    /// Whether it is allowed.
    #[xml(attr, yesno)]
    pub allow: Option<bool>,
}

/// What a rule of `<redirfilter>` takes for any value.
const ANY: &str = "-1";

fn text_of(value: &impl Value) -> Scalar<'_> {
    let mut out = String::new();
    value.write(Style::Plain, &mut out);
    Scalar::Text(Cow::Owned(out))
}

macro_rules! filters {
    ($($(#[$doc:meta])* $name:ident($ty:ty), $width:literal, $what:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            /// Any.
            Any,
            /// This one.
            Is($ty),
        }

        impl Value for $name {
            const KIND: ValueKind = ValueKind::Syntax($what);

            fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
                if text.trim() == ANY {
                    return Ok(Self::Any);
                }
                let context = ValueContext { style: Style::Hex($width), unit: None };
                <$ty>::parse(text, &context).map(Self::Is)
            }

            fn write(&self, _: Style, out: &mut String) {
                match self {
                    Self::Any => out.push_str(ANY),
                    Self::Is(number) => out.push_str(&format!("0x{number:0width$X}", width = $width)),
                }
            }

            fn scalar(&self) -> Scalar<'_> {
                text_of(self)
            }
        }
    )*};
}

filters!(
    /// A class of USB devices in a rule: hexadecimal, or any.
    UsbClassFilter(u8), 2, "usb-class",
    /// A vendor or product of USB devices in a rule: hexadecimal, or any.
    UsbIdFilter(u16), 4, "usb-id",
);

/// A revision of USB devices in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsbVersionFilter {
    /// Any.
    Any,
    /// This one; both parts are decimal and at most 99.
    Is {
        /// Before the point.
        major: u8,
        /// After it.
        minor: u8,
    },
}

impl Value for UsbVersionFilter {
    const KIND: ValueKind = ValueKind::Syntax("usb-version");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        if text.trim() == ANY {
            return Ok(Self::Any);
        }
        let part = |part: &str| {
            let digits = matches!(part.len(), 1 | 2) && part.bytes().all(|digit| digit.is_ascii_digit());
            part.parse::<u8>().ok().filter(|_| digits)
        };
        // `2.5` is 2.05: the minor part is a number, not a fraction.
        let (major, minor) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
        match (part(major), part(minor)) {
            (Some(major), Some(minor)) => Ok(Self::Is { major, minor }),
            _ => {
                let shown: String = text.trim().chars().take(40).collect();
                Err(ValueError::new(format!("'{shown}' is neither a revision like 2.56 nor -1 for any")))
            }
        }
    }

    fn write(&self, _: Style, out: &mut String) {
        match self {
            Self::Any => out.push_str(ANY),
            Self::Is { major, minor } => out.push_str(&format!("{major}.{minor:02}")),
        }
    }

    fn scalar(&self) -> Scalar<'_> {
        text_of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same<T: Value + std::fmt::Debug>(written: &str, printed: &str) {
        let value = T::parse(written, &ValueContext::default()).unwrap();
        let mut out = String::new();
        value.write(Style::Plain, &mut out);
        assert_eq!(out, printed);
    }

    #[test]
    fn rules_in_every_spelling() {
        same::<UsbClassFilter>("8", "0x08");
        same::<UsbIdFilter>("0x15e1", "0x15E1");
        same::<UsbIdFilter>("-1", "-1");
        same::<UsbVersionFilter>("1.10", "1.10");
        same::<UsbVersionFilter>("-1", "-1");
        for bad in ["", "1.100", "x", "1.2.3", "-2"] {
            assert!(UsbVersionFilter::parse(bad, &ValueContext::default()).is_err(), "{bad}");
        }
        assert!(UsbClassFilter::parse("0x100", &ValueContext::default()).is_err());
    }
}
