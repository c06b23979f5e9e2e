//! The derive behind polyvirt-xml; `polyvirt_xml`'s first page documents the attributes.
//!
//! It writes data, not code: a static table, a `match` from index to field, and one-line setters. Everything that
//! does something is in the engine of polyvirt-xml.

mod attributes;
mod choice;
mod element;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, parse_macro_input};

/// Describes a struct or an enum as an XML element.
#[proc_macro_derive(Element, attributes(xml))]
pub fn derive_element(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let output = match &input.data {
        Data::Struct(data) => element::expand(&input, data),
        Data::Enum(data) => choice::expand(&input, data),
        Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, "a union cannot be an element")),
    };
    output.unwrap_or_else(|error| error.to_compile_error()).into()
}
