//! The guests' part: architectures, emulators, machines.

use std::fmt::Write as _;

use polyvirt_core::GuestSupport;

use super::escape;

/// One kind of guest.
pub(super) fn write(out: &mut String, guest: &GuestSupport) -> std::fmt::Result {
    writeln!(
        out,
        "\n  <guest>\n    <os_type>{}</os_type>\n    <arch name='{}'>",
        escape(&guest.os_type),
        escape(&guest.arch)
    )?;
    writeln!(
        out,
        "      <wordsize>{}</wordsize>",
        if guest.arch.contains("64") || guest.arch == "s390x" { 64 } else { 32 }
    )?;
    if let Some(emulator) = &guest.emulator {
        writeln!(out, "      <emulator>{}</emulator>", escape(&emulator.display().to_string()))?;
    }
    for machine in &guest.machines {
        let name = escape(&machine.name);
        if let Some(alias) = &machine.alias {
            writeln!(
                out,
                "      <machine canonical='{name}' maxCpus='{}'>{}</machine>",
                machine.max_vcpus,
                escape(alias)
            )?;
        }
        writeln!(out, "      <machine maxCpus='{}'>{name}</machine>", machine.max_vcpus)?;
    }
    for kind in &guest.domain_types {
        writeln!(out, "      <domain type='{}'/>", escape(kind))?;
    }
    writeln!(out, "    </arch>")?;
    for note in &guest.notes {
        writeln!(out, "    <!-- {} -->", note.replace("--", "- -"))?;
    }
    writeln!(out, "  </guest>")
}
