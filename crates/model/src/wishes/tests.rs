use super::*;
use crate::{Guest, complete_and_check};

fn domain(placement: &str, numatune: &str, wishes: &str) -> String {
    format!(
        "<domain type='kvm'>\n<name>a</name>\n<metadata>\n  <app:x xmlns:app='urn:app' span='odd'/>\n  {wishes}\n\
         </metadata>\n<memory unit='GiB'>1</memory>\n<vcpu placement='{placement}'>2</vcpu>\n{numatune}\
         <devices/></domain>"
    )
}

fn wished(attributes: &str, content: &str) -> String {
    format!("<polyvirt:placement xmlns:polyvirt='{PLACEMENT}' {attributes}>{content}</polyvirt:placement>")
}

fn read(text: &str) -> Result<(DomainConfig, Problems), Problems> {
    let mut parsed = DomainConfig::parse(text, &ParseOptions::default())?;
    let warnings = complete_and_check(&mut parsed.config, Guest::New, &parsed.positions)?;
    Ok((parsed.config, warnings))
}

fn accepted(text: &str) -> DomainConfig {
    read(text).unwrap_or_else(|problems| panic!("{problems}")).0
}

#[test]
fn wishes_fill_the_request() {
    let all = "span='never' cpus='dedicated' threads='isolate' per-cell='yes'";
    let content = "<polyvirt:headroom unit='GiB'>4</polyvirt:headroom><polyvirt:near node='1'/>\
                   <polyvirt:near pci='81:00.0'/>";
    let config = accepted(&domain("auto", "", &wished(all, content)));
    let request = config.placement_request().unwrap();
    assert_eq!((request.span, request.dedicated), (Span::Never, Some(Threads::Isolate)));
    assert_eq!((request.per_cell, request.headroom), (true, Kib::from_gib(4)));
    assert_eq!((request.near, request.weighted), (vec![HostNode(1)], false));
    assert_eq!(config.near_pci().iter().map(ToString::to_string).collect::<Vec<_>>(), ["0000:81:00.0"]);
    let interleave = "<numatune><memory mode='interleave' nodeset='0-1'/></numatune>";
    let weighted = "<polyvirt:memory interleave='weighted'/>";
    assert!(accepted(&domain("static", interleave, &wished("", weighted))).placement_request().unwrap().weighted);
}

#[test]
fn without_wishes_a_request_is_as_ever() {
    let plain = accepted(&domain("auto", "", "")).placement_request().unwrap();
    assert_eq!(plain, accepted(&domain("auto", "", &wished("", ""))).placement_request().unwrap());
    assert_eq!((plain.span, plain.dedicated, plain.headroom), (Span::IfNeeded, None, Kib::ZERO));
}

#[test]
fn assigned_devices_pull() {
    let devices = "<devices><hostdev mode='subsystem' type='pci'><source><address domain='0x0001' bus='0x81' \
        slot='0x00' function='0x1'/></source></hostdev><disk type='nvme' device='disk'><source type='pci' \
        managed='yes' namespace='1'><address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></source>\
        <target dev='vda'/></disk><interface type='hostdev' managed='yes'><source><address type='pci' \
        domain='0x0000' bus='0x03' slot='0x10' function='0x2'/></source></interface></devices>";
    let config = accepted(&domain("auto", "", "").replace("<devices/>", devices));
    let near: Vec<_> = config.near_pci().iter().map(ToString::to_string).collect();
    assert_eq!(near, ["0000:02:00.0", "0000:03:10.2", "0001:81:00.1"]);
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    for (attributes, content, at, what) in [
        ("span='nver'", "", "/domain/metadata/polyvirt:placement/@span, line 5 column", "did you mean 'never'"),
        ("spam='never'", "", "polyvirt:placement/@spam, line 5", "did you mean 'span'"),
        ("threads='prefer'", "", "/@threads, line 5", "cpus='dedicated'"),
        ("", "<polyvirt:nead node='1'/>", "polyvirt:nead, line 5", "polyvirt:near"),
        ("", "<polyvirt:near/>", "polyvirt:near, line 5", "either a 'node' or a 'pci'"),
        ("", "<polyvirt:near pci='81:00.9'/>", "polyvirt:near/@pci, line 5", "'81:00.9' is not the address"),
        ("", "<polyvirt:headroom unit='GB'>x</polyvirt:headroom>", "polyvirt:headroom, line 5", "'x'"),
        ("", "<polyvirt:memory interleave='weighted'/>", "polyvirt:memory/@interleave, line 5", "mode='interleave'"),
    ] {
        let problems = read(&domain("auto", "", &wished(attributes, content))).unwrap_err().to_string();
        assert!(problems.contains(at) && problems.contains(what), "{attributes}{content}: {problems}");
    }
    let fixed = |attributes| read(&domain("static", "", &wished(attributes, "")));
    assert!(fixed("cpus='dedicated'").unwrap_err().to_string().contains("placement='auto'"));
    assert!(fixed("per-cell='yes'").unwrap_err().to_string().contains("placement='auto'"));
    assert!(fixed("span='never'").unwrap().1.to_string().contains("no effect"));
    let twice = format!("{}{}", wished("", ""), wished("", ""));
    assert!(read(&domain("auto", "", &twice)).is_err());
}

fn celled(wishes: &str) -> String {
    let cells = "<cpu><numa><cell id='0' cpus='0' memory='512' unit='MiB'/><cell id='1' cpus='1' memory='512' unit='MiB'/></numa></cpu>";
    domain("auto", "", &wished("", wishes)).replace("<devices/>", &format!("{cells}<devices/>"))
}

#[test]
fn a_cell_is_fixed_beside_automatic_ones() {
    let request = accepted(&celled("<polyvirt:memnode cellid='1' nodeset='2-3'/>")).placement_request().unwrap();
    let expected = CellPolicy::new(GuestCell(1), MemMode::Strict, NodeSet::of_range(2, 3)).fixed();
    assert_eq!(request.stored.memnodes, [expected]);
    for (memnode, what) in [
        ("<polyvirt:memnode cellid='2' nodeset='0'/>", "there is no guest cell 2"),
        ("<polyvirt:memnode cellid='0' nodeset=''/>", "nodeset"),
        ("<polyvirt:memnode cellid='0' nodeset='1-0'/>", "/@nodeset, line 5"),
        ("<polyvirt:memnode cellid='0' mode='restrictive' nodeset='0'/>", "for the guest as a whole"),
        ("<polyvirt:memnode cellid='0' mode='odd' nodeset='0'/>", "'odd'"),
        ("<polyvirt:memnode nodeset='0'/>", "cellid"),
        ("<polyvirt:memnode cellid='0' nodeset='0'/><polyvirt:memnode cellid='0' nodeset='0'/>", "fixed twice"),
        ("<polyvirt:memnode cellid='0' nodeset='0'/><polyvirt:memnode cellid='1' nodeset='0'/>", "every cell is fixed"),
    ] {
        let problems = read(&celled(memnode)).unwrap_err().to_string();
        assert!(problems.contains(what), "{memnode}: {problems}");
    }
    let named = celled("<polyvirt:memnode cellid='1' nodeset='0'/>")
        .replace("<cpu>", "<numatune><memory nodeset='0'/></numatune><cpu>");
    assert!(read(&named).unwrap_err().to_string().contains("in <numatune> instead"));
}

#[test]
fn any_prefix_and_the_default_namespace_are_read() {
    for text in [
        format!("<p:placement xmlns:p='{PLACEMENT}' span='never'><p:near node='3'/></p:placement>"),
        format!("<placement xmlns='{PLACEMENT}' span='never'><near node='3'/></placement>"),
    ] {
        let config = accepted(&domain("auto", "", &text));
        let request = config.placement_request().unwrap();
        assert_eq!((request.span, request.near), (Span::Never, vec![HostNode(3)]), "{text}");
        let broken = read(&domain("auto", "", &text.replace("node='3'", ""))).unwrap_err().to_string();
        assert!(broken.contains("near, line 5"), "{broken}");
    }
    // The same words in another namespace are none of ours.
    let other = "<q:placement xmlns:q='urn:q' span='nver'/>";
    assert_eq!(accepted(&domain("auto", "", other)).wishes().unwrap(), None);
}

#[test]
fn wishes_and_other_metadata_pass_unchanged() {
    let text = domain("auto", "", &wished("span='never'", "<polyvirt:near node='1'/>"));
    let once = accepted(&text).to_xml();
    for kept in ["<app:x xmlns:app='urn:app' span='odd'/>", "span='never'", "<polyvirt:near node='1'/>", PLACEMENT] {
        assert!(once.contains(kept), "{kept} in {once}");
    }
    assert_eq!(accepted(&once).to_xml(), once);
}

#[test]
fn pci_addresses_are_read_as_the_kernel_writes_them() {
    for (text, written) in
        [("0000:81:00.0", "0000:81:00.0"), ("1:f.7", "0000:01:0f.7"), ("10000:E1:00.0", "10000:e1:00.0")]
    {
        assert_eq!(text.parse::<HostPci>().unwrap().to_string(), written);
    }
    for wrong in ["", "81:00", "0:0:0:0.0", "81:20.0", "81:00.8", "+1:00.0", "181:00.0", "x:00.0", ":.", "../.."] {
        assert!(wrong.parse::<HostPci>().is_err(), "{wrong}");
    }
}
