//! Start tags as nearly all are written, read in one pass over their bytes.
//!
//! It has no errors and no say in what XML is: whatever is unusual, from white space around `=` to names beyond ASCII, and all
//! that is wrong is left to the tokenizer.
//!
//! Invariant: the tokenizer reads a tag that is recognised here the same way. A property test holds one beside the other.

use std::ops::Range;

use crate::document::MAX_NAME;
use crate::escape;

/// A start tag, with its attributes in the list that was handed in.
pub(crate) struct Tag {
    pub(crate) name: Range<usize>,
    pub(crate) is_empty: bool,
    /// The offset behind its `>`.
    pub(crate) end: usize,
}

/// An attribute as it is written.
pub(crate) struct Written {
    pub(crate) name: Range<usize>,
    /// What stands between the quotes.
    pub(crate) value: Range<usize>,
    /// Whether the value has to be decoded.
    pub(crate) is_encoded: bool,
}

/// The start tag whose `<` has the offset `start`; `attributes` is emptied first.
pub(crate) fn start_tag(text: &str, start: usize, attributes: &mut Vec<Written>) -> Option<Tag> {
    let bytes = text.as_bytes();
    attributes.clear();
    let name = name(bytes, start + 1)?;
    let mut at = name.end;
    loop {
        let blanks = at;
        while is_blank(*bytes.get(at)?) {
            at += 1;
        }
        match bytes[at] {
            b'>' => return Some(Tag { name, is_empty: false, end: at + 1 }),
            b'/' if bytes.get(at + 1) == Some(&b'>') => return Some(Tag { name, is_empty: true, end: at + 2 }),
            _ if at == blanks => return None,
            _ => {
                let attribute = attribute(bytes, at)?;
                at = attribute.value.end + 1;
                attributes.push(attribute);
            }
        }
    }
}

/// Where the text that begins at `start` ends, and whether it is white space.
pub(crate) fn text(text: &str, start: usize) -> (usize, bool) {
    let rest = &text.as_bytes()[start..];
    let blank = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
    let is_markup = |byte: &u8| matches!(byte, b'<' | b'&');
    let len = rest[blank..].iter().position(is_markup).map_or(rest.len(), |len| blank + len);
    (start + len, len == blank)
}

/// White space: there are no other control characters in a text that has come this far.
fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

/// A name without a prefix, of ASCII.
fn name(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = bytes.get(start..)?;
    let len = rest.iter().position(|byte| !escape::is_plain(*byte))?;
    (len > 0 && len <= MAX_NAME && rest[0].is_ascii_alphabetic()).then_some(start..start + len)
}

fn attribute(bytes: &[u8], start: usize) -> Option<Written> {
    let name = name(bytes, start)?;
    let &[b'=', quote @ (b'\'' | b'"')] = bytes.get(name.end..name.end + 2)? else { return None };
    let from = name.end + 2;
    let mut is_encoded = false;
    let mut rest = bytes[from..].iter();
    loop {
        let byte = *rest.find(|byte| escape::is_notable(**byte))?;
        if byte == quote {
            let end = bytes.len() - rest.len() - 1;
            return Some(Written { name, value: from..end, is_encoded });
        }
        is_encoded |= !matches!(byte, b'\'' | b'"');
    }
}
