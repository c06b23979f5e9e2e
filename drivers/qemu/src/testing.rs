//! What the tests of this crate share.

use std::path::PathBuf;

/// The QEMU of this host; `None`, with the reason printed, if there is none.
pub(crate) fn qemu() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|it| it.join("qemu-system-x86_64")).find(|it| it.is_file());
    if found.is_none() {
        let required = std::env::var("POLYVIRT_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|it| it == "qemu"), "there is no qemu-system-x86_64 in PATH");
        println!("skipped: there is no qemu-system-x86_64 in PATH");
    }
    found
}
