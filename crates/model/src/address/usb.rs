//! Ports of USB controllers and hubs.

use std::borrow::Cow;
use std::fmt;

use polyvirt_xml::{Scalar, Style, Value, ValueContext, ValueError, ValueKind};

/// Hubs may be cascaded so deep (manual: formatdomain, Device Addresses).
const MAX_DEPTH: usize = 4;

/// A USB port: the port of the controller and those of the hubs behind it, `2.1` for port 1 of the hub at port 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UsbPort {
    /// Ports from the controller on; 0 ends the list.
    path: [u8; MAX_DEPTH],
}

impl UsbPort {
    /// A port of the controller itself.
    #[must_use]
    pub fn new(port: u8) -> Self {
        Self { path: [port, 0, 0, 0] }
    }

    /// A port of the controller and those of the hubs behind it; `None` for no port, more hubs than can be, or a hub's port 0.
    #[must_use]
    pub fn of_path(ports: &[u8]) -> Option<Self> {
        let mut path = [0; MAX_DEPTH];
        path.get_mut(..ports.len())?.copy_from_slice(ports);
        (!ports.is_empty() && !ports.iter().skip(1).any(|&port| port == 0)).then_some(Self { path })
    }

    /// The ports from the controller on.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        let depth = self.path.iter().skip(1).position(|&port| port == 0).map_or(MAX_DEPTH, |at| at + 1);
        &self.path[..depth]
    }
}

impl From<u8> for UsbPort {
    fn from(port: u8) -> Self {
        Self::new(port)
    }
}

impl fmt::Display for UsbPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<String> = self.path().iter().map(u8::to_string).collect();
        f.pad(&path.join("."))
    }
}

impl Value for UsbPort {
    const KIND: ValueKind = ValueKind::Syntax("usb-port");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        let wrong = || {
            let shown: String = text.trim().chars().take(40).collect();
            ValueError::new(format!("'{shown}' is not a USB port, which is up to four numbers like 1.2"))
        };
        let mut path = [0; MAX_DEPTH];
        for (index, part) in text.trim().split('.').enumerate() {
            let digits = !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
            let port: u8 = part.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
            // Port 0 of a controller is written where any port is meant; a hub has none.
            *path.get_mut(index).filter(|_| index == 0 || port > 0).ok_or_else(wrong)? = port;
        }
        Ok(Self { path })
    }

    fn write(&self, _: Style, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Owned(self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_paths() {
        let context = ValueContext::default();
        for port in ["1", "0", "1.2", "2.1.3.1"] {
            assert_eq!(UsbPort::parse(port, &context).unwrap().to_string(), port);
        }
        assert_eq!(UsbPort::parse("1.2", &context).unwrap().path(), [1, 2]);
        assert_eq!(UsbPort::of_path(&[1, 2]).unwrap().to_string(), "1.2");
        for bad in [&[][..], &[1, 0], &[1, 2, 3, 4, 5]] {
            assert_eq!(UsbPort::of_path(bad), None, "{bad:?}");
        }
        for bad in ["", ".", "1.", "1.0", "1.2.3.4.5", "256", "a", "+1"] {
            assert!(UsbPort::parse(bad, &context).is_err(), "{bad}");
        }
    }
}
