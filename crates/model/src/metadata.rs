//! `<metadata>`: one element for each application, told apart by its namespace (manual: "General metadata").
//!
//! An application reads and writes its element without a prefix; in the definition it has the prefix that the application chose.

use polyvirt_xml::XmlTree;

use crate::DomainConfig;

impl DomainConfig {
    /// The element of a namespace, as its application wrote it.
    #[must_use]
    pub fn metadata_element(&self, namespace: &str) -> Option<XmlTree> {
        let element = self.metadata.as_ref()?.children.iter().find(|it| it.namespace.as_deref() == Some(namespace))?;
        let mut element = element.clone();
        let prefix = element.prefix().to_owned();
        element.declarations.retain(|(_, uri)| uri != namespace);
        element.tail.clear();
        strip(&mut element, &prefix);
        Some(element)
    }

    /// Puts the element of a namespace in the place of what was there; `None` removes it. `prefix` is how its elements without a
    /// namespace of their own begin in the definition.
    ///
    /// Gives whether there was one before.
    pub fn set_metadata_element(&mut self, namespace: &str, prefix: &str, element: Option<XmlTree>) -> bool {
        let all = self.metadata.get_or_insert_with(|| XmlTree::new("metadata"));
        let before = all.children.len();
        all.children.retain(|it| it.namespace.as_deref() != Some(namespace));
        let there = all.children.len() < before;
        if let Some(mut element) = element {
            adorn(&mut element, namespace, prefix);
            element.declarations.push((prefix.to_owned(), namespace.to_owned()));
            all.children.push(element);
        }
        if all.children.is_empty() {
            self.metadata = None;
        }
        there
    }
}

fn strip(element: &mut XmlTree, prefix: &str) {
    if element.prefix() == prefix {
        element.name = element.local_name().to_owned();
        element.namespace = None;
    }
    element.children.iter_mut().for_each(|it| strip(it, prefix));
}

fn adorn(element: &mut XmlTree, namespace: &str, prefix: &str) {
    if element.namespace.is_none() && element.prefix().is_empty() {
        element.name = format!("{prefix}:{}", element.name);
        element.namespace = Some(namespace.to_owned());
    }
    element.children.iter_mut().for_each(|it| adorn(it, namespace, prefix));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ParseOptions;

    const URI: &str = "http://example.org/app";

    fn guest(metadata: &str) -> DomainConfig {
        let xml =
            format!("<domain type='kvm'><name>a</name><memory>1</memory><os><type>hvm</type></os>{metadata}</domain>");
        DomainConfig::parse(&xml, &ParseOptions::default()).expect("a definition").config
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut guest = guest("<metadata><b:b xmlns:b='urn:b'/></metadata>");
        let element = XmlTree::parse("<app id='7'><part>x</part><o:other xmlns:o='urn:o'/></app>").expect("XML");
        assert!(!guest.set_metadata_element(URI, "app", Some(element.clone())));
        let again = super::tests::guest(&guest.metadata.as_ref().expect("metadata").to_string());
        assert_eq!(again.metadata_element(URI).expect("it is there").to_string(), element.to_string());
        assert!(
            again.to_xml().contains("<app:app xmlns:app=\"http://example.org/app\" id=\"7\">")
                || again.to_xml().contains("<app:app xmlns:app='http://example.org/app' id='7'>"),
            "{}",
            again.to_xml()
        );
        assert!(again.metadata_element("urn:b").is_some() && again.metadata_element("urn:c").is_none());
    }

    #[test]
    fn one_element_a_namespace() {
        let mut guest = guest("");
        let element = |text: &str| Some(XmlTree::parse(text).expect("XML"));
        assert!(!guest.set_metadata_element(URI, "one", element("<a/>")));
        assert!(guest.set_metadata_element(URI, "two", element("<b/>")));
        assert_eq!(guest.metadata_element(URI).expect("it is there").name, "b");
        assert!(guest.set_metadata_element(URI, "", None));
        assert_eq!(guest.metadata, None);
        assert!(!guest.set_metadata_element(URI, "", None));
    }
}
