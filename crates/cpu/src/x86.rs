//! x86, 32 and 64 bits.
//!
//! A CPU is a set of features, each one bit of CPUID or of a model-specific register; a model is a named set, and a definition is
//! a model with differences. All operations are on sets.

mod build;
mod catalog;
mod compare;
mod data;
mod decode;
mod names;
#[cfg(test)]
mod tests;
mod update;

pub use self::decode::Role;
pub(crate) use self::{
    compare::{baseline, compare, has_feature},
    decode::decode,
    names::{feature_of_qemu, model_of_qemu, withdrawn},
    update::{guest, update},
};
