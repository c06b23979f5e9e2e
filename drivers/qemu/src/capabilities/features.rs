//! Features of guests that are no devices, and what the binary says of the host's security hardware.
//!
//! Sources: QEMU, *QMP Reference Manual* (`query-gic-capabilities`, `query-sev-capabilities`, `query-sgx-capabilities`) and
//! *Hyper-V Enlightenments*; libvirt's manual, "Domain capabilities XML format".

use polyvirt_core::{Choice, Facility, Fact};
use serde_json::Value;

use super::Kind;
use crate::{machine::Family, probe::Accelerator};

/// All features, in libvirt's order.
pub(super) fn features(kind: &Kind<'_>) -> Vec<Facility> {
    let binary = kind.binary;
    let plain = Facility::new;
    let mut all = vec![
        gic(kind),
        plain("vmcoreinfo", binary.has_type("vmcoreinfo")),
        plain("genid", binary.has_type("vmgenid")),
        plain("backingStoreInput", true),
        plain("backup", true),
        plain("async-teardown", binary.has_option("run-with", "async-teardown")),
    ];
    if kind.arch == "s390x" {
        all.push(plain("s390-pv", binary.has_type("s390-pv-guest")));
    }
    // The controller can be left out, so it is a choice.
    all.push(plain("ps2", kind.is_x86() && binary.has_property("generic-pc-machine", "i8042")));
    if binary.has_type("tdx-guest") {
        all.push(plain("tdx", true));
    }
    all.extend([sev(kind), sgx(kind)]);
    all.extend(hyperv(kind));
    all.push(launch_security(kind));
    all
}

/// Interrupt controllers of ARM's `virt`: with KVM those of the host's kernel, else what is emulated.
fn gic(kind: &Kind<'_>) -> Facility {
    let asked = match kind.abilities.map(|it| it.accelerator) {
        Some(Accelerator::Kvm) => "kernel",
        Some(Accelerator::Tcg) => "emulated",
        _ => return Facility::new("gic", false),
    };
    let known = kind.binary.replies.get("query-gic-capabilities").and_then(Value::as_array);
    let has =
        |version: &&u64| known.is_some_and(|all| all.iter().any(|it| it["version"] == **version && it[asked] == true));
    let versions: Vec<_> = [2u64, 3].iter().filter(has).map(ToString::to_string).collect();
    let supported = kind.family == Family::ArmVirt && !versions.is_empty();
    Facility::with("gic", supported, vec![Choice::new("version", versions)])
}

/// Members of the reply, and their elements.
const SEV: &[(&str, &str)] = &[("cbitpos", "cbitpos"), ("reduced-phys-bits", "reducedPhysBits")];

fn sev(kind: &Kind<'_>) -> Facility {
    let reply = kind.binary.replies.get("query-sev-capabilities");
    let mut facility = Facility::new("sev", reply.is_some());
    let known =
        |(member, element): &(&str, &'static str)| Some(Fact::new(element, reply?[*member].as_u64()?.to_string()));
    facility.facts = SEV.iter().filter_map(known).collect();
    // How many guests there can be is CPUID's to say, which no reply has.
    let id = reply.and_then(|it| it["cpu0-id"].as_str());
    facility.facts.extend(id.map(|it| Fact::new("cpu0Id", it)));
    facility
}

fn sgx(kind: &Kind<'_>) -> Facility {
    let Some(reply) = kind.binary.replies.get("query-sgx-capabilities") else { return Facility::new("sgx", false) };
    let mut facility = Facility::new("sgx", reply["sgx"] == true);
    if !facility.supported {
        return facility;
    }
    let kib = |bytes: &Value| (bytes.as_u64().unwrap_or_default() / 1024).to_string();
    let word = |it: &Value| if it == true { "yes" } else { "no" };
    facility.facts = ["flc", "sgx1", "sgx2"].map(|name| Fact::new(name, word(&reply[name]))).to_vec();
    let sections = reply["sections"].as_array().map(Vec::as_slice).unwrap_or_default();
    let total: u64 = sections.iter().filter_map(|it| it["size"].as_u64()).fold(0, u64::saturating_add);
    let total = if sections.is_empty() { reply["section-size"].clone() } else { total.into() };
    let unit = ("unit", "KiB".to_owned());
    facility.facts.push(Fact { attributes: vec![unit.clone()], ..Fact::new("section_size", kib(&total)) });
    let section = |it: &Value| {
        let node = it["node"].as_u64().unwrap_or_default().to_string();
        Fact {
            name: "section",
            attributes: vec![("node", node), ("size", kib(&it["size"])), unit.clone()],
            ..Fact::default()
        }
    };
    if !sections.is_empty() {
        facility.facts.push(Fact {
            name: "sections",
            facts: sections.iter().map(section).collect(),
            ..Fact::default()
        });
    }
    facility
}

/// Words of definitions and properties of QEMU's CPUs.
const ENLIGHTENMENTS: &[(&str, &str)] = &[
    ("relaxed", "hv-relaxed"),
    ("vapic", "hv-vapic"),
    ("spinlocks", "hv-spinlocks"),
    ("vpindex", "hv-vpindex"),
    ("runtime", "hv-runtime"),
    ("synic", "hv-synic"),
    ("stimer", "hv-stimer"),
    ("reset", "hv-reset"),
    ("vendor_id", "hv-vendor-id"),
    ("frequencies", "hv-frequencies"),
    ("reenlightenment", "hv-reenlightenment"),
    ("tlbflush", "hv-tlbflush"),
    ("ipi", "hv-ipi"),
    ("evmcs", "hv-evmcs"),
    ("avic", "hv-avic"),
    ("emsr_bitmap", "hv-emsr-bitmap"),
    ("xmm_input", "hv-xmm-input"),
];

/// What the host's kernel offers, from the CPU that takes all of it. Before 8.0 QEMU did not tell: then there is nothing to
/// say, neither yes nor no.
fn hyperv(kind: &Kind<'_>) -> Option<Facility> {
    let expansion = kind.binary.best.expansion(|asked| asked["model"]["props"]["hv-passthrough"] == true)?;
    let offered = |(_, property): &&(&str, &str)| {
        let value = expansion.properties.iter().find(|(name, _)| name == property);
        // Numbers and texts are there or not; a number of 0 switches nothing on.
        value.is_some_and(|(_, value)| match value {
            Value::Bool(on) => *on,
            Value::Number(number) => number.as_u64() != Some(0),
            Value::String(text) => !text.is_empty(),
            _ => false,
        })
    };
    let words: Vec<_> = ENLIGHTENMENTS.iter().filter(offered).map(|(word, _)| *word).collect();
    (!words.is_empty()).then(|| Facility::with("hyperv", true, vec![Choice::new("features", words)]))
}

fn launch_security(kind: &Kind<'_>) -> Facility {
    let binary = kind.binary;
    let sev = binary.replies.contains_key("query-sev-capabilities");
    let words = [
        ("sev", sev),
        ("sev-snp", sev && binary.has_type("sev-snp-guest")),
        ("s390-pv", binary.has_type("s390-pv-guest")),
        ("tdx", binary.has_type("tdx-guest")),
    ];
    let words: Vec<_> = words.into_iter().filter(|(_, there)| *there).map(|(word, _)| word).collect();
    Facility::with("launchSecurity", !words.is_empty(), vec![Choice::new("sectype", words)])
}
