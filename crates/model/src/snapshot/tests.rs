use super::*;

const DOMAIN: &str = "<domain type='kvm'><name>a</name><devices>
    <disk type='file'><source file='/i/a.img'/><target dev='vda'/></disk>
    <disk type='block'><source dev='/dev/b'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><target dev='sda'/></disk></devices></domain>";

fn domain() -> DomainConfig {
    DomainConfig::parse(DOMAIN, &ParseOptions::default()).unwrap().config
}

fn requested(text: &str) -> Result<DomainSnapshot, String> {
    let parsed = DomainSnapshot::from_xml(text, &ParseOptions::default()).map_err(|e| e.to_string())?;
    let mut snapshot = parsed.config;
    snapshot.request(Some(7), &parsed.positions).map_err(|e| e.to_string())?;
    Ok(snapshot)
}

fn aligned(text: &str, scope: Scope, usual: DiskSnapshot) -> Result<String, String> {
    let parsed = DomainSnapshot::from_xml(text, &ParseOptions::default()).map_err(|e| e.to_string())?;
    let mut snapshot = parsed.config;
    let align = |snapshot: &mut DomainSnapshot| {
        snapshot.request(Some(7), &parsed.positions).map_err(|e| e.to_string())?;
        snapshot.align(&domain(), scope, usual, &parsed.positions).map_err(|e| e.to_string())?;
        Ok::<_, String>(snapshot.to_xml_with(FormatOptions::new()))
    };
    let once = align(&mut snapshot)?;
    assert_eq!(align(&mut snapshot)?, once);
    Ok(once)
}

fn redefined(text: &str) -> Result<String, String> {
    let parsed = DomainSnapshot::from_xml(text, &ParseOptions::default()).map_err(|e| e.to_string())?;
    let mut snapshot = parsed.config;
    snapshot.redefine(&parsed.positions).map_err(|e| e.to_string())?;
    Ok(snapshot.to_xml_with(FormatOptions::new()))
}

#[test]
fn a_wish_says_nothing_that_only_a_hypervisor_knows() {
    let text = "<domainsnapshot><state>running</state><parent><name>p</name></parent><creationTime>1</creationTime>
        <domain type='kvm'><name>a</name></domain><active>1</active></domainsnapshot>";
    let snapshot = requested(text).unwrap();
    let expected = "<domainsnapshot>\n  <name>7</name>\n  <creationTime>7</creationTime>\n</domainsnapshot>\n";
    assert_eq!(snapshot.to_xml_with(FormatOptions::new()), expected);
}

#[test]
fn both_forms_of_the_guest_pass_through() {
    let text = |domain: &str| {
        format!(
            "<domainsnapshot>\n  <name>s</name>\n  <state>paused</state>\n  <creationTime>1</creationTime>\n  <memory snapshot='internal'/>\n{domain}</domainsnapshot>\n"
        )
    };
    let uuid = "  <domain>\n    <uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>\n  </domain>\n";
    assert_eq!(redefined(&text(uuid)).unwrap(), text(uuid));
    let whole = "  <domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n    <name>a</name>\n    <devices>\n    </devices>\n    <qemu:commandline>\n      <qemu:arg value='-S'/>\n    </qemu:commandline>\n  </domain>\n";
    let printed = redefined(&text(whole)).unwrap();
    assert!(printed.contains("<qemu:arg value='-S'/>") && printed.contains("xmlns:qemu="), "{printed}");
    assert_eq!(redefined(&printed).unwrap(), printed);
    assert_eq!(redefined(&text("").replace("  <memory snapshot='internal'/>\n", "")).unwrap(), text(""));
}

#[test]
fn a_snapshot_with_memory_keeps_it_in_the_disks() {
    let xml = aligned("<domainsnapshot/>", Scope::System, DiskSnapshot::Internal).unwrap();
    for expected in ["<memory snapshot='internal'/>", "name='vdb' snapshot='internal'/>", "name='sda' snapshot='no'/>"]
    {
        assert!(xml.contains(expected), "{expected} not in\n{xml}");
    }
}

#[test]
fn new_images_stand_beside_the_old_ones() {
    let text = "<domainsnapshot><name>s 1</name><disks><disk name='/dev/b' snapshot='no'/></disks></domainsnapshot>";
    let xml = aligned(text, Scope::Disks, DiskSnapshot::External).unwrap();
    let expected = "    <disk name='vda' snapshot='external' type='file'>
      <driver type='qcow2'/>
      <source file='/i/a.s 1'/>
    </disk>
    <disk name='vdb' snapshot='no'/>
    <disk name='sda' snapshot='no'/>
";
    assert!(xml.contains(expected), "{xml}");
}

#[test]
fn broken_rules_are_told_at_their_places() {
    let disks = |disk: &str| format!("<domainsnapshot><disks>{disk}</disks></domainsnapshot>");
    let memory = |memory: &str| format!("<domainsnapshot>{memory}</domainsnapshot>");
    let name = |name: &str| format!("<domainsnapshot><name>{name}</name></domainsnapshot>");
    let disk = "/domainsnapshot/disks/disk";
    for (text, path, part) in [
        (name("../x"), "/domainsnapshot/name", "path"),
        (name(".x"), "/domainsnapshot/name", "dot"),
        (name(&"x".repeat(201)), "/domainsnapshot/name", "201 bytes"),
        (memory("<memory snapshot='external'/>"), "/domainsnapshot/memory", "file"),
        (memory("<memory file='m'/>"), "/domainsnapshot/memory/@file", "absolute"),
        (memory("<memory snapshot='internal' file='/m'/>"), "/domainsnapshot/memory/@file", "external"),
        (memory("<memory snapshot='internal'/>"), "/domainsnapshot/memory", "disks alone"),
        (disks("<disk name='vdz'/>"), disk, "no disk 'vdz'"),
        (disks("<disk name='vda'/><disk name='/i/a.img'/>"), disk, "twice"),
        (disks("<disk name='sda' snapshot='internal'/>"), disk, "medium"),
        (disks("<disk name='vdb' snapshot='external'/>"), disk, "no file name follows"),
        (disks("<disk name='vda' snapshot='no'><source file='/n'/></disk>"), disk, "external"),
        (disks("<disk name='vda'><source file='n'/></disk>"), disk, "absolute"),
        (disks("<disk name='vda'><source file='/i/a.img'/></disk><disk name='vdb' snapshot='no'/>"), disk, "has now"),
        (disks("<disk name='vda' snapshot='external' type='block'/>"), disk, "dev"),
        (disks("<disk name='vda' snapshot='external' type='dir'/>"), disk, "'dir'"),
        (disks("<disk name='vda' snapshot='external' type='network'/>"), disk, "protocol"),
        (
            disks("<disk name='vda'><source file='/n'/></disk><disk name='vdb'><source file='/n'/></disk>"),
            "/domainsnapshot",
            "both get '/n'",
        ),
        (
            disks("<disk name='vda' snapshot='no'/><disk name='vdb' snapshot='no'/>"),
            "/domainsnapshot",
            "no disk takes part",
        ),
    ] {
        let problems = aligned(&text, Scope::Disks, DiskSnapshot::External).unwrap_err();
        let told = problems.lines().any(|line| line.starts_with(path) && line.contains(part));
        assert!(told, "{text}: {problems}");
    }
    let mixed = disks("<disk name='vda' snapshot='external'/>");
    assert!(aligned(&mixed, Scope::System, DiskSnapshot::Internal).unwrap_err().contains("use the same for both"));
}

#[test]
fn what_is_defined_again_is_complete() {
    let problems = redefined("<domainsnapshot/>").unwrap_err();
    for part in ["<name>", "<creationTime>", "<state>"] {
        assert!(problems.contains(part), "{problems}");
    }
    let text = "<domainsnapshot><name>a</name><state>disk-snapshot</state><parent><name>a</name></parent>
        <creationTime>1</creationTime><memory snapshot='internal'/></domainsnapshot>";
    let problems = redefined(text).unwrap_err();
    assert!(problems.contains("its own parent") && problems.contains("has no memory"), "{problems}");
}
