use super::*;
use crate::{Guest, ParseOptions, Positions, complete};

const BASE: &str = "<domain type='kvm'><name>a</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>
    <memory unit='GiB'>1</memory><vcpu>2</vcpu>
    <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><features><acpi/></features>
    <devices>
    <disk type='file'><driver name='qemu' type='raw' cache='none'/><source file='/a'/><target dev='vda' bus='virtio'/>
      <serial>S1</serial></disk>
    <disk type='file'><source file='/b'/><target dev='vdb' bus='virtio'/><address type='pci' bus='0' slot='4'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><model type='virtio'/></interface>
    <graphics type='vnc' port='-1' passwd='x'/>
    <video><model type='vga'/></video>
    </devices></domain>";

fn config(text: &str) -> DomainConfig {
    let mut config = DomainConfig::parse(text, &ParseOptions::default()).unwrap_or_else(|e| panic!("{e}")).config;
    complete(&mut config, Guest::Existing, &Positions::default()).unwrap();
    config
}

/// The difference after replacing something of the base: lines, those that the guest sees with a `!`.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "{from}");
    let (before, after) = (config(BASE), config(&BASE.replace(from, to)));
    let mut back: Vec<_> = diff(&after, &before).iter().map(|it| (it.after.clone(), it.before.clone())).collect();
    let changes = diff(&before, &after);
    let mut sides: Vec<_> = changes.iter().map(|it| (it.before.clone(), it.after.clone())).collect();
    sides.sort();
    back.sort();
    if !from.contains("passwd") {
        assert_eq!(sides, back, "the way back");
    }
    changes.iter().map(|it| format!("{}{it}", if it.guest { "!" } else { "" })).collect()
}

#[test]
fn changes_in_words_and_whether_the_guest_sees_them() {
    assert_eq!(diff(&config(BASE), &config(BASE)), []);
    for (from, to, expected) in [
        (
            "<memory unit='GiB'>1",
            "<memory unit='GiB'>2",
            vec!["!memory: 1 GiB → 2 GiB", "currentMemory: 1 GiB → 2 GiB"],
        ),
        ("<vcpu>2", "<vcpu>4", vec!["!vcpu: 2 → 4"]),
        ("cache='none'", "cache='writeback'", vec!["disk vda: cache none → writeback"]),
        (" cache='none'", "", vec!["disk vda: cache none → not set"]),
        ("<source file='/a'", "<source file='/c'", vec!["disk vda: source file /a → /c"]),
        ("<serial>S1</serial>", "<serial>S2</serial>", vec!["!disk vda: serial S1 → S2"]),
        ("slot='4'", "slot='5'", vec!["!disk vdb: address pci 00:04 → pci 00:05"]),
        ("pc-q35-7.2", "pc-q35-8.0", vec!["!os type: machine pc-q35-7.2 → pc-q35-8.0"]),
        ("<acpi/>", "<acpi/><apic/>", vec!["!features apic: added"]),
        (
            "type='vga'",
            "type='qxl'",
            vec![
                "!video vga: removed (model type vga, model heads 1, model primary yes)",
                "!video qxl: added (model type qxl, model heads 1, model primary yes)",
            ],
        ),
        ("network='default'", "network='other'", vec!["interface 52:54:00:00:00:01: source network default → other"]),
        ("<name>a</name>", "<name>b</name>", vec!["name: a → b"]),
        ("<devices>", "<devices><emulator>/x</emulator>", vec!["emulator: not set → /x"]),
        ("dev='vdb'", "dev='vdc'", vec!["!disk vdb: target dev vdb → vdc"]),
        (
            "<vcpu>2</vcpu>",
            "<vcpu>2</vcpu><cputune><vcpupin vcpu='1' cpuset='3'/></cputune>",
            vec!["vcpupin 1: added (vcpu 1, cpuset 3)"],
        ),
        ("<name>a</name>", "<name>a</name><metadata><x xmlns='urn:x'/></metadata>", vec!["metadata: added"]),
    ] {
        assert_eq!(changed(from, to), expected, "{to}");
    }
}

#[test]
fn devices_are_matched_by_what_they_are() {
    let first = "<disk type='file'><driver name='qemu' type='raw' cache='none'/>";
    let added = format!("<disk type='file'><source file='/n'/><target dev='vdn' bus='virtio'/></disk>{first}");
    let lines = changed(first, &added);
    assert_eq!(lines, ["!disk vdn: added (type file, device disk, source file /n, target dev vdn, target bus virtio)"]);
    let card = "52:54:00:00:00:01";
    let lines = changed(card, "52:54:00:00:00:02");
    assert_eq!(lines.len(), 2, "another address is another card: {lines:?}");
    assert!(
        lines[0].starts_with(&format!("!interface {card}: removed (type network, source network default")),
        "{lines:?}"
    );
}

#[test]
fn order_is_no_difference_and_secrets_are_not_shown() {
    let (start, end) = (BASE.find("<disk").unwrap(), BASE.find("<interface").unwrap());
    let disks = &BASE[start..end];
    let second = disks.rfind("<disk").unwrap();
    let turned = BASE.replace(disks, &format!("{}{}", &disks[second..], &disks[..second]));
    assert_eq!(diff(&config(BASE), &config(&turned)), []);
    assert_eq!(changed("passwd='x'", "passwd='hunter2'"), ["graphics vnc: passwd a secret → another secret"]);
}

#[test]
fn the_abi_check_names_what_the_guest_sees_alone() {
    let after = BASE.replace("cache='none'", "cache='unsafe'").replace(">S1<", ">S2<");
    let changes = abi_changes(&config(BASE), &config(&after));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path, "/domain/devices/disk[vda]/serial");
}

#[test]
fn a_console_that_is_counted_anew_is_the_same_console() {
    let of = |port: &str| {
        let serial = "<console type='pty'><target type='serial' port='0'/></console>";
        let text = format!(
            "<domain type='kvm'><name>a</name><devices>{serial}<console type='pty'><target type='virtio' port='{port}'/></console></devices></domain>"
        );
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config
    };
    let changes = diff(&of("0"), &of("1"));
    assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["console virtio 0: target port 0 → 1"]);
    assert!(!changes[0].guest, "{changes:?}");
}
