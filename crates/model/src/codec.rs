//! How values of other crates stand in XML: sizes, sets, identifiers, the words of memory policies.

use std::borrow::Cow;
use std::net::IpAddr;

use polyvirt_numa_placement::rules::{MemoryPlacement, VcpuPlacement};
use polyvirt_numa_placement::{CellSet, CpuSet, Kib, MemMode, NodeSet, SetError, VcpuSet};
use polyvirt_xml::{
    Codec, Scalar, Style, Value, ValueContext, ValueError, ValueKind, parse_bytes, unknown_word, write_decimal,
};
use uuid::Uuid;

/// Memory sizes: read in any unit, rounded up to whole KiB, printed in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Size;

impl Codec<Kib> for Size {
    const KIND: ValueKind = ValueKind::Size("KiB");
    const UNIT: Option<&'static str> = Some("KiB");

    fn parse(text: &str, context: &ValueContext<'_>) -> Result<Kib, ValueError> {
        parse_kib(text, context)
    }

    fn write(value: &Kib, _: Style, out: &mut String) {
        write_decimal(value.0, out);
    }

    fn scalar(value: &Kib) -> Scalar<'_> {
        Scalar::Unsigned(value.0)
    }
}

/// Sizes that are printed in the largest unit that divides them; read in any unit, rounded up to whole KiB.
#[derive(Clone, Copy, Debug)]
pub struct LargestUnit;

impl LargestUnit {
    fn split(value: Kib) -> (u64, &'static str) {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut number = value.0;
        let mut unit = 0;
        while number != 0 && number.is_multiple_of(1024) && unit + 1 < UNITS.len() {
            number /= 1024;
            unit += 1;
        }
        (number, UNITS[unit])
    }
}

impl Codec<Kib> for LargestUnit {
    const KIND: ValueKind = ValueKind::Size("KiB");
    const UNIT: Option<&'static str> = Some("KiB");

    fn unit(value: &Kib) -> Option<&'static str> {
        Some(Self::split(*value).1)
    }

    fn parse(text: &str, context: &ValueContext<'_>) -> Result<Kib, ValueError> {
        parse_kib(text, context)
    }

    fn write(value: &Kib, _: Style, out: &mut String) {
        write_decimal(Self::split(*value).0, out);
    }

    fn scalar(value: &Kib) -> Scalar<'_> {
        Scalar::Unsigned(value.0)
    }
}

/// Memory sizes that are printed in MiB; read in any unit, rounded up.
#[derive(Clone, Copy, Debug)]
pub struct Mebibytes;

impl Codec<Kib> for Mebibytes {
    const KIND: ValueKind = ValueKind::Size("MiB");
    const UNIT: Option<&'static str> = Some("M");

    fn parse(text: &str, context: &ValueContext<'_>) -> Result<Kib, ValueError> {
        parse_kib(text, context).map(|size| Kib::from_mib(size.mib_ceil()))
    }

    fn write(value: &Kib, _: Style, out: &mut String) {
        write_decimal(value.mib_ceil(), out);
    }

    fn scalar(value: &Kib) -> Scalar<'_> {
        Scalar::Unsigned(value.mib_ceil())
    }
}

/// KiB may count more bytes than 64 bits hold, but never more than libvirt's own limit of 2⁶³ bytes.
fn parse_kib(text: &str, context: &ValueContext<'_>) -> Result<Kib, ValueError> {
    let bytes = parse_bytes(text, context)?;
    if bytes > i64::MAX as u64 {
        let unit = context.unit.unwrap_or("bytes");
        return Err(ValueError::new(format!(
            "{} {unit} is too large, the largest size is {} bytes",
            text.trim(),
            i64::MAX
        )));
    }
    Ok(Kib::from_bytes_ceil(bytes))
}

/// Sizes in bytes: read in any unit, printed in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bytes;

impl Codec<u64> for Bytes {
    const KIND: ValueKind = ValueKind::Size("bytes");
    const UNIT: Option<&'static str> = Some("bytes");

    fn parse(text: &str, context: &ValueContext<'_>) -> Result<u64, ValueError> {
        parse_bytes(text, context)
    }

    fn write(value: &u64, _: Style, out: &mut String) {
        write_decimal(*value, out);
    }

    fn scalar(value: &u64) -> Scalar<'_> {
        Scalar::Unsigned(*value)
    }
}

/// Sizes in bytes whose unit is printed as `B`.
#[derive(Clone, Copy, Debug)]
pub struct Octets;

impl Codec<u64> for Octets {
    const KIND: ValueKind = ValueKind::Size("bytes");
    const UNIT: Option<&'static str> = Some("B");

    fn parse(text: &str, context: &ValueContext<'_>) -> Result<u64, ValueError> {
        parse_bytes(text, context)
    }

    fn write(value: &u64, _: Style, out: &mut String) {
        write_decimal(*value, out);
    }

    fn scalar(value: &u64) -> Scalar<'_> {
        Scalar::Unsigned(*value)
    }
}

/// Sets of numbers in libvirt's syntax, `0-2,^1,5`; printed canonically.
#[derive(Clone, Copy, Debug)]
pub struct Sets;

macro_rules! sets {
    ($($set:ty: $name:literal),*) => {$(
        impl Codec<$set> for Sets {
            const KIND: ValueKind = ValueKind::Syntax($name);

            fn parse(text: &str, _: &ValueContext<'_>) -> Result<$set, ValueError> {
                text.parse().map_err(|error: SetError| ValueError::new(error.to_string()).at(error.offset))
            }

            fn write(value: &$set, _: Style, out: &mut String) {
                // No text is the empty set but one that takes its members back. It never survives completion.
                let text = if value.is_empty() { "0,^0".to_owned() } else { value.to_string() };
                out.push_str(&text);
            }
        }
    )*};
}

sets!(CpuSet: "cpuset", NodeSet: "nodeset", VcpuSet: "vcpuset", CellSet: "cellset");

/// UUIDs, read with or without hyphens.
#[derive(Clone, Copy, Debug)]
pub struct Uuids;

impl Codec<Uuid> for Uuids {
    const KIND: ValueKind = ValueKind::Syntax("uuid");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Uuid, ValueError> {
        let trimmed = text.trim();
        // libvirt accepts hyphens anywhere and no other decoration.
        let digits: String = trimmed.chars().take(80).filter(|c| *c != '-' && !c.is_ascii_whitespace()).collect();
        let plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        Uuid::try_parse(&digits).ok().filter(|_| plain && trimmed.len() <= 80).ok_or_else(|| {
            let shown: String = trimmed.chars().take(80).collect();
            ValueError::new(format!("'{shown}' is not a UUID, which is 32 hexadecimal digits: 8-4-4-4-12"))
        })
    }

    fn write(value: &Uuid, _: Style, out: &mut String) {
        out.push_str(value.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }
}

/// IP addresses, numeric.
#[derive(Clone, Copy, Debug)]
pub struct IpAddresses;

impl Codec<IpAddr> for IpAddresses {
    const KIND: ValueKind = ValueKind::Syntax("ip-address");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<IpAddr, ValueError> {
        text.trim().parse().map_err(|_| {
            let shown: String = text.trim().chars().take(60).collect();
            ValueError::new(format!("'{shown}' is not an IP address like 192.0.2.1 or 2001:db8::1"))
        })
    }

    fn write(value: &IpAddr, _: Style, out: &mut String) {
        out.push_str(&value.to_string());
    }
}

/// Permissions of files: octal, printed with four digits.
#[derive(Clone, Copy, Debug)]
pub struct Octal;

impl Codec<u32> for Octal {
    const KIND: ValueKind = ValueKind::Syntax("octal");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<u32, ValueError> {
        let digits = text.trim();
        let octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        u32::from_str_radix(digits, 8).ok().filter(|&mode| octal && mode <= 0o777).ok_or_else(|| {
            let shown: String = digits.chars().take(40).collect();
            ValueError::new(format!("'{shown}' are no permissions, octal 0 to 777 are possible"))
        })
    }

    fn write(value: &u32, _: Style, out: &mut String) {
        out.push_str(&format!("{value:04o}"));
    }
}

/// The unit of a size where the format keeps it apart from the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeUnit(&'static str);

impl SizeUnit {
    const WORDS: &'static [&'static str] = &[
        "b", "byte", "bytes", "KB", "k", "KiB", "MB", "M", "MiB", "GB", "G", "GiB", "TB", "T", "TiB", "PB", "P", "PiB",
        "EB", "E", "EiB",
    ];
}

impl SizeUnit {
    /// What sizes are stored in.
    pub const KIB: Self = Self("KiB");

    /// So many of the unit, rounded up to whole KiB.
    ///
    /// # Errors
    /// More than 2⁶³ bytes.
    pub fn kib(self, number: u64) -> Result<Kib, ValueError> {
        parse_kib(&number.to_string(), &ValueContext { unit: Some(self.0), ..ValueContext::default() })
    }
}

impl Value for SizeUnit {
    const KIND: ValueKind = ValueKind::Words(Self::WORDS);

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        let known = Self::WORDS.iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
        known.map(|word| Self(word)).ok_or_else(|| unknown_word(text.trim(), Self::WORDS))
    }

    fn write(&self, _: Style, out: &mut String) {
        out.push_str(self.0);
    }

    fn scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(self.0))
    }
}

/// The words of `<vcpu placement>`, `<memory mode>` and `<memory placement>`.
#[derive(Clone, Copy, Debug)]
pub struct Words;

macro_rules! word_codec {
    ($ty:ty, { $($variant:ident = $word:literal),+ }) => {
        impl Codec<$ty> for Words {
            const KIND: ValueKind = ValueKind::Words(&[$($word),+]);

            fn parse(text: &str, _: &ValueContext<'_>) -> Result<$ty, ValueError> {
                match text {
                    $($word => Ok(<$ty>::$variant),)+
                    other => Err(unknown_word(other, &[$($word),+])),
                }
            }

            fn write(value: &$ty, _: Style, out: &mut String) {
                $(if *value == <$ty>::$variant {
                    out.push_str($word);
                })+
            }

            fn scalar(value: &$ty) -> Scalar<'_> {
                let mut out = String::new();
                Self::write(value, Style::Plain, &mut out);
                Scalar::Text(Cow::Owned(out))
            }
        }
    };
}

word_codec!(VcpuPlacement, { Static = "static", Auto = "auto" });
word_codec!(MemoryPlacement, { Default = "default", Static = "static", Auto = "auto" });
word_codec!(MemMode, {
    Strict = "strict", Preferred = "preferred", Interleave = "interleave", Restrictive = "restrictive"
});

#[cfg(test)]
mod tests {
    use super::*;

    fn kib(text: &str, unit: &str) -> Result<Kib, ValueError> {
        Size::parse(text, &ValueContext { style: Style::Plain, unit: Some(unit) })
    }

    #[test]
    fn sizes_round_up_and_are_bounded() {
        assert_eq!(kib("1025", "bytes"), Ok(Kib(2)));
        assert_eq!(kib("4", "MiB"), Ok(Kib(4096)));
        assert!(kib("8", "EiB").unwrap_err().message.contains("too large"));
        assert!(kib("99999999999999999999", "KiB").is_err());
        assert!(kib("1", "zz").unwrap_err().in_unit);
    }

    #[test]
    fn sets_say_where_they_are_wrong() {
        let error = <Sets as Codec<NodeSet>>::parse("0,3-1", &ValueContext::default()).unwrap_err();
        assert_eq!(error.offset, 2);
    }

    #[test]
    fn uuids_with_and_without_hyphens() {
        let context = ValueContext::default();
        let plain = Uuids::parse("c7a5fdbdedaf9455926ad65c16db1809", &context);
        assert_eq!(plain, Uuids::parse("c7a5fdbd-edaf-9455-926a-d65c16db1809", &context));
        for bad in
            ["", "c7a5fdbd", "{c7a5fdbd-edaf-9455-926a-d65c16db1809}", "urn:uuid:c7a5fdbd-edaf-9455-926a-d65c16db1809"]
        {
            assert!(Uuids::parse(bad, &context).is_err(), "{bad}");
        }
    }
}
