use polyvirt::model::XmlTree;
use proptest::prelude::*;

use super::*;
use crate::picture::{host, terminal::tests::pictures};

/// All text of the document, titles included, a line each; fails on what is no XML.
pub(crate) fn text_of(svg: &str) -> String {
    fn collect(tree: &XmlTree, out: &mut String) {
        out.push_str(&tree.text);
        out.push('\n');
        for child in &tree.children {
            collect(child, out);
            out.push_str(&child.tail);
            out.push('\n');
        }
    }
    let mut text = String::new();
    collect(&XmlTree::parse(svg).unwrap(), &mut text);
    text
}

#[test]
fn names_are_escaped() {
    let mut picture = Picture { title: "<&\u{1}\u{202e}>".to_owned(), ..Picture::default() };
    picture.guest("a'\"]]>");
    let svg = render(&picture);
    let text = text_of(&svg);
    assert!(text.contains("<&\\u{1}\\u{202e}>") && text.contains("a'\"]]>"), "{svg}");
}

#[test]
fn hosts_of_no_one_and_many_nodes_can_be_drawn() {
    assert!(text_of(&render(&Picture::default())).contains("prefers-color-scheme"));
    for (picture, last) in host::tests::hosts() {
        let text = text_of(&render(picture));
        assert!(text.lines().any(|line| line == format!("node {last}")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_picture_is_a_document(picture in pictures()) {
        text_of(&render(&picture));
    }
}
