//! From text to arena: the only place that touches the tokenizer, which is asked for what [`scan`] does not recognise.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::document::{Arena, Builder, Limits};
use crate::escape;
use crate::problem::{Position, Problem};
use crate::scan::{self, Written};

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
    let mut attributes = Vec::new();
    let mut at = text_start;
    loop {
        match text.as_bytes().get(at) {
            None => return builder.finish(),
            Some(b'<') => at = markup(&mut builder, text, at, &mut attributes)?,
            Some(b'&') => at = unusual(&mut builder, text, at)?,
            Some(_) => {
                let (end, blank) = scan::text(text, at);
                builder.text(at..end, blank)?;
                at = end;
            }
        }
    }
}

/// One tag or whatever else begins with `<`, at the offset `at`; the offset behind it.
fn markup(
    builder: &mut Builder<'_>,
    text: &str,
    at: usize,
    attributes: &mut Vec<Written>,
) -> Result<usize, Box<Problem>> {
    if let Some(tag) = scan::start_tag(text, at, attributes) {
        builder.open(at, tag.name)?;
        attributes.drain(..).try_for_each(|attribute| builder.attribute(attribute))?;
        if tag.is_empty {
            builder.close(tag.end, None, tag.end)?;
        }
        return Ok(tag.end);
    }
    if let Some(end) = builder.close_here(at) {
        return Ok(end);
    }
    unusual(builder, text, at)
}

/// One token, by the tokenizer.
fn unusual(builder: &mut Builder<'_>, text: &str, at: usize) -> Result<usize, Box<Problem>> {
    let mut reader = tokenizer(&text[at..]);
    match reader.read_event() {
        Ok(event) => {
            let end = at + position(reader.buffer_position());
            token(builder, text, &event, end)?;
            Ok(end)
        }
        Err(error) => {
            let at = at + position(reader.error_position());
            Err(builder.problem(at, lower_case(&error.to_string())))
        }
    }
}

fn tokenizer(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    // The builder knows what is open.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    reader
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
        Event::Text(content) => builder.text(end - content.len()..end, is_blank(content)),
        Event::CData(content) => {
            if builder.is_outside() {
                return Err(builder.problem(end, "text outside the root element"));
            }
            builder.text(end - 3 - content.len()..end - 3, is_blank(content))
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
    let name = range(tag.name().0);
    builder.check_name("element", start - 1, &name)?;
    builder.open(start - 1, name)?;
    for attribute in tag.attributes().with_checks(false) {
        match attribute {
            Ok(attribute) => {
                let (name, value) = (range(attribute.key.0), range(&attribute.value));
                builder.check_name("attribute", name.start, &name)?;
                builder.attribute(Written { name, value, is_encoded: escape::is_encoded(&attribute.value) })?;
            }
            Err(error) => {
                let name = builder_tag_name(tag);
                return Err(builder.problem(start, format!("the attributes of <{name}> are malformed: {error}")));
            }
        }
    }
    Ok(())
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_whitespace())
}

fn builder_tag_name(tag: &BytesStart<'_>) -> String {
    tag.name().0.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, every token by the tokenizer.
    fn read_slowly(text: &str, limits: Limits) -> Result<Arena, Box<Problem>> {
        let mut builder = Builder::new(text, limits);
        let mut reader = tokenizer(text);
        loop {
            let event = reader.read_event();
            let end = position(reader.buffer_position());
            match event {
                Ok(Event::Eof) => return builder.finish(),
                Ok(event) => token(&mut builder, text, &event, end)?,
                Err(error) => {
                    let at = position(reader.error_position());
                    return Err(builder.problem(at, lower_case(&error.to_string())));
                }
            }
        }
    }

    fn assert_same(text: &str) {
        let limits = Limits { depth: 6, attributes: 4, elements: 12, value: 40, namespaces: 3, ..Limits::default() };
        let (fast, slow) = (read(text, limits), read_slowly(text, limits));
        assert_eq!(format!("{fast:#?}"), format!("{slow:#?}"), "{text}");
    }

    const DOCUMENT: &str = "<?xml version='1.0'?>\n<!-- a -->\n<a b='1' c=\"x'y\" xmlns:q='u'>\n  <long_name2 d='&lt;\n'>te&amp;xt\r\n</long_name2>
  <q:e f = '' g-h='ä'/><i /><j\n  k='>'\t></j ><l>ö<![CDATA[ <m> ]]>n</l>\n</a>\n";

    #[test]
    fn every_token_of_a_document() {
        assert!(read(DOCUMENT, Limits::default()).is_ok());
        for end in (0..=DOCUMENT.len()).filter(|end| DOCUMENT.is_char_boundary(*end)) {
            assert_same(&DOCUMENT[..end]);
        }
        assert_same(&format!("<{0} {0}='1'/>", "a".repeat(256)));
        assert_same(&format!("<{}/>", "a".repeat(257)));
        assert_same(&format!("<a {}='1'/>", "a".repeat(257)));
        assert_same(&format!("<a b='{}'/>", "a".repeat(41)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 600, ..ProptestConfig::default() })]

        #[test]
        fn soup_reads_as_the_tokenizer_reads_it(
            soup in "(<a|<b |</a>|</b>|<a/>|<a b='1'|<|>|/>|'|\"| x=\"2\"|=|&lt;|&|;|a|:|é|xmlns:q='u'|<!--|-->|<\\?|\\?>|<!\\[CDATA\\[|\\]\\]>| |\n|\t|\r|-|7|\u{FEFF}){0,24}"
        ) {
            assert_same(&format!("<r>{soup}"));
            assert_same(&format!("<r>{soup}</r>"));
        }

        #[test]
        fn mutants_read_as_the_tokenizer_reads_them(at in 0..DOCUMENT.len(), cut in 0..8_usize, with in "[<>/'\"=&; a7é:\n-]{0,3}") {
            let end = (at + cut).min(DOCUMENT.len());
            prop_assume!(DOCUMENT.is_char_boundary(at) && DOCUMENT.is_char_boundary(end));
            let mut text = DOCUMENT.to_owned();
            text.replace_range(at..end, &with);
            assert_same(&text);
        }
    }
}
