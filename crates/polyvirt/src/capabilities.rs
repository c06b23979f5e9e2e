//! The capabilities document: what the host is and which guests it can run, as libvirt writes it (manual: Driver capabilities XML format).

use std::fmt::Write as _;

use polyvirt_core::{GuestSupport, placement::HostTopology};
use polyvirt_host::Host;

/// The document, indented by two.
#[must_use]
pub fn capabilities_xml(host: &Host, topology: &HostTopology, guests: &[GuestSupport]) -> String {
    let mut out = String::from("<capabilities>\n\n  <host>\n");
    let _ = write_host(&mut out, host, topology);
    out.push_str("  </host>\n");
    for guest in guests {
        let _ = write_guest(&mut out, guest);
    }
    out.push_str("\n</capabilities>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

fn write_host(out: &mut String, host: &Host, topology: &HostTopology) -> std::fmt::Result {
    writeln!(out, "    <cpu>\n      <arch>{}</arch>\n    </cpu>", escape(&host.architecture()))?;
    writeln!(out, "    <topology>\n      <cells num='{}'>", topology.nodes().len())?;
    for node in topology.nodes() {
        writeln!(out, "        <cell id='{}'>", node.id.0)?;
        writeln!(out, "          <memory unit='KiB'>{}</memory>", node.memory.0)?;
        let base = topology.base_page();
        let small = node.memory.0.saturating_sub(node.pooled().0).checked_div(base.0).unwrap_or(0);
        writeln!(out, "          <pages unit='KiB' size='{}'>{small}</pages>", base.0)?;
        for pool in &node.pools {
            writeln!(out, "          <pages unit='KiB' size='{}'>{}</pages>", pool.size.0, pool.total)?;
        }
        writeln!(out, "          <distances>")?;
        for other in topology.nodes() {
            writeln!(
                out,
                "            <sibling id='{}' value='{}'/>",
                other.id.0,
                topology.distance(node.id, other.id)
            )?;
        }
        writeln!(out, "          </distances>\n          <cpus num='{}'>", node.cpus.len())?;
        for cpu in node.cpus.iter() {
            let siblings =
                node.cores.iter().find(|core| core.contains(cpu)).map_or_else(|| cpu.to_string(), ToString::to_string);
            writeln!(out, "            <cpu id='{cpu}' siblings='{siblings}'/>")?;
        }
        writeln!(out, "          </cpus>\n        </cell>")?;
    }
    writeln!(out, "      </cells>\n    </topology>")
}

fn write_guest(out: &mut String, guest: &GuestSupport) -> std::fmt::Result {
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
