//! Tests with domain XML of the wild, see [`inputs`]. One program, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

mod corpus;
mod inputs;
mod mutants;
mod schema;
