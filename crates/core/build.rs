//! Empty on purpose: Cargo wants a build script beside a `links` key.

fn main() {}
