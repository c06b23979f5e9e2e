//! What hostile input must not do, as functions from bytes to a panic.
//!
//! `tests/fuzz` hands them to libFuzzer, which needs a nightly compiler; `tests/replay.rs` hands them every committed seed and
//! every input that once failed, on any compiler. `cargo xtask fuzz` runs the former.
//!
//! A target judges by an oracle: a fixed point, a plain set, an order. It does not judge whether an input deserved to be
//! accepted.
//!
//! Invariant: a target panics only if the code under test is wrong. Refusing is always right.

mod domain;
mod grammar;
mod json;
mod set;
mod uri;
pub mod vocabulary;

/// A function for bytes from anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the fuzzer, of its seeds' directory and of its regressions'.
    pub name: &'static str,
    /// Panics if the code under test is wrong.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "domain_parse", run: domain::parse },
    Target { name: "domain_fixed_point", run: domain::fixed_point },
    Target { name: "domain_grammar", run: grammar::fixed_point },
    Target { name: "domain_json", run: json::there_and_back },
    Target { name: "set", run: set::algebra },
    Target { name: "uri", run: uri::fixed_point },
];

/// Runs the target of that name.
///
/// # Panics
/// If the code under test is wrong, or if there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of TARGETS");
    (target.run)(data);
}
