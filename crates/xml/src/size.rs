//! Sizes with units, as libvirt's manual lists them (formatdomain, "Memory Allocation").

use crate::suggest::nearest;
use crate::value::{Style, ValueContext, ValueError, parse_integer};

/// Units by word, in bytes. Matching ignores case, as libvirt's does; the lower-case `k` is the manual's.
const UNITS: [(&str, u64); 21] = [
    ("b", 1),
    ("byte", 1),
    ("bytes", 1),
    ("KB", 1_000),
    ("k", 1 << 10),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("T", 1 << 40),
    ("TiB", 1 << 40),
    ("PB", 1_000_000_000_000_000),
    ("P", 1 << 50),
    ("PiB", 1 << 50),
    ("EB", 1_000_000_000_000_000_000),
    ("E", 1 << 60),
    ("EiB", 1 << 60),
];

/// The bytes of one unit.
///
/// # Errors
/// The unit is not known; the message lists those that are.
pub fn unit_bytes(unit: &str) -> Result<u64, ValueError> {
    let trimmed = unit.trim();
    if let Some((_, bytes)) = UNITS.iter().find(|(word, _)| word.eq_ignore_ascii_case(trimmed)) {
        return Ok(*bytes);
    }
    let known = "b, bytes, KB, k, KiB, MB, M, MiB, GB, G, GiB, TB, T, TiB, PB, P, PiB, EB, E, EiB";
    let shown: String = trimmed.chars().take(40).collect();
    Err(ValueError {
        suggestion: nearest(trimmed, UNITS.iter().map(|(word, _)| *word)).map(str::to_owned),
        in_unit: true,
        ..ValueError::new(format!("unit '{shown}' is not known, possible are {known}"))
    })
}

/// A size in bytes, from a number and the unit in the context (bytes if there is none).
///
/// # Errors
/// No number, an unknown unit, or more than 64 bits of bytes.
pub fn parse_bytes(text: &str, context: &ValueContext<'_>) -> Result<u64, ValueError> {
    let unit = unit_bytes(context.unit.unwrap_or("bytes"))?;
    let number = parse_integer(text, Style::Plain)?;
    let number = u64::try_from(number).map_err(|_| ValueError::new(format!("{number} is negative, a size is not")))?;
    number.checked_mul(unit).ok_or_else(|| {
        let unit = context.unit.unwrap_or("bytes");
        ValueError::new(format!("{number} {unit} is too large, the largest size is {} bytes", u64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, unit: &str) -> Result<u64, ValueError> {
        parse_bytes(text, &ValueContext { style: Style::Plain, unit: Some(unit) })
    }

    #[test]
    fn units_of_the_manual() {
        assert_eq!(parse("2", "KB"), Ok(2000));
        assert_eq!(parse("2", "k"), Ok(2048));
        assert_eq!(parse("2", "kib"), Ok(2048));
        assert_eq!(parse(" 1 ", "EiB"), Ok(1 << 60));
    }

    #[test]
    fn refuses_unknown_units_and_overflow() {
        assert!(parse("1", "zz").unwrap_err().message.contains("KiB"));
        assert!(parse("1", "").is_err());
        assert!(parse("16", "EiB").unwrap_err().message.contains("too large"));
        assert!(parse("-1", "KiB").is_err());
    }
}
