//! References, names and character rules of XML 1.0, and escaping in libvirt's dialect.

/// What `&…;` stands for.
pub(crate) struct Reference(pub(crate) char);

impl Reference {
    /// One of the five predefined entities or a character reference. There are no others: no document type is read.
    pub(crate) fn resolve(name: &str) -> Result<Self, String> {
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let c = match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match name.strip_prefix('#') {
                Some(rest) => {
                    let digits = rest.strip_prefix('x').map_or((rest, 10), |hex| (hex, 16));
                    if digits.0.starts_with('+') { None } else { number(digits.0, digits.1) }
                }
                None => None,
            },
        };
        match c {
            Some(c) if is_char(c) => Ok(Self(c)),
            _ => {
                let shown: String = name.chars().take(32).collect();
                Err(format!("'&{shown};' is not known; there are &lt; &gt; &amp; &quot; &apos; and &#number;"))
            }
        }
    }
}

/// Whether XML 1.0 allows the character at all (section 2.2).
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// The offset of the first character that XML does not allow.
pub(crate) fn first_forbidden(text: &str) -> Option<usize> {
    // Nearly every document is free of control bytes and of the one lead byte (0xEF) of the two forbidden code points
    // above ASCII; surrogates are no `char`s. A plain loop over bytes is vectorised.
    let suspect = |byte: &u8| (*byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || *byte == 0xEF;
    if text.as_bytes().iter().fold(false, |found, byte| found | suspect(byte)) {
        return text.find(|c| !is_char(c));
    }
    None
}

/// One entry per byte: a look into a table is the shortest loop over a short text.
const fn bytes_that<const N: usize>(listed: &[u8; N], control: bool, alphanumeric: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    loop {
        table[byte as usize] = control && byte < 0x20 || alphanumeric && byte.is_ascii_alphanumeric();
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    let mut at = 0;
    while at < N {
        table[listed[at] as usize] = true;
        at += 1;
    }
    table
}

/// What nearly every name of the domain format is made of.
static PLAIN: [bool; 256] = bytes_that(b"_", false, true);

/// What has to be escaped or dropped. 0xEF leads U+FFFE and U+FFFF, which XML cannot carry, among others.
static SPECIAL: [bool; 256] = bytes_that(b"&<>'\"\xEF", true, false);

/// What is not taken as it is from between quotes.
static DECODED: [bool; 256] = bytes_that(b"&<\n\t\r", false, false);

/// These, and the quotes.
static NOTABLE: [bool; 256] = bytes_that(b"&<\n\t\r'\"", false, false);

fn any(text: &str, table: &[bool; 256]) -> bool {
    text.bytes().any(|byte| table[usize::from(byte)])
}

/// Whether an attribute's value has to go through [`decode_attribute`].
pub(crate) fn is_encoded(raw: &str) -> bool {
    any(raw, &DECODED)
}

/// Whether a value may end with this byte, or has to because of it.
pub(crate) fn is_notable(byte: u8) -> bool {
    NOTABLE[usize::from(byte)]
}

/// Whether the byte can stand anywhere in a name, but a digit not first.
pub(crate) fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

/// Whether the text can be the name of an element or attribute, with at most one prefix.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{B7}'))
    };
    match name.split_once(':') {
        Some((prefix, local)) => plain(prefix) && plain(local),
        None => plain(name),
    }
}

/// Resolves references and normalises white space (section 3.3.3). An error names the offset.
pub(crate) fn decode_attribute(raw: &str, out: &mut String) -> Result<(), (usize, String)> {
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let at = raw.len() - rest.len();
        match c {
            '<' => return Err((at, "'<' inside a value, write &lt;".to_owned())),
            '&' => {
                let end = rest.find(';').ok_or_else(|| (at, "'&' begins no reference, write &amp;".to_owned()))?;
                let Reference(c) = Reference::resolve(&rest[1..end]).map_err(|message| (at, message))?;
                out.push(c);
                rest = &rest[end + 1..];
                continue;
            }
            '\r' if rest.starts_with("\r\n") => {}
            '\n' | '\t' | '\r' => out.push(' '),
            _ => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(())
}

/// Line ends as XML sees them (section 2.11).
pub(crate) fn normalize_newlines(raw: &str, out: &mut String) {
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            _ => out.push(c),
        }
    }
}

/// Where an escaped text will stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// Between single quotes.
    Attribute,
    /// Between tags.
    Text,
}

/// Whether some character has to be escaped or dropped.
pub(crate) fn is_special(value: &str) -> bool {
    any(value, &SPECIAL)
}

/// Writes a value so that reading gives it back; libvirt escapes both quotes everywhere. Characters that XML cannot carry
/// are dropped: they cannot come from a document.
pub(crate) fn escape(value: &str, place: Into, out: &mut String) {
    if !is_special(value) {
        out.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' if place == Into::Attribute => out.push_str("&#10;"),
            '\t' if place == Into::Attribute => out.push_str("&#9;"),
            c if is_char(c) => out.push(c),
            _ => {}
        }
    }
}
