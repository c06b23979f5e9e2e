//! Who a network card is: its hardware address, and its port on a switch.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use polyvirt_xml::{Codec, Scalar, Style, Value, ValueContext, ValueError, ValueKind};
use uuid::Uuid;

use crate::codec::Uuids;

/// A hardware address, six bytes. All zeroes: none yet, completion draws one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// No address.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it names a group of cards instead of one.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl FromStr for MacAddress {
    type Err = ValueError;

    /// libvirt takes one digit or two a byte.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        bytes(text.trim()).map(Self).ok_or_else(|| {
            let shown: String = text.trim().chars().take(40).collect();
            ValueError::new(format!("'{shown}' is not a hardware address, which is like 52:54:00:12:34:56"))
        })
    }
}

fn bytes(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2))?;
        *byte = part.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u8::from_str_radix(part, 16).ok())??;
    }
    parts.next().is_none().then_some(bytes)
}

impl From<[u8; 6]> for MacAddress {
    fn from(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

impl Value for MacAddress {
    const KIND: ValueKind = ValueKind::Syntax("mac");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        text.parse()
    }

    fn write(&self, _: Style, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Owned(self.to_string()))
    }
}

/// A port of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortId {
    /// Of a virtual network.
    Network(Uuid),
    /// Of a distributed switch.
    Number(i64),
}

impl Value for PortId {
    const KIND: ValueKind = ValueKind::Syntax("portid");

    fn parse(text: &str, context: &ValueContext<'_>) -> Result<Self, ValueError> {
        if let Ok(number) = i64::parse(text, context) {
            return Ok(Self::Number(number));
        }
        Uuids::parse(text, context).map(Self::Network).map_err(|error| {
            let shown: String = text.trim().chars().take(80).collect();
            ValueError::new(format!("'{shown}' is neither a UUID nor a number")).at(error.offset)
        })
    }

    fn write(&self, style: Style, out: &mut String) {
        match self {
            Self::Network(port) => Uuids::write(port, style, out),
            Self::Number(port) => port.write(style, out),
        }
    }

    fn scalar(&self) -> Scalar<'_> {
        let mut out = String::new();
        self.write(Style::Plain, &mut out);
        Scalar::Text(Cow::Owned(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        let address: MacAddress = "52:54:0:AB:2:3".parse().unwrap();
        assert_eq!(address.to_string(), "52:54:00:ab:02:03");
        assert!(!address.is_multicast());
        assert!("01:00:00:00:00:00".parse::<MacAddress>().unwrap().is_multicast());
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:5g",
            "52-54-00-12-34-56",
            "52:54:00:12:34:567",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_numbers_or_identities() {
        let context = ValueContext::default();
        assert_eq!(PortId::parse("6", &context), Ok(PortId::Number(6)));
        let port = PortId::parse("873be5a0-6b8a-4a0b-a1df-ef3659cd64bc", &context).unwrap();
        assert_eq!(port.scalar(), Scalar::Text("873be5a0-6b8a-4a0b-a1df-ef3659cd64bc".into()));
        assert!(PortId::parse("x", &context).is_err());
    }
}
