//! The capabilities document: what the host is and which guests it can run, as libvirt writes it (manual: Driver capabilities XML format).

mod guests;
mod host;

use polyvirt_core::GuestSupport;
use polyvirt_host::{Host, HostError};

/// What there is of a thing, with the largest unit of 1,024 that leaves it whole.
fn pretty(kib: u64) -> (u64, &'static str) {
    let mut rest = (kib, ["KiB", "MiB", "GiB", "TiB"].iter());
    let mut unit = rest.1.next().unwrap_or(&"KiB");
    while rest.0 != 0 && rest.0.is_multiple_of(1024) {
        let Some(next) = rest.1.next() else { break };
        (rest.0, unit) = (rest.0 / 1024, next);
    }
    (rest.0, unit)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

/// The document, indented by two. `architecture` is that of the host, in the kernel's words.
///
/// # Errors
/// [`HostError`] if the host cannot be read.
pub fn capabilities_xml(host: &Host, architecture: &str, guests: &[GuestSupport]) -> Result<String, HostError> {
    let facts = host::Facts::read(host)?;
    let mut out = String::from("<capabilities>\n\n  <host>\n");
    // Writing into a string cannot fail.
    let _ = host::write(&mut out, architecture, &facts);
    out.push_str("  </host>\n");
    for guest in guests {
        let _ = guests::write(&mut out, guest);
    }
    out.push_str("\n</capabilities>\n");
    Ok(out)
}
