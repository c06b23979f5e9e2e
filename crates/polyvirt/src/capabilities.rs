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

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

/// The document of a host of which nothing but the architecture is known.
#[must_use]
pub fn guest_capabilities_xml(architecture: &str, guests: &[GuestSupport]) -> String {
    let mut out = format!(
        "<capabilities>\n\n  <host>\n    <cpu>\n      <arch>{}</arch>\n    </cpu>\n  </host>\n",
        escape(architecture)
    );
    write_guests(&mut out, guests);
    out
}

fn write_guests(out: &mut String, guests: &[GuestSupport]) {
    for guest in guests {
        // Writing into a string cannot fail.
        let _ = guests::write(out, guest);
    }
    out.push_str("\n</capabilities>\n");
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
    write_guests(&mut out, guests);
    Ok(out)
}
