//! Completion and checks of devices and tuning, rule by rule.

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

use polyvirt_model::{DomainConfig, Guest, ParseOptions, complete_and_check, imply_controllers};

/// A machine with 4 vCPUs, these elements and these devices; devices begin on line 3.
fn domain(elements: &str, devices: &str) -> String {
    format!(
        "<domain type='kvm'><name>a</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid><memory>1024</memory><vcpu>4</vcpu>\n\
         <os><type arch='x86_64'>hvm</type></os>{elements}\n<devices>{devices}</devices></domain>"
    )
}

fn complete(elements: &str, devices: &str) -> String {
    let text = domain(elements, devices);
    let mut parsed = DomainConfig::parse(&text, &ParseOptions::default()).unwrap();
    complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions)
        .unwrap_or_else(|e| panic!("{e}\n{text}"));
    imply_controllers(&mut parsed.config.devices);
    parsed.config.to_xml()
}

/// Everything that is wrong, one problem a line.
fn refused(elements: &str, devices: &str) -> String {
    let text = domain(elements, devices);
    let mut parsed = match DomainConfig::parse(&text, &ParseOptions::default()) {
        Ok(parsed) => parsed,
        Err(problems) => return problems.to_string(),
    };
    match complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string(),
    }
}

/// The completed devices hold each of these lines.
#[track_caller]
fn becomes(devices: &str, expected: &[&str]) {
    let xml = complete("", devices);
    for expected in expected {
        assert!(xml.contains(expected), "{expected} in\n{xml}");
    }
}

#[test]
fn character_devices_connect_if_nothing_is_said() {
    becomes(
        "<channel type='tcp'><source host='h' service='1'/><target type='virtio' name='a'/></channel>",
        &["<source mode='connect' host='h' service='1'/>", "<protocol type='raw'/>"],
    );
    let udp = "<serial type='udp'><source mode='connect' service='2'/><source mode='bind' service='1'/></serial>";
    becomes(udp, &["<source mode='bind' service='1'/>\n      <source mode='connect' service='2'/>"]);
    becomes("<serial type='unix'><source path='/s'/></serial>", &["<source mode='connect' path='/s'/>"]);
    let drawn = complete("", "<channel type='unix'><source mode='bind'/><target type='virtio'/></channel>");
    assert!(!drawn.contains("<source"), "{drawn}");
}

#[test]
fn character_devices_have_a_terminal_and_a_port() {
    becomes(
        "<serial/><serial><target port='4'/></serial><serial/><console/>",
        &["<serial type='pty'>\n      <target port='5'/>", "<target port='6'/>", "<console type='pty'>"],
    );
}

/// As libvirt 9.0 stores them.
#[test]
fn filesystems_are_directories_and_sizes_in_kib() {
    becomes("<filesystem><target dir='b'/></filesystem>", &["<filesystem type='mount' accessmode='passthrough'>"]);
    let ram = |size: &str| format!("<filesystem type='ram'><source {size}/><target dir='/b'/></filesystem>");
    for (size, stored) in [("usage='5'", "5"), ("usage='5' units='MiB'", "5120"), ("usage='1048576' units='b'", "1024")]
    {
        becomes(&ram(size), &[&format!("<source usage='{stored}' units='KiB'/>")]);
    }
    let large = refused("", &ram("usage='16' units='EiB'"));
    assert!(large.contains("filesystem/source/@usage") && large.contains("too large"), "{large}");
}

#[test]
fn vnc_listens_in_both_places() {
    for (written, expected) in [
        ("<graphics type='vnc'/>", "<graphics type='vnc' port='-1' autoport='yes'>\n      <listen type='address'/>"),
        (
            "<graphics type='vnc' port='5901' listen='::1'/>",
            "<graphics type='vnc' port='5901' autoport='no' listen='::1'>\n      <listen type='address' address='::1'/>",
        ),
        (
            "<graphics type='vnc'><listen type='address' address='::1'/></graphics>",
            "<graphics type='vnc' port='-1' autoport='yes' listen='::1'>",
        ),
        (
            "<graphics type='vnc' socket='/s'><listen type='address' address='::1'/></graphics>",
            "<graphics type='vnc' socket='/s'>\n      <listen type='socket' socket='/s'/>",
        ),
        ("<graphics type='vnc' autoport='no'/>", "<graphics type='vnc' autoport='no'>"),
        ("<graphics type='spice' port='-1'/>", "<graphics type='spice' autoport='yes'>"),
        ("<graphics type='spice' tlsPort='5902'/>", "<graphics type='spice' tlsPort='5902' autoport='no'>"),
        ("<graphics type='rdp'/>", "<graphics type='rdp' port='0' autoport='yes'>"),
        ("<graphics type='rdp' port='0'/>", "<graphics type='rdp' port='0' autoport='yes'>"),
        ("<graphics type='sdl'/>", "<graphics type='sdl'/>"),
    ] {
        becomes(written, &[expected]);
    }
}

#[test]
fn listening_contradictions_are_refused() {
    let vnc = |attributes: &str, listen: &str| {
        refused("", &format!("<graphics type='vnc' {attributes}><listen {listen}/></graphics>"))
    };
    assert!(vnc("", "type='network'").contains("/domain/devices/graphics/listen, line 3"));
    assert!(vnc("socket='/a'", "type='socket' socket='/b'").contains("graphics/@socket, line 3"));
    assert!(vnc("listen='::1'", "type='address' address='::'").contains("'::1' is not the address '::'"));
    let rdp = "<graphics type='rdp'><listen type='socket'/></graphics>";
    assert!(refused("", rdp).contains("'rdp' cannot listen on 'socket', use 'address'"));
}

#[test]
fn one_screen_is_the_first() {
    let two = "<video><model type='vga'/></video><video><model type='qxl' primary='yes'/></video>";
    becomes(two, &["<model type='qxl' heads='1' primary='yes'/>", "<model type='vga' heads='1'/>"]);
    becomes("<video><model type='none'/></video>", &["<model type='none'/>"]);
    let both = "<video><model type='vga' primary='yes'/></video><video><model type='qxl' primary='yes'/></video>";
    assert!(refused("", both).contains("/domain/devices/video[2]/model/@primary, line 3"));
}

#[test]
fn controllers_are_numbered() {
    let usb = "<controller type='usb' model='ich9-ehci1'/><controller type='usb' model='ich9-uhci1'><master startport='0'/></controller>";
    becomes(
        &format!("{usb}<controller type='scsi' index='0'/><controller type='scsi'/><controller type='usb'/>"),
        &[
            "<controller type='usb' index='0' model='ich9-ehci1'/>",
            "<controller type='usb' index='0' model='ich9-uhci1'>",
            "<controller type='scsi' index='1'/>",
            "<controller type='usb' index='1'/>",
        ],
    );
    let pci = "<controller type='pci' model='pci-bridge'/><controller type='pci' model='pci-root'/>";
    becomes(pci, &["index='1' model='pci-bridge'", "index='0' model='pci-root'"]);
    // A part that the set has already begins another; what comes between does not part it.
    let part = |model: &str| format!("<controller type='usb' model='{model}'/>");
    let models =
        ["ich9-uhci1", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "nec-xhci", "ich9-ehci1", "ich9-ehci1", "ich9-uhci2"];
    let numbers = [0, 0, 1, 1, 2, 1, 3, 3];
    let expected: Vec<_> = models
        .iter()
        .zip(numbers)
        .map(|(it, number)| format!("<controller type='usb' index='{number}' model='{it}'"))
        .collect();
    becomes(&models.map(part).concat(), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    let twice = "<controller type='scsi' index='3'/><controller type='scsi' index='3'/>";
    assert!(refused("", twice).contains("controller[2]/@index, line 3"));
}

#[test]
fn smart_cards_get_a_reader() {
    becomes(
        "<smartcard mode='host'><address type='ccid' controller='0' slot='0'/></smartcard><smartcard mode='host'/>",
        &["<address type='ccid' controller='0' slot='1'/>", "<controller type='ccid' index='0'/>"],
    );
}

#[test]
fn hardware_addresses_are_drawn_and_judged() {
    let card = |mac: &str| format!("<interface type='user'><mac address='{mac}'/></interface>");
    becomes(&card("52:54:0:a:B:C"), &["<mac address='52:54:00:0a:0b:0c'/>"]);
    for written in ["<interface type='user'/>".to_owned(), card("00:00:00:00:00:00")] {
        let xml = complete("", &written);
        assert!(xml.contains("<mac address='52:54:00:"), "{xml}");
        assert_eq!(xml, complete("", &written), "the same definition gets the same one");
    }
    assert!(refused("", &card("01:00:00:00:00:00")).contains("multicast"));
    for bad in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:+5", "é:54:00:12:34:56"] {
        assert!(refused("", &card(bad)).contains("/mac/@address, line 3 "), "{bad}");
    }
}

#[test]
fn something_is_booted() {
    becomes("", &["<boot dev='hd'/>"]);
    let disk =
        |order: &str| format!("<disk><source file='/d'/><target dev='vd{order}'/><boot order='{order}'/></disk>");
    assert!(!complete("", &disk("1")).contains("<boot dev="));
    let twice = format!("{}{}", disk("1"), disk("1").replace("vd1", "vdb"));
    assert!(refused("", &twice).contains("place 1 is that of /domain/devices/disk[1]/boot already"));
    assert!(refused("", &disk("0")).contains("0 is no place in the boot order"));
    let kinds = domain("", &disk("1")).replace("</os>", "<boot dev='cdrom'/></os>");
    let mut parsed = DomainConfig::parse(&kinds, &ParseOptions::default()).unwrap();
    let problems = complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions).unwrap_err();
    assert!(problems.to_string().contains("exclude each other"), "{problems}");
}

#[test]
fn each_thread_has_one_scheduler() {
    let tune = "<iothreads>3</iothreads><cputune><vcpusched vcpus='2-3' scheduler='idle' priority='5'/>\
                <vcpusched vcpus='0' scheduler='fifo' priority='1'/><iothreadsched iothreads='3,1' scheduler='batch'/></cputune>";
    let xml = complete(tune, "");
    let lines: Vec<&str> = xml.lines().map(str::trim).filter(|line| line.contains("sched ")).collect();
    assert_eq!(
        lines,
        [
            "<vcpusched vcpus='0' scheduler='fifo' priority='1'/>",
            "<vcpusched vcpus='2' scheduler='idle'/>",
            "<vcpusched vcpus='3' scheduler='idle'/>",
            "<iothreadsched iothreads='1' scheduler='batch'/>",
            "<iothreadsched iothreads='3' scheduler='batch'/>",
        ]
    );
    for (inner, expected) in [
        ("<vcpusched vcpus='4' scheduler='idle'/>", "there is no vCPU 4, the maximum is 4"),
        (
            "<vcpusched vcpus='1' scheduler='idle'/><vcpusched vcpus='0-1' scheduler='idle'/>",
            "vCPU 1 has a scheduler already",
        ),
        ("<vcpusched vcpus='1' scheduler='rr'/>", "needs its attribute 'priority'"),
        ("<iothreadsched iothreads='1' scheduler='idle'/>", "there is no I/O thread 1"),
        ("<period>999</period>", "a period of 999 µs, 1000 to 1000000 are possible"),
        ("<global_quota>999</global_quota>", "a quota of 999 µs"),
    ] {
        let problems = refused(&format!("<cputune>{inner}</cputune>"), "");
        assert!(problems.contains(expected), "{expected} in {problems}");
    }
    complete("<cputune><period>0</period><quota>-1</quota></cputune>", "");
}

#[test]
fn resctrl_groups_do_not_collide() {
    let cache = |vcpus: &str, kind: &str| {
        format!("<cachetune vcpus='{vcpus}'><cache id='0' level='3' type='{kind}' size='3' unit='MiB'/></cachetune>")
    };
    let memory = |vcpus: &str| format!("<memorytune vcpus='{vcpus}'><node id='0' bandwidth='50'/></memorytune>");
    for (inner, expected) in [
        (cache("0-1", "both") + &cache("1-2", "both"), "cachetune[2]/@vcpus, line 2"),
        (memory("0-1") + &memory("1"), "memorytune[2]/@vcpus"),
        (cache("0-1", "both") + &memory("0"), "'0' overlaps the <cachetune> of '0-1'"),
        (
            cache("0", "both").replace("</cachetune>", "<cache id='0' level='3' type='code' size='1'/></cachetune>"),
            "'code' of cache 0 at level 3 collides with 'both'",
        ),
        (
            memory("0").replace("</memorytune>", "<node id='0' bandwidth='1'/></memorytune>"),
            "memorytune/node[2]/@id, line 2",
        ),
        (
            cache("0", "both").replace("</cachetune>", "<monitor level='3' vcpus='1'/></cachetune>"),
            "'1' is not within the vCPUs '0' of the allocation",
        ),
        (
            memory("0-2").replace(
                "</memorytune>",
                "<monitor vcpus='0-2'/><monitor vcpus='0-1'/><monitor vcpus='1'/></memorytune>",
            ),
            "monitor[3]/@vcpus",
        ),
    ] {
        let problems = refused(&format!("<cputune>{inner}</cputune>"), "");
        assert!(problems.contains(expected), "{expected} in {problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
}

#[test]
fn resctrl_groups_are_of_existing_vcpus() {
    let tune = "<cputune><cachetune vcpus='2-9'><cache id='0' level='3' type='code' size='1'/></cachetune>\
                <cachetune vcpus='9'><monitor level='3' vcpus='9'/></cachetune><cachetune vcpus='0'/>\
                <memorytune vcpus='0'><node id='0' bandwidth='9'/></memorytune>\
                <memorytune vcpus='2-3'><node id='0' bandwidth='8'/></memorytune></cputune>";
    let xml = complete(tune, "");
    let groups: Vec<&str> = xml.lines().map(str::trim).filter(|line| line.contains("tune vcpus")).collect();
    assert_eq!(groups, ["<cachetune vcpus='2-3'>", "<memorytune vcpus='2-3'>", "<memorytune vcpus='0'>"]);
}
