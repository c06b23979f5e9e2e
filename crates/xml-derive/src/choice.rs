//! Enums: an attribute or the element's name chooses the variant.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Fields, Result};

use crate::attributes::{TypeOptions, doc, word};
use crate::element::{root_methods, serde};

pub(crate) fn expand(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let options = TypeOptions::read(&input.attrs)?;
    let name = &input.ident;
    let (type_name, type_doc) = (name.to_string(), doc(&input.attrs));
    let mut idents = Vec::new();
    let mut types = Vec::new();
    let mut rows = Vec::new();
    for variant in &data.variants {
        let field = match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => fields.unnamed.first(),
            _ => None,
        };
        let (Some(field), Some(word)) = (field, word(&variant.attrs)?) else {
            return Err(syn::Error::new_spanned(variant, "a variant is written #[xml(\"word\")] Name(Type)"));
        };
        let (ty, doc) = (&field.ty, doc(&variant.attrs));
        rows.push(quote! {
            ::polyvirt_xml::Variant { word: #word, doc: #doc, table: <#ty as ::polyvirt_xml::Element>::describe }
        });
        idents.push(&variant.ident);
        types.push(ty);
    }
    let attribute = optional(options.tag.as_deref());
    let default = optional(options.default.as_deref());
    let indices: Vec<usize> = (0..idents.len()).collect();
    let root = options.root.map(|root| root_methods(name, &root));
    let serde = serde(name);
    Ok(quote! {
        impl ::polyvirt_xml::Element for #name {
            fn describe() -> &'static ::polyvirt_xml::Table {
                static CHOICE: ::polyvirt_xml::Choice = ::polyvirt_xml::Choice {
                    attribute: #attribute,
                    default: #default,
                    variants: &[#(#rows),*],
                };
                static TABLE: ::polyvirt_xml::Table = ::polyvirt_xml::Table {
                    name: #type_name,
                    doc: #type_doc,
                    fields: &[],
                    keys: &[],
                    in_tag: 0,
                    in_content: 0,
                    borrowed: 0,
                    text: 0,
                    required: 0,
                    choice: ::core::option::Option::Some(&CHOICE),
                };
                &TABLE
            }
            fn table(&self) -> &'static ::polyvirt_xml::Table {
                match self { #(Self::#idents(inner) => ::polyvirt_xml::Element::table(inner),)* }
            }
            fn present(&self) -> u128 {
                match self { #(Self::#idents(inner) => ::polyvirt_xml::Element::present(inner),)* }
            }
            fn slot(&self, index: usize) -> &dyn ::core::any::Any {
                match self { #(Self::#idents(inner) => ::polyvirt_xml::Element::slot(inner, index),)* }
            }
            fn slot_mut(&mut self, index: usize) -> &mut dyn ::core::any::Any {
                match self { #(Self::#idents(inner) => ::polyvirt_xml::Element::slot_mut(inner, index),)* }
            }
            fn variant(&self) -> usize {
                match self { #(Self::#idents(_) => #indices,)* }
            }
            fn choose(&mut self, variant: usize) {
                match variant {
                    #(#indices => *self = Self::#idents(<#types as ::core::default::Default>::default()),)*
                    _ => {}
                }
            }
        }
        #(impl ::core::convert::From<#types> for #name {
            fn from(inner: #types) -> Self {
                Self::#idents(inner)
            }
        })*
        #root
        #serde
    })
}

fn optional(word: Option<&str>) -> TokenStream {
    match word {
        Some(word) => quote! { ::core::option::Option::Some(#word) },
        None => quote! { ::core::option::Option::None },
    }
}
