//! Values have types: words, numbers, addresses and extensions of the hypervisors are read as what they are, and what they
//! cannot be is refused where it stands.

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

use polyvirt_model::extensions::{LxcShare, QemuDeprecationBehavior, QemuPropertyType};
use polyvirt_model::interface::{MacAddress, PortId};
use polyvirt_model::{DomainConfig, ParseOptions, Unknown};

fn domain(elements: &str) -> String {
    format!("<domain type='kvm'><name>a</name>{elements}</domain>")
}

fn parse(text: &str) -> DomainConfig {
    let parsed = DomainConfig::parse(text, &ParseOptions::with_unknown(Unknown::Reject));
    parsed.unwrap_or_else(|problems| panic!("{problems}\n{text}")).config
}

/// The device is read, and printed as given.
fn same(device: &str) {
    let xml = parse(&domain(&format!("<devices>{device}</devices>"))).to_xml();
    let flat: String = xml.lines().map(str::trim).collect();
    assert!(flat.contains(device), "{device} in\n{xml}");
}

/// The only problem of a domain with these elements.
fn problem(elements: &str) -> String {
    let text = domain(elements);
    let problems = DomainConfig::parse(&text, &ParseOptions::default()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
    problems.to_string()
}

#[test]
fn devices_are_printed_as_they_were() {
    for device in [
        "<controller type='scsi' index='0' model='virtio-scsi'/>",
        "<controller type='pci' index='1' model='pcie-root-port'><model name='ioh3420'/></controller>",
        "<filesystem type='mount' accessmode='mapped' fmode='0644' dmode='0755'><source dir='/a'/><target dir='b'/></filesystem>",
        "<filesystem type='ram'><source usage='1' units='MiB'/><target dir='/b'/></filesystem>",
        "<hostdev type='usb' mode='subsystem'><source guestReset='uninitialized'><address bus='1' port='1.2'/></source></hostdev>",
        "<hostdev type='mdev' mode='subsystem' model='vfio-ap'/>",
        "<interface type='direct'><source dev='eth0' mode='vepa'/></interface>",
        "<interface type='user'><ip address='2001:db8::1' family='ipv6' prefix='64'/></interface>",
        "<interface type='bridge'><vlan><tag id='7' nativeMode='untagged'/></vlan></interface>",
        "<serial type='pty'><target type='system-serial' port='0'><model name='16550a'/></target></serial>",
        "<input type='evdev'><source dev='/dev/input/event1' grab='all' repeat='on' grabToggle='ctrl-ctrl'/></input>",
        "<audio id='1' type='oss' tryMMap='yes' exclusive='yes' dspPolicy='4'/>",
        "<redirfilter><usbdev class='0x08' vendor='0x15E1' product='-1' version='1.10' allow='yes'/></redirfilter>",
        "<tpm><backend type='external'><source type='unix' mode='connect' path='/s'/></backend></tpm>",
        "<disk type='file'><target dev='vda'/><boot order='1' loadparm='2.LP'/></disk>",
    ] {
        same(device);
    }
}

#[test]
fn ports_of_both_kinds_of_switches() {
    let card = |source: &str| {
        let config = parse(&domain(&format!("<devices><interface type='vds'>{source}</interface></devices>")));
        config.devices.interfaces[0].source.as_ref().unwrap().portid
    };
    assert_eq!(card("<source portid='6' connectionid='12345'/>"), Some(PortId::Number(6)));
    assert!(matches!(card("<source portid='873be5a0-6b8a-4a0b-a1df-ef3659cd64bc'/>"), Some(PortId::Network(_))));
}

#[test]
fn what_a_value_cannot_be_is_refused() {
    for (devices, expected) in [
        ("<interface><mac address='1:2:3'/></interface>", "/interface/mac/@address, line 1 column"),
        ("<interface><ip address='10.0.0.300'/></interface>", "'10.0.0.300' is not an IP address"),
        ("<controller type='scsi' model='virtio-scis'/>", "did you mean 'virtio-scsi'?"),
        ("<filesystem fmode='888'/>", "octal 0 to 777 are possible"),
        ("<disk><source protocol='nbd'><host port='65536'/></source></disk>", "0 to 65535 is possible"),
        ("<disk><driver type='qkow2'/></disk>", "did you mean 'qcow2'?"),
        ("<hostdev type='usb'><source><address bus='1' port='1.0'/></source></hostdev>", "is not a USB port"),
        ("<graphics type='spice'><mouse mode='bind'/></graphics>", "'bind' is not one of 'server', 'client'"),
        ("<graphics passwdValidTo='2010-02-30T00:00:00'/>", "is no moment in UTC"),
        ("<disk><boot loadparm='toolongname'/></disk>", "is not one to eight letters"),
    ] {
        let shown = problem(&format!("<devices>{devices}</devices>"));
        assert!(shown.contains(expected), "{devices}\n{shown}");
    }
    assert!(problem("<clock adjustment='soon'/>").contains("neither a number of seconds nor 'reset'"));
    assert!(problem("<os><type arch='x86_46'>hvm</type></os>").contains("did you mean 'x86_64'?"));
    let field = |block: &str, name: &str| {
        problem(&format!("<sysinfo type='smbios'><{block}><entry name='{name}'>v</entry></{block}></sysinfo>"))
    };
    assert!(field("bios", "serial").contains("is not one of 'vendor', 'version', 'date', 'release'"));
    assert!(field("chassis", "aset").contains("did you mean 'asset'?"));
    assert!(problem("<features><gic version='4'/></features>").contains("'4' is not one of '2', '3', 'host'"));
}

/// Elements of every hypervisor's namespace, in the order in which they are printed.
const EXTENDED: &str = "\
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' xmlns:lxc='http://libvirt.org/schemas/domain/lxc/1.0' xmlns:xen='http://libvirt.org/schemas/domain/xen/1.0' xmlns:bhyve='http://libvirt.org/schemas/domain/bhyve/1.0' xmlns:vmware='http://libvirt.org/schemas/domain/vmware/1.0' xmlns:o='urn:o'>
  <name>a</name>
  <devices/>
  <qemu:commandline>
    <qemu:arg value='-x'/>
    <qemu:env name='A' value='b'/>
    <qemu:env name='C'/>
  </qemu:commandline>
  <qemu:capabilities>
    <qemu:add capability='blockdev'/>
    <qemu:del capability='drive'/>
  </qemu:capabilities>
  <qemu:override>
    <qemu:device alias='ua-disk'>
      <qemu:frontend>
        <qemu:property name='write-cache' type='bool' value='true'/>
        <qemu:property name='serial' type='remove'/>
      </qemu:frontend>
    </qemu:device>
  </qemu:override>
  <qemu:deprecation behavior='crash'/>
  <lxc:namespace>
    <lxc:sharenet type='netns' value='red'/>
    <lxc:shareipc type='pid' value='12345'/>
    <lxc:shareuts type='name' value='other'/>
  </lxc:namespace>
  <xen:commandline>
    <xen:arg value='-y'/>
  </xen:commandline>
  <bhyve:commandline>
    <bhyve:arg value='-z'/>
  </bhyve:commandline>
  <vmware:datacenterpath>folder/centre</vmware:datacenterpath>
  <o:other kept='as it is'/>
</domain>
";

#[test]
fn extensions_have_types() {
    let config = parse(EXTENDED);
    assert_eq!(config.to_xml(), EXTENDED);
    let properties = &config.qemu_override.as_ref().unwrap().device[0].frontend.as_ref().unwrap().property;
    assert_eq!(properties[1].kind, Some(QemuPropertyType::Remove));
    assert_eq!(config.qemu_deprecation.as_ref().unwrap().behavior, Some(QemuDeprecationBehavior::Crash));
    assert_eq!(config.lxc_namespace.as_ref().unwrap().shareipc.as_ref().unwrap().kind, Some(LxcShare::Pid));
    assert_eq!(config.extensions.len(), 1);
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["qemu_commandline"]["arg"][0]["value"], "-x");
    assert_eq!(serde_json::from_value::<DomainConfig>(json).unwrap(), config);
}

/// What has fields of its own is no tree: XML would be read as the fields.
#[test]
fn trees_of_known_namespaces_are_refused_in_json() {
    let read = |tree: &str| {
        let json = serde_json::json!({ "kind": "vmware", "name": "a", "extensions": [tree] });
        serde_json::from_value::<DomainConfig>(json).map_err(|error| error.to_string())
    };
    let path = "<vmware:datacenterpath xmlns:vmware='http://libvirt.org/schemas/domain/vmware/1.0'>a<b/></vmware:datacenterpath>";
    assert!(read(path).unwrap_err().contains("have fields of their own"));
    assert_eq!(read("<o:other xmlns:o='urn:o'/>").unwrap().extensions.len(), 1);
}

#[test]
fn extensions_with_other_prefixes_get_the_usual_ones() {
    let foreign = "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' xmlns:qemu='urn:mine'>\
        <name>a</name><q:commandline><q:arg value='-x'/></q:commandline><qemu:mine/></domain>";
    let config = parse(foreign);
    assert_eq!(config.qemu_commandline.as_ref().unwrap().arg[0].value, "-x");
    // The usual prefix is taken by the usual meaning; the other meaning is declared where it is used.
    let xml = config.to_xml();
    assert!(xml.contains("  <qemu:mine xmlns:qemu='urn:mine'/>"), "{xml}");
    assert_eq!(parse(&xml), config);
}

#[test]
fn mistakes_in_extensions_are_told() {
    let text = EXTENDED.replace("<qemu:deprecation behavior='crash'/>", "<qemu:deprecated/>");
    let problems = DomainConfig::parse(&text, &ParseOptions::with_unknown(Unknown::Reject)).unwrap_err().to_string();
    assert!(problems.starts_with("/domain/qemu:deprecated, line 21 column 3:"), "{problems}");
    assert!(problems.contains("did you mean 'qemu:deprecation'?"), "{problems}");
    let text = EXTENDED.replace("behavior='crash'", "behavior='crahs'");
    let problems = DomainConfig::parse(&text, &ParseOptions::default()).unwrap_err().to_string();
    assert!(problems.contains("did you mean 'crash'?"), "{problems}");
}

#[test]
fn hardware_addresses_are_built_from_bytes() {
    use polyvirt_model::interface::{Interface, Mac};
    let card = Interface::default().with_mac(Mac::new([0x52, 0x54, 0, 1, 2, 3]));
    assert_eq!(card.mac.unwrap().address, "52:54:00:01:02:03".parse::<MacAddress>().unwrap());
}
