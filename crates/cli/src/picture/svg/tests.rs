use proptest::prelude::*;
use quick_xml::Reader;

use super::*;
use crate::picture::{host, terminal::tests::pictures};

/// All text of the document, titles included; fails on what is no XML.
pub(crate) fn text_of(svg: &str) -> String {
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let mut text = String::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return text,
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(entity) => {
                let known = quick_xml::escape::resolve_predefined_entity(&entity).unwrap_or("?");
                text.push_str(known);
            }
            Event::End(_) => text.push('\n'),
            _ => {}
        }
    }
}

#[test]
fn names_are_escaped() {
    let mut picture = Picture { title: "<&\u{1}\u{202e}>".to_owned(), ..Picture::default() };
    picture.guest("a'\"]]>");
    let svg = render(&picture).unwrap();
    let text = text_of(&svg);
    assert!(text.contains("<&\\u{1}\\u{202e}>") && text.contains("a'\"]]>"), "{svg}");
}

#[test]
fn hosts_of_no_one_and_many_nodes_can_be_drawn() {
    assert!(text_of(&render(&Picture::default()).unwrap()).contains("prefers-color-scheme"));
    for nodes in [1, 2, 4096] {
        let topology = host::tests::uniform(nodes);
        let text = text_of(&render(&host::tests::of(&topology)).unwrap());
        assert!(text.lines().any(|line| line == format!("node {}", nodes - 1)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_picture_is_a_document(picture in pictures()) {
        text_of(&render(&picture).unwrap());
    }
}
