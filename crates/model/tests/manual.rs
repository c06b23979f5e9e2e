//! Rules of the manual that need no driver: each broken one is reported where it is broken, and alone.

use polyvirt_model::{DomainConfig, Guest, ParseOptions, complete_and_check};

fn problems(elements: &str, devices: &str) -> String {
    let text = format!(
        "<domain type='kvm'><name>a</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid><memory>1048576</memory>\
         <vcpu>4</vcpu>{elements}\n<devices>{devices}</devices></domain>"
    );
    let mut parsed = DomainConfig::parse(&text, &ParseOptions::default()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    match complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

/// These devices break one rule: at the path, with the words.
#[track_caller]
fn broken(elements: &str, devices: &str, path: &str, words: &str) {
    let found = problems(elements, devices);
    assert_eq!(found.lines().count(), 1, "{elements}{devices}\n{found}");
    assert!(found.starts_with(&format!("/domain/{path}, line ")), "{path} in\n{found}");
    assert!(found.contains(words), "{words} in\n{found}");
}

#[track_caller]
fn fine(elements: &str, devices: &str) {
    assert_eq!(problems(elements, devices), "", "{elements}{devices}");
}

fn disk(attributes: &str, inner: &str) -> String {
    format!("<disk {attributes}><source file='/d'/>{inner}</disk>")
}

#[test]
fn addresses() {
    let at = |address: &str| disk("", &format!("<target dev='vda'/><address type='pci' {address}/>"));
    for (address, part) in [("slot='0x20'", "slot"), ("bus='256'", "bus"), ("function='8'", "function")] {
        broken("", &at(address), &format!("devices/disk/address/@{part}"), "are possible");
    }
    let twice = at("bus='1' slot='2'") + "<rng><address type='pci' bus='1' slot='2'/></rng>";
    broken("", &twice, "devices/rng/address", "/domain/devices/disk/address is the same");
    fine("", &(at("bus='1' slot='2'") + "<rng><address type='pci' bus='1' slot='2' function='1'/></rng>"));
    let unit = |dev: &str, unit: u32| disk("", &format!("<target dev='{dev}'/><address type='drive' unit='{unit}'/>"));
    broken("", &(unit("sda", 0) + &unit("sdb", 0)), "devices/disk[2]/address", "'sda' sits already");
    fine("", &(unit("sda", 0) + &unit("hda", 0)));
    let implied = disk("", "<target dev='sda' bus='sata'/>")
        + &disk("", "<target dev='sdb' bus='sata'/><address type='drive' unit='0'/>");
    broken("", &implied, "devices/disk[2]/address", "'sda' sits already");
    let usb = disk("", "<target dev='sda' bus='usb'/><address type='pci'/>");
    broken("", &usb, "devices/disk/address/@type", "use type='usb'");
    let ccw = disk("", "<target dev='vda'/><address type='ccw' cssid='0xff' ssid='0' devno='1'/>");
    broken("", &ccw, "devices/disk/address/@cssid", "0 to 0xfe are possible");
    let console = "<serial><address type='pci' slot='2'/></serial><console><address type='pci' slot='2'/></console>";
    fine("", console);
}

/// What completion adds keeps the rules too.
#[test]
fn completed_numbers() {
    let root = "<controller type='pci' model='pcie-root'/>";
    let taken = format!("{root}<controller type='pci' index='0' model='pcie-root-port'/>");
    broken("", &taken, "devices/controller[1]/@index", "the root of PCI Express has index 0");
    fine("", root);
}

#[test]
fn aliases() {
    let named = |name: &str| format!("<rng><alias name='{name}'/></rng>");
    broken("", &(named("ua-a") + &named("ua-a")), "devices/rng[2]/alias/@name", "/domain/devices/rng[1] has the alias");
    broken("", &named("ua-a b"), "devices/rng/alias/@name", "is no alias");
    fine("", &(named("rng0") + &named("rng0")));
}

#[test]
fn disks() {
    let target = "<target dev='sda'/>";
    broken("", &disk("device='lun'", target), "devices/disk/@device", "needs 'block', 'volume' or iSCSI");
    broken("", &disk("rawio='yes'", target), "devices/disk/@rawio", "only device 'lun'");
    for (inner, path, words) in [
        ("<wwn>5000</wwn>", "wwn", "16 hexadecimal digits"),
        ("<vendor>123456789</vendor>", "vendor", "up to 8 printable"),
        ("<product>ä</product>", "product", "up to 16 printable"),
        (
            "<iotune><total_bytes_sec>1</total_bytes_sec><read_bytes_sec>1</read_bytes_sec></iotune>",
            "iotune/total_bytes_sec",
            "excludes",
        ),
        ("<driver iothread='3'/>", "driver/@iothread", "there is no I/O thread 3"),
        ("<throttlefilters><throttlefilter group='g'/></throttlefilters>", "throttlefilters", "no <throttlegroup> 'g'"),
    ] {
        broken("", &disk("", &format!("{target}{inner}")), &format!("devices/disk/{path}"), words);
    }
    broken(
        "",
        &disk("", "<target dev='sda' rotation_rate='2'/>"),
        "devices/disk/target/@rotation_rate",
        "1025 to 65534",
    );
    let numbered = |dev: &str, serial: &str| {
        disk("", &format!("<target dev='{dev}'/><serial>{serial}</serial><wwn>0x5000c50015ea71ad</wwn>"))
    };
    broken("", &(numbered("sda", "1") + &numbered("sdb", "1")), "devices/disk[2]/wwn", "has the same world wide name");
    fine("", &(numbered("sda", "1") + &numbered("sdb", "2")));
    let both = "<disk type='network'><auth username='a'/><source protocol='rbd' name='p/i'><auth username='a'/></source>\
                <target dev='vda'/></disk>";
    broken("", both, "devices/disk/auth", "keep that one");
    let nfs = "<disk type='network'><source protocol='nfs' name='/x'><host name='h' port='1'/></source><target dev='vda'/></disk>";
    broken("", nfs, "devices/disk/source/host/@port", "NFS has no port");
    let group = "<throttlegroups><throttlegroup><group_name>g</group_name></throttlegroup></throttlegroups>";
    fine(group, &disk("", &format!("{target}<throttlefilters><throttlefilter group='g'/></throttlefilters>")));
}

#[test]
fn devices_of_the_host_are_given_once() {
    let device = |kind: &str, source: &str| {
        format!("<hostdev mode='subsystem' type='{kind}'><source>{source}</source></hostdev>")
    };
    for (kind, source) in [
        ("pci", "<address bus='1' slot='2' function='0'/>"),
        ("usb", "<address bus='1' device='2'/>"),
        ("scsi", "<adapter name='scsi_host0'/><address bus='0' target='0' unit='1'/>"),
        ("mdev", "<address uuid='53764d0e-85a0-42b4-af5c-2046b460b1dc'/>"),
    ] {
        broken("", &device(kind, source).repeat(2), "devices/hostdev[2]/source", "a device is given once");
    }
    fine("", &device("usb", "<vendor id='1'/><product id='2'/>").repeat(2));
    let port = |name: &str| {
        format!("<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='{name}'/></hostdev>")
    };
    broken("", &port("50014057667280d8"), "devices/hostdev/source/@wwpn", "naa. and 16 hexadecimal digits");
    fine("", &port("naa.50014057667280d8"));
    let shown = "<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on'/>";
    broken("", shown, "devices/hostdev/@display", "a display needs <graphics");
    fine("", &format!("{shown}<graphics type='vnc'/>"));
}

#[test]
fn interfaces() {
    let card = |inner: &str| format!("<interface type='user'>{inner}</interface>");
    broken("", &card("<vlan><tag id='4096'/></vlan>"), "devices/interface/vlan/tag/@id", "0 to 4095");
    broken("", &card("<teaming type='transient'/>"), "devices/interface/teaming", "needs 'persistent'");
    broken("", &card("<portForward proto='tcp'/>"), "devices/interface/portForward", "forwarded by passt");
    let forward = |range: &str| card(&format!("<portForward proto='tcp'>{range}</portForward><backend type='passt'/>"));
    fine("", &forward("<range start='80' end='90' to='8080'/>"));
    broken(
        "",
        &forward("<range start='80' end='70'/>"),
        "devices/interface/portForward/range/@end",
        "before the first",
    );
    let indexed = card("<acpi index='3'/>") + &card("<acpi index='3'/>");
    broken("", &indexed, "devices/interface[2]/acpi/@index", "has the index 3 already");
    let team = card("<teaming type='persistent'/><alias name='ua-b'/>")
        + &card("<teaming type='transient' persistent='ua-b'/>");
    fine("", &team);
    broken(
        "",
        &team.replace("persistent='ua-b'", "persistent='ua-c'"),
        "devices/interface[2]/teaming/@persistent",
        "'ua-c'",
    );
}

#[test]
fn the_machine() {
    for (elements, path, words) in [
        ("<os><type>hvm</type><loader stateless='yes'/><nvram>/n</nvram></os>", "os/nvram", "keeps no variables"),
        ("<os><type>hvm</type><bootmenu enable='yes' timeout='65536'/></os>", "os/bootmenu/@timeout", "0 to 65535"),
        ("<os><type>hvm</type><bios rebootTimeout='-2'/></os>", "os/bios/@rebootTimeout", "or -1 for never"),
        ("<cpu mode='host-model'><model vendor_id='short'/></cpu>", "cpu/model/@vendor_id", "a vendor has 12"),
        (
            "<cpu mode='maximum'><maxphysaddr mode='passthrough' bits='42'/></cpu>",
            "cpu/maxphysaddr/@bits",
            "leave 'bits' out",
        ),
        (
            "<features><hyperv><spinlocks state='on' retries='4094'/></hyperv></features>",
            "features/hyperv/spinlocks/@retries",
            "4095",
        ),
        (
            "<features><kvm><dirty-ring state='on' size='1000'/></kvm></features>",
            "features/kvm/dirty-ring/@size",
            "power of two",
        ),
        ("<features><tcg><tb-cache unit='KiB'>5</tb-cache></tcg></features>", "features/tcg/tb-cache", "whole MiB"),
        ("<clock offset='timezone'/>", "clock", "needs its attribute 'timezone'"),
        ("<clock offset='absolute'/>", "clock", "needs its attribute 'start'"),
        (
            "<sysinfo type='smbios'><bios><entry name='date'>13/01/2020</entry></bios></sysinfo>",
            "sysinfo/bios/entry",
            "is no date",
        ),
        (
            "<sysinfo type='smbios'><system><entry name='uuid'>53764d0e-85a0-42b4-af5c-2046b460b1dc</entry></system></sysinfo>",
            "sysinfo/system/entry",
            "is not the guest's",
        ),
        ("<sysinfo type='fwcfg'><entry name='etc/x'>v</entry></sysinfo>", "sysinfo/entry/@name", "begin with opt/"),
        ("<seclabel type='static' model='dac'/>", "seclabel", "needs its <label>"),
        ("<seclabel type='dynamic' model='dac' relabel='no'/>", "seclabel/@relabel", "always relabelled"),
        ("<seclabel model='dac'/><seclabel model='dac'/>", "seclabel[2]", "a second <seclabel>"),
        ("<idmap><uid start='1' target='1' count='1'/></idmap>", "idmap/uid", "nothing maps uid 0"),
        ("<perf><event name='cmt'/><event name='cmt'/></perf>", "perf/event[2]/@name", "'cmt' is given twice"),
        (
            "<keywrap><cipher name='aes'/><cipher name='aes'/></keywrap>",
            "keywrap/cipher[2]/@name",
            "'aes' is given twice",
        ),
        (
            "<memtune><hard_limit>2</hard_limit><swap_hard_limit>1</swap_hard_limit></memtune>",
            "memtune/swap_hard_limit",
            "raise it",
        ),
        ("<iothreadids><iothread id='1'/><iothread id='1'/></iothreadids>", "iothreadids/iothread[2]/@id", "already"),
        (
            "<defaultiothread thread_pool_min='5' thread_pool_max='2'/>",
            "defaultiothread/@thread_pool_min",
            "is more than",
        ),
        ("<vcpus><vcpu id='3' enabled='no' hotpluggable='no'/></vcpus>", "vcpus/vcpu/@hotpluggable", "never used"),
    ] {
        broken(elements, "", path, words);
    }
    fine("<sysinfo type='smbios'><bios><entry name='date'>01/31/20</entry></bios></sysinfo>", "");
}

#[test]
fn single_devices() {
    let doorbell = "<shmem name='s'><model type='ivshmem-doorbell'/><size unit='M'>1</size>";
    for (devices, path, words) in [
        ("<controller type='scsi' model='qemu-xhci'/>", "controller/@model", "possible are auto, buslogic"),
        ("<controller type='fdc' model='none'/>", "controller/@model", "leave it out"),
        ("<controller type='pci' index='1' model='pcie-root'/>", "controller/@index", "has index 0"),
        (
            "<controller type='pci' index='1' model='pci-bridge'><target chassisNr='0'/></controller>",
            "controller/target/@chassisNr",
            "1 to 255",
        ),
        ("<sound model='ich9'><audio id='1'/></sound>", "sound/audio/@id", "there is no <audio id='1'>"),
        ("<audio id='1' type='none'/><audio id='1' type='none'/>", "audio[2]/@id", "a backend 1 already"),
        ("<shmem name='a/b'/>", "shmem/@name", "is no name"),
        ("<shmem name='a'><size unit='M'>3</size></shmem>", "shmem/size", "a power of two"),
        (&format!("{doorbell}<msi/></shmem>"), "shmem/msi", "come from a server"),
        ("<tpm/><tpm/>", "tpm[2]", "a second TPM"),
        ("<vsock><cid address='2'/></vsock>", "vsock/cid/@address", "begin with 3"),
        ("<lease><key>k</key></lease><lease><key>k</key></lease>", "lease[2]", "given twice"),
        (
            "<filesystem><target dir='a'/></filesystem><filesystem><target dir='a'/></filesystem>",
            "filesystem[2]/target/@dir",
            "is 'a' already",
        ),
        ("<controller type='usb' model='none'/><hub type='usb'/>", "hub", "USB is switched off"),
        (
            "<channel type='tcp'><source host='h' service='1'><reconnect enabled='yes' timeout='0'/></source></channel>",
            "channel/source/reconnect/@timeout",
            "at least 1",
        ),
        ("<memory model='nvdimm'><target><size>1024</size></target></memory>", "memory", "needs <source><path>"),
        ("<memory model='dimm'><target/></memory>", "memory/target", "lacks its element <size>"),
        (
            "<memory model='virtio-mem'><target><size unit='M'>8</size><block unit='M'>4</block><requested unit='M'>6</requested></target></memory>",
            "memory/target/requested",
            "no whole blocks",
        ),
    ] {
        broken("", devices, &format!("devices/{path}"), words);
    }
    let mapped = |base: &str| {
        format!("<memory model='virtio-mem'><target><size unit='M'>8</size><address base='{base}'/></target></memory>")
    };
    broken("", &(mapped("0x140000000") + &mapped("0x140400000")), "devices/memory[2]", "begins at 0x140400000");
    fine("", &(mapped("0x140000000") + &mapped("0x140800000")));
    fine("", "<tpm/><tpm model='spapr-tpm-proxy'/>");
    let dimms = "<memory model='dimm'><target><size>1024</size></target></memory>".repeat(2);
    broken("<maxMemory slots='1' unit='GiB'>8</maxMemory>", &dimms, "maxMemory/@slots", "1 slots for 2 memory devices");
}
