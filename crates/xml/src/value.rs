//! Values: what stands in an attribute or between two tags.

use std::borrow::Cow;

use crate::suggest::nearest;

/// How a field spells its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As the type does.
    #[default]
    Plain,
    /// Integers as `0x` and at least so many digits. Read like C does: `0x1f`, `31`, and octal `037`.
    Hex(u8),
    /// Booleans as `yes` and `no`.
    YesNo,
    /// Booleans as `on` and `off`.
    OnOff,
}

/// What reading one value may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ValueContext<'a> {
    /// The spelling of the field.
    pub style: Style,
    /// For sizes: the unit that was written, or the field's default.
    pub unit: Option<&'a str>,
}

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// What is wrong with it and what would have been right, the value included.
    pub message: String,
    /// The nearest known word.
    pub suggestion: Option<String>,
    /// Where in the value, in bytes.
    pub offset: usize,
    /// The unit is wrong, not the number.
    pub in_unit: bool,
}

impl ValueError {
    /// An error about the whole value.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None, offset: 0, in_unit: false }
    }

    /// Moves the error to a byte of the value.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }
}

/// A value in the form that JSON and TOML know.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Text, words, sets, identifiers.
    Text(Cow<'a, str>),
    /// Whole numbers; sizes are in the unit of their type.
    Unsigned(u64),
    /// Whole numbers that may be negative.
    Signed(i64),
    /// Yes and no, on and off.
    Bool(bool),
}

/// What values a type has, for schemas and reference documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueKind {
    /// Any text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A whole number in a range.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: u64,
    },
    /// Yes or no.
    Bool,
    /// Text in a syntax of its own: its name, for example `cpuset` or `uuid`.
    Syntax(&'static str),
    /// A size that is printed in this unit and read in any.
    Size(&'static str),
}

/// A type that can stand in an attribute or between two tags.
///
/// Types of other crates cannot implement it where they are used; a [`Codec`] does that.
pub trait Value: Sized + 'static {
    /// What values there are.
    const KIND: ValueKind;

    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with the text.
    fn parse(text: &str, context: &ValueContext<'_>) -> Result<Self, ValueError>;

    /// Appends the text of the value, not escaped.
    fn write(&self, style: Style, out: &mut String);

    /// The value for JSON and TOML.
    fn scalar(&self) -> Scalar<'_>;
}

/// How values of `T` are read and written: `#[xml(attr, codec = Sets)]`. The codec is a type of the crate that uses it, so
/// it can be written for types of other crates.
pub trait Codec<T>: 'static {
    /// What values there are.
    const KIND: ValueKind;
    /// The unit of the number, for sizes.
    const UNIT: Option<&'static str> = None;

    /// The unit that is printed beside this value; [`Codec::UNIT`] unless a codec picks it by size. JSON and TOML always
    /// count in [`Codec::UNIT`].
    fn unit(_value: &T) -> Option<&'static str> {
        Self::UNIT
    }

    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with the text.
    fn parse(text: &str, context: &ValueContext<'_>) -> Result<T, ValueError>;

    /// Appends the text of the value, not escaped.
    fn write(value: &T, style: Style, out: &mut String);

    /// The value for JSON and TOML; text by default.
    fn scalar(value: &T) -> Scalar<'_> {
        let mut out = String::new();
        Self::write(value, Style::Plain, &mut out);
        Scalar::Text(Cow::Owned(out))
    }
}

/// The codec of types that implement [`Value`].
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl<T: Value> Codec<T> for Plain {
    const KIND: ValueKind = T::KIND;
    fn parse(text: &str, context: &ValueContext<'_>) -> Result<T, ValueError> {
        T::parse(text, context)
    }
    fn write(value: &T, style: Style, out: &mut String) {
        value.write(style, out);
    }
    fn scalar(value: &T) -> Scalar<'_> {
        value.scalar()
    }
}

impl Value for String {
    const KIND: ValueKind = ValueKind::Text;
    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        Ok(text.to_owned())
    }
    fn write(&self, _: Style, out: &mut String) {
        out.push_str(self);
    }
    fn scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(self))
    }
}

impl Value for bool {
    const KIND: ValueKind = ValueKind::Bool;
    fn parse(text: &str, context: &ValueContext<'_>) -> Result<Self, ValueError> {
        let (yes, no) = bool_words(context.style);
        match trim(text) {
            word if word == yes => Ok(true),
            word if word == no => Ok(false),
            word => Err(unknown_word(word, &[yes, no])),
        }
    }
    fn write(&self, style: Style, out: &mut String) {
        let (yes, no) = bool_words(style);
        out.push_str(if *self { yes } else { no });
    }
    fn scalar(&self) -> Scalar<'_> {
        Scalar::Bool(*self)
    }
}

/// The text without white space around it.
#[must_use]
pub fn trim(text: &str) -> &str {
    // Nearly no value has any, and finding that out takes Unicode's tables otherwise.
    match text.as_bytes() {
        [only] if only.is_ascii_graphic() => text,
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

/// The words a style has for true and false.
#[must_use]
pub fn bool_words(style: Style) -> (&'static str, &'static str) {
    if style == Style::OnOff { ("on", "off") } else { ("yes", "no") }
}

/// The error for a word that is not among the known ones.
#[must_use]
pub fn unknown_word(word: &str, known: &[&str]) -> ValueError {
    let shown: String = word.chars().take(80).collect();
    let list = known.iter().map(|w| format!("'{w}'")).collect::<Vec<_>>().join(", ");
    ValueError {
        suggestion: nearest(word, known.iter().copied()).map(str::to_owned),
        ..ValueError::new(format!("'{shown}' is not one of {list}"))
    }
}

/// Reads a whole number as `style` spells it.
///
/// # Errors
/// The text is no number, or not within 64 bits.
pub fn parse_integer(text: &str, style: Style) -> Result<i128, ValueError> {
    if let Some(number) = few_digits(text) {
        return Ok(number);
    }
    let trimmed = text.trim();
    let (negative, digits) = trimmed.strip_prefix('-').map_or((false, trimmed), |rest| (true, rest));
    let (digits, radix) = match (style, digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))) {
        (Style::Hex(_), Some(hex)) => (hex, 16),
        (Style::Hex(_), None) if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    let shown = || trimmed.chars().take(80).collect::<String>();
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ValueError::new(format!("'{}' is not a whole number", shown())));
    }
    let digits = digits.trim_start_matches('0');
    let number = if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, radix) };
    match number.map(i128::from) {
        Ok(number) => Ok(if negative { -number } else { number }),
        Err(_) => {
            let message = format!("{} is larger than any number here, the largest is {}", shown(), u64::MAX);
            Err(ValueError::new(message))
        }
    }
}

/// What nearly all numbers are: at most 18 decimal digits, the first of which says that they are not octal.
fn few_digits(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let first = bytes.first()?;
    if bytes.len() > 18 || *first == b'0' && bytes.len() > 1 {
        return None;
    }
    let digit = |number: u64, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'));
    bytes.iter().try_fold(0, digit).map(i128::from)
}

macro_rules! integers {
    ($($t:ty: $scalar:ident as $wide:ty, bits $bits:ty, magnitude $decimal:expr),*) => {$(
        impl Value for $t {
            const KIND: ValueKind = ValueKind::Integer { min: <$t>::MIN as i64, max: <$t>::MAX as u64 };
            fn parse(text: &str, context: &ValueContext<'_>) -> Result<Self, ValueError> {
                let number = parse_integer(text, context.style)?;
                Self::try_from(number).map_err(|_| {
                    ValueError::new(format!("{number} is out of range, {} to {} is possible", Self::MIN, Self::MAX))
                })
            }
            fn write(&self, style: Style, out: &mut String) {
                match style {
                    Style::Hex(width) => {
                        out.push_str("0x");
                        write_digits::<16>(<$bits>::from_ne_bytes(self.to_ne_bytes()).into(), width.max(1), out);
                    }
                    _ => {
                        #[allow(unused_comparisons, reason = "some of them have no sign")]
                        if *self < 0 {
                            out.push('-');
                        }
                        write_decimal($decimal(*self).into(), out);
                    }
                }
            }
            fn scalar(&self) -> Scalar<'_> {
                Scalar::$scalar(<$wide>::from(*self))
            }
        }
    )*};
}

integers!(
    u8: Unsigned as u64, bits u8, magnitude u64::from,
    u16: Unsigned as u64, bits u16, magnitude u64::from,
    u32: Unsigned as u64, bits u32, magnitude u64::from,
    u64: Unsigned as u64, bits u64, magnitude u64::from,
    i32: Signed as i64, bits u32, magnitude i32::unsigned_abs,
    i64: Signed as i64, bits u64, magnitude i64::unsigned_abs
);

/// Appends a whole number. Most values are one, and `write!` takes several times as long.
pub fn write_decimal(number: u64, out: &mut String) {
    write_digits::<10>(number, 1, out);
}

fn write_digits<const RADIX: u64>(mut number: u64, width: u8, out: &mut String) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number != 0 {
        let [digit, ..] = (number % RADIX).to_le_bytes();
        at -= 1;
        digits[at] = b"0123456789abcdef"[usize::from(digit)];
        number /= RADIX;
    }
    let digits = std::str::from_utf8(&digits[at..]).unwrap_or_default();
    (digits.len()..usize::from(width)).for_each(|_| out.push('0'));
    out.push_str(digits);
}

/// Declares an enumeration of words with its exact spellings.
///
/// ```
/// polyvirt_xml::words! {
///     /// How a guest sees the CPU.
///     pub enum CpuMode { Custom = "custom", HostModel = "host-model" }
/// }
/// assert_eq!(CpuMode::HostModel.as_str(), "host-model");
/// assert!("host-modle".parse::<CpuMode>().unwrap_err().suggestion.is_some());
/// ```
#[macro_export]
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`")] $(#[$vmeta])* $variant,)+
        }

        impl $name {
            /// Every word, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                Self::WORDS[self as usize]
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::ValueError;
            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                match $crate::trim(text) {
                    $($word => Ok(Self::$variant),)+
                    other => Err($crate::unknown_word(other, Self::WORDS)),
                }
            }
        }

        impl $crate::Value for $name {
            const KIND: $crate::ValueKind = $crate::ValueKind::Words(Self::WORDS);
            fn parse(text: &str, _: &$crate::ValueContext<'_>) -> ::std::result::Result<Self, $crate::ValueError> {
                text.parse()
            }
            fn write(&self, _: $crate::Style, out: &mut String) {
                out.push_str(self.as_str());
            }
            fn scalar(&self) -> $crate::Scalar<'_> {
                $crate::Scalar::Text(self.as_str().into())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex() -> ValueContext<'static> {
        ValueContext { style: Style::Hex(2), unit: None }
    }

    #[test]
    fn integers_in_every_spelling() {
        assert_eq!(u32::parse("0x1f", &hex()), Ok(31));
        assert_eq!(u32::parse("31", &hex()), Ok(31));
        assert_eq!(u32::parse("037", &hex()), Ok(31));
        assert_eq!(u32::parse(" 0008 ", &ValueContext::default()), Ok(8));
        assert!(u32::parse("0x1f", &ValueContext::default()).is_err());
        for bad in ["", "-", "+1", "1 2", "0x", "١"] {
            assert!(u64::parse(bad, &hex()).is_err(), "{bad:?}");
        }
        assert_eq!(u8::parse("256", &hex()).unwrap_err().message, "256 is out of range, 0 to 255 is possible");
        assert!(u64::parse("18446744073709551616", &hex()).is_err());
        assert_eq!(i32::parse("-1", &ValueContext::default()), Ok(-1));
    }

    #[test]
    fn integers_are_written_as_read() {
        let mut out = String::new();
        31_u32.write(Style::Hex(4), &mut out);
        assert_eq!(out, "0x001f");
    }

    proptest::proptest! {
        #[test]
        fn numbers_are_written_as_rust_does(number: u64, shift in 0..64_u32, width in 0..24_u8) {
            let number = number >> shift;
            let signed = i64::from_ne_bytes(number.to_ne_bytes());
            let written = |write: &dyn Fn(&mut String)| { let mut out = String::new(); write(&mut out); out };
            let hex = Style::Hex(width);
            let wide = usize::from(width);
            for (ours, rusts) in [
                (written(&|out| number.write(Style::Plain, out)), number.to_string()),
                (written(&|out| signed.write(Style::Plain, out)), signed.to_string()),
                (written(&|out| number.write(hex, out)), format!("0x{number:0wide$x}")),
                (written(&|out| signed.write(hex, out)), format!("0x{signed:0wide$x}")),
            ] {
                proptest::prop_assert!(ours == rusts, "{} {}", ours, rusts);
            }
        }
    }

    #[test]
    fn words_suggest_the_nearest() {
        let error = bool::parse("yse", &ValueContext { style: Style::YesNo, unit: None }).unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("yes"));
        assert_eq!(error.message, "'yse' is not one of 'yes', 'no'");
    }
}
