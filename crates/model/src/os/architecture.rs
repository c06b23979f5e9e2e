//! Names of CPU architectures.

use std::borrow::Cow;

use polyvirt_xml::{Codec, Scalar, Style, ValueContext, ValueError, ValueKind, unknown_word};

/// Names of CPU architectures, of which only known ones are read.
///
/// The field itself is text: drivers ask their hypervisors, who may know others.
#[derive(Clone, Copy, Debug)]
pub struct Architectures;

impl Architectures {
    /// Known names: the format's, and QEMU's own for targets that have none there.
    pub const WORDS: &'static [&'static str] = &[
        "aarch64",
        "alpha",
        "arm",
        "armv6l",
        "armv7b",
        "armv7l",
        "avr",
        "cris",
        "hppa",
        "i686",
        "ia64",
        "lm32",
        "loongarch64",
        "m68k",
        "microblaze",
        "microblazeel",
        "mips",
        "mips64",
        "mips64el",
        "mipsel",
        "openrisc",
        "or1k",
        "parisc",
        "parisc64",
        "ppc",
        "ppc64",
        "ppc64le",
        "ppcemb",
        "ppcle",
        "riscv32",
        "riscv64",
        "rx",
        "s390",
        "s390x",
        "sh4",
        "sh4eb",
        "sparc",
        "sparc64",
        "tricore",
        "unicore32",
        "x86_64",
        "xtensa",
        "xtensaeb",
    ];
}

impl Codec<String> for Architectures {
    const KIND: ValueKind = ValueKind::Words(Self::WORDS);

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<String, ValueError> {
        let text = text.trim();
        if Self::WORDS.contains(&text) { Ok(text.to_owned()) } else { Err(unknown_word(text, Self::WORDS)) }
    }

    fn write(value: &String, _: Style, out: &mut String) {
        out.push_str(value);
    }

    fn scalar(value: &String) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(value))
    }
}
