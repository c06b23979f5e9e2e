//! Sizes as they are written on the command line: a number, and a unit where it is not the usual one.

use polyvirt::placement::Kib;

use crate::failure::Failure;

/// The units that virsh takes: a letter and those with `iB` are powers of 1024, those with `B` powers of 1000.
fn unit(word: &str) -> Option<u64> {
    let word = word.to_ascii_lowercase();
    if matches!(word.as_str(), "b" | "byte" | "bytes") {
        return Some(1);
    }
    let power = "kmgtpe".find(word.chars().next()?)?;
    let base: u64 = match word.get(1..)? {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => return None,
    };
    base.checked_pow(u32::try_from(power + 1).ok()?)
}

/// A size in bytes; `usual` is how many bytes the unit has that is not written.
pub(super) fn bytes(text: &str, usual: u64) -> Result<u64, Failure> {
    let digits = text.trim().len() - text.trim().trim_start_matches(|it: char| it.is_ascii_digit()).len();
    let (number, word) = text.trim().split_at(digits);
    let scale = if word.trim().is_empty() { Some(usual) } else { unit(word.trim()) };
    let wrong = || {
        let shown: String = text.chars().take(40).collect();
        Failure::argument(format!("'{shown}' is no size: a number, with a unit such as KiB, M or GB if need be"))
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(scale.ok_or_else(wrong)?).ok_or_else(wrong)
}

/// A size in KiB, rounded up; that is its unit, too, if none is written.
pub(super) fn kib(text: &str) -> Result<Kib, Failure> {
    bytes(text, 1024).map(|bytes| Kib(bytes.div_ceil(1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_and_without_units() {
        for (text, size) in
            [("4", 4), ("4k", 4), ("1M", 1024), ("1MiB", 1024), ("1GB", 976_563), ("1025b", 2), (" 2 GiB ", 2 << 20)]
        {
            assert_eq!(kib(text).unwrap(), Kib(size), "{text}");
        }
        for text in ["", "M", "-1", "1X", "1Mi", "99999999999999999999", "18446744073709551615E", "ü"] {
            assert!(kib(text).is_err(), "{text}");
        }
    }
}
