//! Structs.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DataStruct, DeriveInput, Field, Fields, GenericArgument, Ident, PathArguments, Result, Type};

use crate::attributes::{FieldOptions, Kind, TypeOptions, camel_case, doc};

/// The engine marks seen fields in 128 bits.
const MAX_FIELDS: usize = 128;

/// The shape of a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Maybe,
    Many,
    Boxed,
}

struct Slot<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    inner: &'a Type,
    shape: Shape,
    kind: Kind,
    options: FieldOptions,
    doc: String,
}

pub(crate) fn expand(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let Fields::Named(fields) = &data.fields else {
        return Err(syn::Error::new_spanned(&input.ident, "an element has named fields"));
    };
    let slots = fields.named.iter().map(slot).collect::<Result<Vec<_>>>()?;
    if slots.len() > MAX_FIELDS {
        return Err(syn::Error::new_spanned(&input.ident, "an element has at most 128 fields, use a group"));
    }
    let options = TypeOptions::read(&input.attrs)?;
    let name = &input.ident;
    let type_name = name.to_string();
    let type_doc = doc(&input.attrs);
    let rows = slots.iter().map(Slot::row);
    let keys = slots.iter().map(Slot::key);
    let in_tag = mask(&slots, |slot| {
        matches!(slot.kind, Kind::Attribute | Kind::Group | Kind::Foreign)
            || slot.kind == Kind::Text && slot.options.unit.is_some()
            || slot.options.namespace.is_some()
    });
    let in_content = mask(&slots, |slot| slot.kind != Kind::Attribute);
    let borrowed =
        mask(&slots, |slot| slot.kind == Kind::Group || slot.kind == Kind::Choice && slot.options.name.is_none());
    let text = mask(&slots, |slot| slot.kind == Kind::Text);
    let required = mask(&slots, |slot| slot.is_required());
    let present = present(&slots);
    let (get, get_mut) = accessors(&slots);
    let setters = setters(&slots);
    let new = constructor(&slots);
    let root = options.root.map(|root| root_methods(name, &root));
    let serde = serde(name);
    Ok(quote! {
        impl ::polyvirt_xml::Element for #name {
            fn describe() -> &'static ::polyvirt_xml::Table {
                static TABLE: ::polyvirt_xml::Table = ::polyvirt_xml::Table {
                    name: #type_name,
                    doc: #type_doc,
                    fields: &[#(#rows),*],
                    keys: &[#(#keys),*],
                    in_tag: #in_tag,
                    in_content: #in_content,
                    borrowed: #borrowed,
                    text: #text,
                    required: #required,
                    choice: ::core::option::Option::None,
                };
                &TABLE
            }
            fn table(&self) -> &'static ::polyvirt_xml::Table {
                <Self as ::polyvirt_xml::Element>::describe()
            }
            fn present(&self) -> u128 { #present }
            fn slot(&self, index: usize) -> &dyn ::core::any::Any { #get }
            fn slot_mut(&mut self, index: usize) -> &mut dyn ::core::any::Any { #get_mut }
        }
        impl #name { #new #(#setters)* }
        #root
        #serde
    })
}

/// One bit per slot that is wanted; there are at most [`MAX_FIELDS`].
fn mask(slots: &[Slot<'_>], wanted: impl Fn(&Slot<'_>) -> bool) -> u128 {
    (0..).zip(slots).filter(|(_, slot)| wanted(slot)).fold(0, |bits, (index, _)| bits | 1 << index)
}

/// One bit per slot that holds anything: straight-line code, because most slots of most elements hold nothing.
fn present(slots: &[Slot<'_>]) -> TokenStream {
    let always = mask(slots, |slot| slot.shape == Shape::One && slot.kind != Kind::Flag);
    let bits = (0_u32..).zip(slots).filter_map(|(index, slot)| {
        let ident = slot.ident;
        let is_there = match slot.shape {
            Shape::One if slot.kind == Kind::Flag => quote! { self.#ident },
            Shape::One => return None,
            Shape::Maybe | Shape::Boxed => quote! { self.#ident.is_some() },
            Shape::Many => quote! { !self.#ident.is_empty() },
        };
        Some(quote! { | (::core::primitive::u128::from(#is_there) << #index) })
    });
    quote! { #always #(#bits)* }
}

/// serde's two traits, over the table.
pub(crate) fn serde(name: &Ident) -> TokenStream {
    quote! {
        impl ::polyvirt_xml::derive::serde::Serialize for #name {
            fn serialize<S: ::polyvirt_xml::derive::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                ::polyvirt_xml::json::serialize(self, serializer)
            }
        }
        impl<'de> ::polyvirt_xml::derive::serde::Deserialize<'de> for #name {
            fn deserialize<D: ::polyvirt_xml::derive::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                ::polyvirt_xml::json::deserialize(deserializer)
            }
        }
    }
}

/// `from_xml` and `to_xml_with` of a type that is a document.
pub(crate) fn root_methods(name: &Ident, root: &str) -> TokenStream {
    quote! {
        impl #name {
            /// The name of the root element.
            pub const ROOT: &'static str = #root;

            /// Reads a document. Nothing is completed.
            ///
            /// # Errors
            /// All problems of the document, if one of them is an error.
            pub fn from_xml(
                text: &str,
                options: &::polyvirt_xml::ParseOptions,
            ) -> ::core::result::Result<::polyvirt_xml::Parsed<Self>, ::polyvirt_xml::Problems> {
                ::polyvirt_xml::parse(text, #root, options)
            }

            /// Prints the document, ending with a newline.
            #[must_use]
            pub fn to_xml_with(&self, options: ::polyvirt_xml::FormatOptions) -> String {
                ::polyvirt_xml::format(self, #root, <Self as ::polyvirt_xml::Element>::describe().choice, options)
            }
        }
    }
}

fn accessors(slots: &[Slot<'_>]) -> (TokenStream, TokenStream) {
    let Some((last, rest)) = slots.split_last() else {
        let none = quote! { unreachable!("no field has index {index}") };
        return (none.clone(), none);
    };
    let idents: Vec<_> = rest.iter().map(|slot| slot.ident).collect();
    let indices = 0..idents.len();
    let again = indices.clone();
    let last = last.ident;
    (
        quote! { match index { #(#indices => &self.#idents,)* _ => &self.#last } },
        quote! { match index { #(#again => &mut self.#idents,)* _ => &mut self.#last } },
    )
}

/// `new(required…)` where something is required; `Default` serves the others.
fn constructor(slots: &[Slot<'_>]) -> Option<TokenStream> {
    let required: Vec<_> = slots.iter().filter(|slot| slot.is_required()).collect();
    if required.is_empty() {
        return None;
    }
    let idents: Vec<_> = required.iter().map(|slot| slot.ident).collect();
    let types = required.iter().map(|slot| slot.ty);
    let rest = (required.len() < slots.len()).then(|| quote! { ..::core::default::Default::default() });
    Some(quote! {
        /// A value with what is required and nothing else.
        #[must_use]
        pub fn new(#(#idents: impl ::core::convert::Into<#types>),*) -> Self {
            Self { #(#idents: #idents.into(),)* #rest }
        }
    })
}

fn setters<'a>(slots: &'a [Slot<'_>]) -> impl Iterator<Item = TokenStream> + 'a {
    slots.iter().map(|slot| {
        let (ident, inner) = (slot.ident, slot.inner);
        let method = format_ident!("with_{}", ident.to_string().trim_start_matches("r#"));
        let (doc, set) = match slot.shape {
            Shape::One => (format!("Sets `{ident}`."), quote! { self.#ident = value.into(); }),
            Shape::Maybe => {
                (format!("Sets `{ident}`."), quote! { self.#ident = ::core::option::Option::Some(value.into()); })
            }
            Shape::Many => (format!("Adds to `{ident}`."), quote! { self.#ident.push(value.into()); }),
            Shape::Boxed => (
                format!("Sets `{ident}`."),
                quote! { self.#ident = ::core::option::Option::Some(::std::boxed::Box::new(value.into())); },
            ),
        };
        quote! {
            #[doc = #doc]
            #[must_use]
            pub fn #method(mut self, value: impl ::core::convert::Into<#inner>) -> Self {
                #set
                self
            }
        }
    })
}

fn slot(field: &Field) -> Result<Slot<'_>> {
    let options = FieldOptions::read(&field.attrs)?;
    let Some(kind) = options.kind else {
        return Err(syn::Error::new_spanned(field, "says not where it stands: attr, text, leaf, flag, child, …"));
    };
    let Some(ident) = &field.ident else {
        return Err(syn::Error::new_spanned(field, "has no name"));
    };
    let (shape, inner) = shape(&field.ty);
    Ok(Slot { ident, ty: &field.ty, inner, shape, kind, options, doc: doc(&field.attrs) })
}

fn shape(ty: &Type) -> (Shape, &Type) {
    if let Some(inner) = argument(ty, "Option") {
        return argument(inner, "Box").map_or((Shape::Maybe, inner), |boxed| (Shape::Boxed, boxed));
    }
    argument(ty, "Vec").map_or((Shape::One, ty), |inner| (Shape::Many, inner))
}

/// `T` of `Name<T>`.
fn argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

impl Slot<'_> {
    fn is_required(&self) -> bool {
        if self.options.required {
            return true;
        }
        let value = matches!(self.kind, Kind::Attribute | Kind::Text | Kind::Leaf);
        value && self.shape == Shape::One && !self.options.default
    }

    /// The name in XML; empty if it has none of its own.
    fn xml(&self) -> String {
        let nameless = matches!(self.kind, Kind::Text | Kind::Choice | Kind::Group | Kind::Foreign);
        match &self.options.name {
            Some(xml) => xml.clone(),
            None if nameless => String::new(),
            None => camel_case(self.ident.to_string().trim_start_matches("r#")),
        }
    }

    fn key(&self) -> TokenStream {
        let xml = self.xml();
        quote! { ::polyvirt_xml::derive::key(#xml) }
    }

    /// The row of the table.
    fn row(&self) -> TokenStream {
        let options = &self.options;
        let name = self.ident.to_string().trim_start_matches("r#").to_owned();
        let xml = self.xml();
        let (doc, place, style) = (&self.doc, self.place(), self.style());
        let unit = match &options.unit {
            Some(unit) => quote! { ::core::option::Option::Some(#unit) },
            None => quote! { ::core::option::Option::None },
        };
        let namespace = match &options.namespace {
            Some(namespace) => quote! { ::core::option::Option::Some(#namespace) },
            None => quote! { ::core::option::Option::None },
        };
        let (always, once) = (options.always, options.once);
        let (secret, live) = (options.secret, options.live);
        let moot = match options.moot.as_deref().and_then(|moot| moot.split_once('=')) {
            Some((attribute, word)) => quote! { ::core::option::Option::Some((#attribute, #word)) },
            None => quote! { ::core::option::Option::None },
        };
        quote! {
            ::polyvirt_xml::Field {
                name: #name,
                xml: #xml,
                namespace: #namespace,
                doc: #doc,
                place: #place,
                style: #style,
                unit: #unit,
                always: #always,
                once: #once,
                secret: #secret,
                live: #live,
                moot: #moot,
            }
        }
    }

    fn style(&self) -> TokenStream {
        match (self.options.hex, self.options.yesno, self.options.onoff) {
            (Some(width), _, _) => quote! { ::polyvirt_xml::Style::Hex(#width) },
            (None, true, _) => quote! { ::polyvirt_xml::Style::YesNo },
            (None, false, true) => quote! { ::polyvirt_xml::Style::OnOff },
            _ => quote! { ::polyvirt_xml::Style::Plain },
        }
    }

    fn place(&self) -> TokenStream {
        let inner = self.inner;
        let shape = match self.shape {
            Shape::One => format_ident!("One"),
            Shape::Maybe => format_ident!("Maybe"),
            Shape::Many => format_ident!("Many"),
            Shape::Boxed => format_ident!("Boxed"),
        };
        let codec =
            self.options.codec.as_ref().map_or_else(|| quote! { ::polyvirt_xml::Plain }, |path| quote! { #path });
        let value = quote! { &::polyvirt_xml::#shape::<#inner, #codec>::ACCESS };
        let element = quote! { &::polyvirt_xml::#shape::<#inner>::ACCESS };
        match self.kind {
            Kind::Attribute => quote! { ::polyvirt_xml::Place::Attribute(#value) },
            Kind::Text => quote! { ::polyvirt_xml::Place::Text(#value) },
            Kind::Leaf => quote! { ::polyvirt_xml::Place::Leaf(#value) },
            Kind::Flag => quote! { ::polyvirt_xml::Place::Flag },
            Kind::Child | Kind::Choice => quote! { ::polyvirt_xml::Place::Child(#element) },
            Kind::Group => quote! { ::polyvirt_xml::Place::Group(#element) },
            Kind::Tree => quote! { ::polyvirt_xml::Place::Tree },
            Kind::Foreign => quote! { ::polyvirt_xml::Place::Foreign },
        }
    }
}
