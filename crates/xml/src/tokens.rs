//! From text to arena: the only place that touches the tokenizer.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::document::{Arena, Builder, Limits};
use crate::escape;
use crate::problem::{Position, Problem};

/// Offsets are kept in 32 bits.
const MAX_BYTES: usize = 1 << 30;

/// The text of a file, if it is UTF-8 (with or without a byte order mark) and not too large.
///
/// # Errors
/// What else it is, and where it stops being UTF-8.
pub fn decode<'b>(bytes: &'b [u8], limits: &Limits) -> Result<&'b str, Box<Problem>> {
    if bytes.len() > limits.bytes {
        return Err(too_large(bytes.len(), limits));
    }
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    if bytes.starts_with(&[0xFF, 0xFE])
        || bytes.starts_with(&[0xFE, 0xFF])
        || bytes.starts_with(b"\0<")
        || bytes.starts_with(b"<\0")
    {
        return Err(Box::new(Problem::error("/", "the document is in UTF-16, only UTF-8 is read")));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default();
        let at = Position::of(valid, valid.len());
        let mut problem = Problem::error("/", "this byte is not UTF-8, the only encoding that is read");
        problem.line = Some(at.line);
        problem.column = Some(at.column);
        Box::new(problem)
    })
}

fn too_large(len: usize, limits: &Limits) -> Box<Problem> {
    let limit = limits.bytes.min(MAX_BYTES);
    Box::new(Problem::error("/", format!("a document of {len} bytes, the limit is {limit}")))
}

/// Tokenizes a document into its arena.
pub(crate) fn read(text: &str, limits: Limits) -> Result<Arena, Box<Problem>> {
    if text.len() > limits.bytes.min(MAX_BYTES) {
        return Err(too_large(text.len(), &limits));
    }
    let text_start = text.len() - text.trim_start_matches('\u{FEFF}').len();
    let mut builder = Builder::new(text, limits);
    if let Some(at) = escape::first_forbidden(text) {
        return Err(builder.problem(at, "a control character that XML does not allow"));
    }
    let mut reader = Reader::from_str(&text[text_start..]);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    loop {
        let event = reader.read_event();
        let end = position(reader.buffer_position()) + text_start;
        match event {
            Ok(Event::Eof) => return builder.finish(),
            Ok(event) => token(&mut builder, text, &event, end)?,
            Err(error) => {
                let at = position(reader.error_position()) + text_start;
                return Err(builder.problem(at, lower_case(&error.to_string())));
            }
        }
    }
}

/// The character data of a piece of content without elements, from a document that was read before.
pub(crate) fn plain_text(content: &str) -> String {
    let mut out = String::new();
    let mut reader = Reader::from_str(content);
    loop {
        match reader.read_event() {
            Ok(Event::Text(text)) => escape::normalize_newlines(&text, &mut out),
            Ok(Event::CData(text)) => escape::normalize_newlines(&text, &mut out),
            Ok(Event::GeneralRef(name)) => {
                if let Ok(escape::Reference(c)) = escape::Reference::resolve(&name) {
                    out.push(c);
                }
            }
            Ok(Event::Eof) | Err(_) => return out,
            Ok(_) => {}
        }
    }
}

fn position(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Our messages begin in lower case and have no full stop; the tokenizer's do not all.
fn lower_case(message: &str) -> String {
    let mut chars = message.trim_end_matches('.').chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// One token that ends at the offset `end`.
fn token(builder: &mut Builder<'_>, text: &str, event: &Event<'_>, end: usize) -> Result<(), Box<Problem>> {
    match event {
        Event::Start(tag) => start_tag(builder, text, tag, end - 1 - tag.len()),
        Event::Empty(tag) => {
            start_tag(builder, text, tag, end - 2 - tag.len())?;
            builder.close(end, None, end)
        }
        Event::End(tag) => {
            let start = end.saturating_sub(tag.len() + 3);
            builder.close(start, Some(tag.name().0), end)
        }
        Event::Text(content) => builder.text(end - content.len()..end),
        Event::CData(content) => {
            if builder.is_outside() {
                return Err(builder.problem(end, "text outside the root element"));
            }
            builder.text(end - 3 - content.len()..end - 3)
        }
        Event::GeneralRef(name) => builder.reference(end - 1 - name.len()..end - 1),
        Event::DocType(_) => {
            Err(builder.problem(end.saturating_sub(1), "a document type is not accepted, remove <!DOCTYPE>"))
        }
        Event::Decl(declaration) => {
            let encoding = declaration.encoding().and_then(Result::ok).unwrap_or("utf-8".into());
            if ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| encoding.eq_ignore_ascii_case(known)) {
                return Ok(());
            }
            Err(builder.problem(0, format!("encoding '{encoding}' is not read, only UTF-8 is")))
        }
        Event::Comment(_) | Event::PI(_) | Event::Eof => Ok(()),
    }
}

fn start_tag(builder: &mut Builder<'_>, text: &str, tag: &BytesStart<'_>, start: usize) -> Result<(), Box<Problem>> {
    // Slices of the tag are slices of the source: their distance from its start is their offset.
    let origin = tag.as_ptr() as usize;
    let range = |part: &str| {
        let at = start + (part.as_ptr() as usize).wrapping_sub(origin).min(tag.len());
        at..(at + part.len()).min(start + tag.len())
    };
    debug_assert_eq!(&text[start..start + tag.len()], &**tag);
    builder.open(start - 1, range(tag.name().0))?;
    for attribute in tag.attributes().with_checks(false) {
        match attribute {
            Ok(attribute) => builder.attribute(range(attribute.key.0), range(&attribute.value))?,
            Err(error) => {
                let name = builder_tag_name(tag);
                return Err(builder.problem(start, format!("the attributes of <{name}> are malformed: {error}")));
            }
        }
    }
    Ok(())
}

fn builder_tag_name(tag: &BytesStart<'_>) -> String {
    tag.name().0.chars().take(64).collect()
}
