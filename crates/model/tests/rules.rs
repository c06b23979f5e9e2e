//! Completion and checks of a domain, rule by rule.

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

use polyvirt_model::{DomainConfig, Guest, ParseOptions, complete_and_check};
use polyvirt_numa_placement::{IoThreadId, Kib, VcpuId};

/// A definition with these elements, 8 vCPUs, and 4 GiB.
fn domain(elements: &str) -> String {
    format!("<domain type='kvm'><name>a</name><memory unit='GiB'>4</memory><vcpu>8</vcpu>{elements}<devices/></domain>")
}

/// Cells within a definition.
fn cells(cells: &str) -> String {
    domain(&format!("<cpu><numa>{cells}</numa></cpu>"))
}

fn accepted(text: &str) -> DomainConfig {
    let mut parsed = DomainConfig::parse(text, &ParseOptions::default()).unwrap();
    complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions)
        .unwrap_or_else(|e| panic!("{e}\n{text}"));
    parsed.config
}

/// Everything that is wrong, one problem a line.
fn refused(text: &str) -> String {
    let mut parsed = match DomainConfig::parse(text, &ParseOptions::default()) {
        Ok(parsed) => parsed,
        Err(problems) => return problems.to_string(),
    };
    match complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string(),
    }
}

const TWO: &str = "<cell id='0' cpus='0-3' memory='1' unit='GiB'/><cell id='1' cpus='4-7' memory='1' unit='GiB'/>";

#[test]
fn completion_fills_what_follows() {
    let text = "<domain type='kvm'><name>a</name><memory unit='MiB'>512</memory><genid/></domain>";
    let config = accepted(text);
    assert!(config.uuid.is_some() && config.genid.unwrap().id.is_some());
    assert_eq!(config.vcpu.as_ref().unwrap().count, Some(1));
    assert_eq!(config.current_memory.as_ref().unwrap().size, Kib::from_mib(512));
    let xml = accepted(text).to_xml();
    for expected in [
        "<vcpu placement='static'>1</vcpu>",
        "<currentMemory unit='KiB'>524288</currentMemory>",
        "<clock offset='utc'/>",
        "<on_reboot>restart</on_reboot>",
        "<devices/>",
    ] {
        assert!(xml.contains(expected), "{expected} in\n{xml}");
    }
}

#[test]
fn placement_rules_are_stored_and_refused() {
    let numatune = |vcpu: &str, numatune: &str| {
        format!(
            "<domain type='kvm'><name>a</name><memory>1024</memory><vcpu {vcpu}>8</vcpu>{numatune}\
             <cpu><numa>{TWO}</numa></cpu><devices/></domain>"
        )
    };
    // P3: automatic vCPUs make the memory automatic.
    let xml = accepted(&numatune("placement='auto'", "")).to_xml();
    assert!(xml.contains("<memory mode='strict' placement='auto'/>"), "{xml}");
    // P10: automatic memory makes vCPUs automatic that nothing pins.
    let xml = accepted(&numatune("", "<numatune><memory placement='auto'/></numatune>")).to_xml();
    assert!(xml.contains("<vcpu placement='auto'>8</vcpu>"), "{xml}");
    // P5: an empty element is ignored.
    let config = accepted(&numatune("", "<numatune><memory/></numatune>"));
    assert_eq!(config.numatune, None);
    for (vcpu, tune, expected) in [
        ("", "<memory mode='strict'/>", "[P7]"),
        ("", "<memnode cellid='2' nodeset='0'/>", "[M3]"),
        ("", "<memnode nodeset='0'/>", "[M3]"),
        ("", "<memnode cellid='0'/>", "[M4]"),
        ("placement='auto'", "<memnode cellid='0' nodeset='0'/>", "[M1]"),
        ("", "<memory nodeset='3-1'/>", "/domain/numatune/memory/@nodeset, line 1 column"),
        ("", "<memory nodeset='0' mode='strcit'/>", "did you mean 'strict'?"),
    ] {
        let shown = refused(&numatune(vcpu, &format!("<numatune>{tune}</numatune>")));
        assert!(shown.contains(expected), "{tune}\n{shown}");
    }
    assert!(refused(&numatune("", "<numatune/><numatune/>")).contains("a second <numatune>, there may be one [P13]"));
    let both = refused(&numatune("", "<numatune><memory mode='x'/></numatune><numatune/>"));
    assert_eq!(both.matches("P13").count(), 1, "{both}");
    assert!(refused(&domain("<numatune><memnode cellid='0' nodeset='0'/></numatune>")).contains("[M2]"));
}

#[test]
fn a_request_carries_pins_and_devices() {
    let text = domain(
        "<iothreads>3</iothreads><iothreadids><iothread id='2'/></iothreadids>\
         <cputune><vcpupin vcpu='1' cpuset='0-3,^1'/><emulatorpin cpuset='4'/><iothreadpin iothread='1' cpuset='5'/></cputune>",
    );
    let config = accepted(&text);
    assert_eq!(config.io_thread_ids(), [2, 1, 3]);
    let request = config.placement_request().unwrap();
    assert_eq!(request.vcpu_pins[&VcpuId(1)].to_string(), "0,2-3");
    assert_eq!(request.emulator_pin.unwrap().to_string(), "4");
    assert_eq!(request.io_thread_pins[&IoThreadId(1)].to_string(), "5");
    assert_eq!((request.shape.vcpus_max, request.shape.memory), (8, Kib::from_gib(4)));
}

#[test]
fn rules_between_fields() {
    for (elements, expected) in [
        ("<vcpus><vcpu id='8'/></vcpus>", "/domain/vcpus/vcpu/@id, line 1 column 94: there is no vCPU 8"),
        ("<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='0' cpuset='1'/></cputune>", "vCPU 0 is pinned twice"),
        ("<cputune><iothreadpin iothread='1' cpuset='0'/></cputune>", "there is no I/O thread 1"),
        ("<cpu><topology sockets='1' cores='3' threads='1'/></cpu>", "has 3 threads, the maximum of vCPUs is 8"),
        ("<cpu><topology sockets='1' cores='0' threads='1'/></cpu>", "a part of the topology is 0"),
        ("<cpu mode='custom'/>", "mode 'custom' needs a <model>"),
        ("<maxMemory slots='1' unit='GiB'>1</maxMemory>", "1 GiB is less than the guest's memory of 4 GiB"),
        (
            "<devices><serial type='tcp'><source mode='bind' host='h'/></serial></devices>",
            "a 'tcp' device needs <source service=",
        ),
        ("<devices><console type='file'/></devices>", "a 'file' device needs <source path='…'/>"),
        ("<uuid>00000000-0000-0000-0000-000000000000</uuid>", "all zeroes"),
        ("<devices><disk><target dev='a'/></disk><disk><target dev='a'/></disk></devices>", "disk 1 is 'a' already"),
    ] {
        let shown = refused(&domain(elements));
        assert!(shown.contains(expected), "{elements}\n{shown}");
    }
    let vcpu = |vcpu: &str| format!("<domain type='kvm'><name>a</name><memory>1</memory>{vcpu}</domain>");
    assert!(refused(&vcpu("<vcpu>0</vcpu>")).contains("0 vCPUs, 1 to 16384 are possible"));
    assert!(refused(&vcpu("<vcpu>99999</vcpu>")).contains("99999 vCPUs"));
    assert!(refused(&vcpu("<vcpu current='3'>2</vcpu>")).contains("/domain/vcpu/@current"));
}

#[test]
fn bad_values_are_refused_where_they_stand() {
    let memory = |memory: &str| format!("<domain type='kvm'>\n  <name>a</name>\n  {memory}\n</domain>");
    let shown = refused(&memory("<memory unit='zz'>4</memory>"));
    assert!(
        shown.starts_with("/domain/memory/@unit, line 3 column 17: unit 'zz' is not known, possible are b,"),
        "{shown}"
    );
    let shown = refused(&memory("<memory unit='EiB'>9</memory>"));
    assert!(shown.starts_with("/domain/memory, line 3 column 22: 9 EiB is too large"), "{shown}");
    assert!(refused(&memory("<memory>x</memory>")).contains("'x' is not a whole number"));
    let shown = refused("<domain type='kmv'><name>../x</name></domain>");
    assert!(shown.contains("did you mean 'kvm'?"), "{shown}");
    let shown = refused("<domain type='kvm'><name>../x</name><memory>1</memory></domain>");
    assert!(shown.contains("/domain/name, line 1 column 26: '../x' would be a path"), "{shown}");
    assert!(refused("<domain type='kvm'><memory>1</memory></domain>").contains("<domain> lacks its element <name>"));
}

#[test]
fn completion_and_checks_report_together() {
    let text = "<domain type='kvm'><name>a/b</name><vcpu current='9'>2</vcpu><numatune><memory mode='strict'/></numatune></domain>";
    let shown = refused(text);
    for expected in ["/domain/name,", "/domain/vcpu/@current,", "[P7]", "[C7]"] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    assert_eq!(shown.lines().count(), 4, "{shown}");
}

#[test]
fn crowds_are_refused_without_crowds_of_problems() {
    let crowd = "<cell memory='1'><distances><sibling id='0' value='5'/></distances></cell>".repeat(20_000);
    assert!(refused(&cells(&crowd)).contains("20000 cells, at most 1024 are possible [C1]"));
    let twice = "<vcpupin vcpu='0' cpuset='0'/>".repeat(20_000);
    assert_eq!(refused(&domain(&format!("<cputune>{twice}</cputune>"))).lines().count(), 200);
}

#[test]
fn secrets_and_live_parts_are_left_out() {
    use polyvirt_model::FormatOptions;
    let text = "<domain type='kvm' id='3'><name>a</name><devices><graphics type='vnc' passwd='p'/></devices></domain>";
    let config = DomainConfig::parse(text, &ParseOptions::default()).unwrap().config;
    assert!(!config.to_xml().contains("passwd"));
    assert!(config.to_xml().contains("id='3'"));
    assert!(!config.to_inactive_xml().contains("id='3'"));
    assert!(config.to_xml_with(FormatOptions::new().secure()).contains("passwd='p'"));
}

#[test]
fn metadata_and_extensions_keep_their_namespaces() {
    let text = "\
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>a</name>
  <metadata>
    <app:x xmlns:app='urn:app' k='v'>t</app:x>
  </metadata>
  <devices/>
  <qemu:commandline>
    <qemu:arg value='-x'/>
  </qemu:commandline>
</domain>
";
    let config = DomainConfig::parse(text, &ParseOptions::default()).unwrap().config;
    assert_eq!(config.qemu_commandline.as_ref().unwrap().arg[0].value, "-x");
    assert_eq!(config.to_xml(), text);
}

/// Rule P2.
#[test]
fn a_cpuset_beside_automatic_placement_is_not_read() {
    let vcpu =
        |placement: &str, cpuset: &str| domain("").replace("<vcpu>", &format!("<vcpu{placement} cpuset='{cpuset}'>"));
    let stored = accepted(&vcpu(" placement='auto'", "3-1,x")).to_xml();
    assert!(stored.contains("<vcpu placement='auto'>8</vcpu>"), "{stored}");
    assert!(refused(&vcpu("", "3-1,x")).contains("/domain/vcpu/@cpuset"));
    assert!(refused(&vcpu(" placement='static'", "3-1,x")).contains("/domain/vcpu/@cpuset"));
}
