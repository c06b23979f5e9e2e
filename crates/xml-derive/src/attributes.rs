//! What stands in `#[xml(…)]` and in doc comments.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, ExprLit, Lit, LitInt, LitStr, Meta, Path, Result};

/// Where a field stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Attribute,
    Text,
    Leaf,
    Flag,
    Child,
    Choice,
    Group,
    Tree,
    Foreign,
}

/// `#[xml(…)]` of a field.
#[derive(Default)]
pub(crate) struct FieldOptions {
    pub(crate) kind: Option<Kind>,
    pub(crate) name: Option<String>,
    pub(crate) hex: Option<u8>,
    pub(crate) yesno: bool,
    pub(crate) onoff: bool,
    pub(crate) unit: Option<String>,
    pub(crate) codec: Option<Path>,
    pub(crate) namespace: Option<Expr>,
    pub(crate) default: bool,
    pub(crate) required: bool,
    pub(crate) always: bool,
    pub(crate) once: bool,
    pub(crate) secret: bool,
    pub(crate) live: bool,
}

impl FieldOptions {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("xml")) {
            attribute.parse_nested_meta(|meta| options.one(&meta))?;
        }
        Ok(options)
    }

    fn one(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "attr" => self.kind = Some(Kind::Attribute),
            "text" => self.kind = Some(Kind::Text),
            "leaf" => self.kind = Some(Kind::Leaf),
            "flag" => self.kind = Some(Kind::Flag),
            "child" => self.kind = Some(Kind::Child),
            "choice" => self.kind = Some(Kind::Choice),
            "group" => self.kind = Some(Kind::Group),
            "tree" => self.kind = Some(Kind::Tree),
            "foreign" => self.kind = Some(Kind::Foreign),
            "name" => self.name = Some(meta.value()?.parse::<LitStr>()?.value()),
            "hex" => self.hex = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?),
            "unit" => self.unit = Some(meta.value()?.parse::<LitStr>()?.value()),
            "ns" => self.namespace = Some(meta.value()?.parse()?),
            "codec" => self.codec = Some(meta.value()?.parse()?),
            "yesno" => self.yesno = true,
            "onoff" => self.onoff = true,
            "default" => self.default = true,
            "required" => self.required = true,
            "always" => self.always = true,
            "once" => self.once = true,
            "secret" => self.secret = true,
            "live" => self.live = true,
            _ => return Err(meta.error("not known to #[derive(Element)]")),
        }
        Ok(())
    }
}

/// `#[xml(…)]` of a type.
#[derive(Default)]
pub(crate) struct TypeOptions {
    pub(crate) root: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) default: Option<String>,
}

impl TypeOptions {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("xml")) {
            attribute.parse_nested_meta(|meta| {
                let value = meta.value()?.parse::<LitStr>()?.value();
                match meta.path.get_ident().map(ToString::to_string).as_deref() {
                    Some("root") => options.root = Some(value),
                    Some("tag") => options.tag = Some(value),
                    Some("default") => options.default = Some(value),
                    _ => return Err(meta.error("not known to #[derive(Element)]")),
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

/// `#[xml("word")]` of a variant.
pub(crate) fn word(attributes: &[Attribute]) -> Result<Option<String>> {
    let found = attributes.iter().find(|a| a.path().is_ident("xml"));
    found.map(|attribute| attribute.parse_args::<LitStr>().map(|word| word.value())).transpose()
}

/// The text of the doc comments.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|a| a.path().is_ident("doc")).filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `current_memory` → `currentMemory`.
pub(crate) fn camel_case(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.trim_start_matches("r#").chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.extend(c.to_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}
