//! The guests' part: architectures, emulators, machines.

use std::fmt::Write as _;

use polyvirt_core::{GuestFeature, GuestSupport};

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
    // The best is the last here.
    for kind in guest.domain_types.iter().rev() {
        writeln!(out, "      <domain type='{}'/>", escape(kind))?;
    }
    writeln!(out, "    </arch>")?;
    features(out, &guest.features)?;
    for note in &guest.notes {
        writeln!(out, "    <!-- {} -->", note.replace("--", "- -"))?;
    }
    writeln!(out, "  </guest>")
}

fn features(out: &mut String, features: &[GuestFeature]) -> std::fmt::Result {
    if features.is_empty() {
        return Ok(());
    }
    writeln!(out, "    <features>")?;
    let on = |it| if it { "on" } else { "off" };
    let yes = |it| if it { "yes" } else { "no" };
    for GuestFeature { name, switch } in features {
        match switch {
            Some((default, toggle)) => {
                writeln!(out, "      <{name} default='{}' toggle='{}'/>", on(*default), yes(*toggle))?;
            }
            None => writeln!(out, "      <{name}/>")?,
        }
    }
    writeln!(out, "    </features>")
}
