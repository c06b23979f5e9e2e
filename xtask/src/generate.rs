//! `cargo xtask generate`: writes the generated documents anew.
//!
//! Each document has a test that compares it with what it should be, so that `cargo test` finds a stale one. Asked to bless, the
//! test writes it.

use crate::checkout::Checkout;

/// Tests that write a document: the package and the test.
const DOCUMENTS: &[(&str, &str)] = &[("polyvirt-model", "reference")];

/// `cargo xtask generate`.
pub(crate) fn run(checkout: &Checkout) -> Result<bool, String> {
    let mut done = true;
    for (package, test) in DOCUMENTS {
        let mut cargo = checkout.cargo();
        cargo.args(["test", "--quiet", "--package", package, "--test", test]).env("POLYVIRT_BLESS", "1");
        done &= cargo.status().map_err(|e| format!("cargo does not start: {e}"))?.success();
    }
    Ok(done)
}
