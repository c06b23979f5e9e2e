//! `cargo xtask generate`: writes the generated documents anew.
//!
//! Each document has a test that compares it with what it should be, so that `cargo test` finds a stale one. Asked to bless, the
//! test writes it.

use crate::checkout::Checkout;

/// Tests that write a document: the package, its target and the test.
const DOCUMENTS: &[[&str; 4]] = &[
    ["polyvirt-model", "--test", "reference", "the_page_is_up_to_date"],
    ["polyvirt-cli", "--lib", "--quiet", "virsh::the_page_is_up_to_date"],
];

/// `cargo xtask generate`.
pub(crate) fn run(checkout: &Checkout) -> Result<bool, String> {
    let mut done = true;
    for [package, rest @ ..] in DOCUMENTS {
        let mut cargo = checkout.cargo();
        cargo.args(["test", "--package", package]).args(rest).env("POLYVIRT_BLESS", "1");
        done &= cargo.status().map_err(|e| format!("cargo does not start: {e}"))?.success();
    }
    Ok(done)
}
