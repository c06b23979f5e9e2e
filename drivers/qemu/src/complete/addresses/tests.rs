use std::path::PathBuf;

use polyvirt_core::model::{
    self, DomainConfig, Guest, ParseOptions, Positions,
    address::{Address, PciAddress},
    controller::ControllerModel,
};
use proptest::prelude::*;

use super::{
    super::controllers,
    assign,
    devices::{Device, List, all},
};
use crate::probe::Binary;

fn guest(arch: &str, machine: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>a</name><maxMemory slots='2' unit='MiB'>64</maxMemory><memory unit='MiB'>16</memory>\
         <os><type arch='{arch}' machine='{machine}'>hvm</type></os>\
         <cpu><numa><cell id='0' cpus='0' memory='16' unit='MiB'/></numa></cpu><devices>{devices}</devices></domain>"
    )
}

fn binary(arch: &str) -> Binary {
    Binary::assumed(PathBuf::from("qemu"), arch)
}

/// Completed as far as this module does it.
fn completed(text: &str) -> Result<DomainConfig, String> {
    let mut config = DomainConfig::parse(text, &ParseOptions::default()).map_err(|it| it.to_string())?.config;
    model::complete(&mut config, Guest::Existing, &Positions::default()).map_err(|it| it.to_string())?;
    let binary = binary(crate::complete::board::arch(&config));
    controllers::complete(&mut config, &binary, Guest::Existing);
    assign(&mut config, &binary).map_err(|it| it.to_string())?;
    Ok(config)
}

fn place(address: &Address) -> String {
    match address {
        Address::Pci(PciAddress {
            bus: Some(bus), slot: Some(slot), function: Some(function), multifunction, ..
        }) => {
            let several = if *multifunction == Some(true) { "+" } else { "" };
            format!("{bus:x}:{slot:x}.{function}{several}")
        }
        Address::Ccw(at) => format!("{:x}.{:x}.{:x}", at.cssid.unwrap(), at.ssid.unwrap(), at.devno.unwrap()),
        Address::VirtioMmio(_) => "mmio".into(),
        Address::SpaprVio(at) => format!("reg {:x}", at.reg.unwrap()),
        Address::VirtioSerial(at) => format!("port {}.{}", at.controller.unwrap(), at.port.unwrap()),
        Address::Dimm(at) => format!("slot {}", at.slot.unwrap()),
        Address::Drive(_) => "drive".into(),
        other => format!("{other:?}"),
    }
}

fn name(config: &DomainConfig, device: Device) -> String {
    let path = device.path(&config.devices);
    let path = path.trim_start_matches("/domain/devices/");
    match device.list {
        List::Controller => {
            let controller = &config.devices.controllers[device.index];
            let model = controller.model.map_or(controller.kind.unwrap().as_str(), ControllerModel::as_str);
            format!("{model}{}", controller.index.unwrap())
        }
        _ => path.replace(['[', ']'], ""),
    }
}

/// The devices of a machine and their places, those without left out.
fn places(arch: &str, machine: &str, devices: &str) -> Vec<String> {
    let config = completed(&guest(arch, machine, devices)).unwrap_or_else(|problems| panic!("{problems}"));
    all(&config)
        .into_iter()
        .filter_map(|device| {
            let address = device.info(&config.devices)?.address.as_ref()?;
            Some(format!("{} {}", name(&config, device), place(address)))
        })
        .collect()
}

fn pci(address: &str) -> String {
    let parts: Vec<&str> = address.split([':', '.']).collect();
    format!("<address type='pci' bus='0x{}' slot='0x{}' function='0x{}'/>", parts[0], parts[1], parts[2])
}

fn disk(letter: char) -> String {
    format!("<disk><target dev='vd{letter}' bus='virtio'/></disk>")
}

fn card(model: &str) -> String {
    format!("<interface type='user'><model type='{model}'/></interface>")
}

const VGA: &str = "<video><model type='vga'/></video>";

#[test]
fn a_pc_has_its_chipset_and_everything_else_in_order() {
    let devices = format!(
        "{}{}<sound model='ich6'/><rng model='virtio'><backend model='random'/></rng><memballoon model='virtio'/>{VGA}\
         <controller type='scsi' model='virtio-scsi'/><disk><target dev='hda' bus='ide'/></disk>",
        disk('a'),
        card("rtl8139")
    );
    assert_eq!(
        places("x86_64", "pc", &devices),
        [
            "disk1 0:6.0",
            "disk2 drive",
            "interface 0:3.0",
            "sound 0:4.0",
            "video 0:2.0",
            "virtio-scsi0 0:5.0",
            "piix3-uhci0 0:1.2",
            "ide0 0:1.1",
            "memballoon 0:7.0",
            "rng 0:8.0"
        ]
    );
}

#[test]
fn a_full_bus_gets_a_bridge_and_room_for_one_more() {
    let cards = |count: usize| places("x86_64", "pc", &card("rtl8139").repeat(count));
    assert!(!cards(29).iter().any(|it| it.starts_with("pci-bridge")));
    // Thirty fill the bus.
    let full = cards(30);
    assert!(full.contains(&"pci-bridge1 0:2.0".to_owned()), "{full:?}");
    assert!(full.contains(&"interface30 1:1.0".to_owned()), "{full:?}");
    let two = cards(70);
    assert!(two.contains(&"pci-bridge2 0:3.0".to_owned()), "{two:?}");
    assert!(two.contains(&"interface70 2:b.0".to_owned()), "{two:?}");
}

#[test]
fn express_devices_get_ports_legacy_ones_a_bridge_and_one_port_is_spare() {
    let devices = card("virtio") + &card("e1000") + &disk('a') + VGA;
    assert_eq!(
        places("x86_64", "q35", &devices),
        [
            "disk 5:0.0",
            "interface1 2:0.0",
            "interface2 3:1.0",
            "video 0:1.0",
            "qemu-xhci0 4:0.0",
            "sata0 0:1f.2",
            "pcie-root-port1 0:2.0+",
            "pcie-root-port2 0:2.1",
            "pcie-to-pci-bridge3 1:0.0",
            "pcie-root-port4 0:2.2",
            "pcie-root-port5 0:2.3",
            "pcie-root-port6 0:2.4"
        ]
    );
    // Who writes ports manages them.
    let own = "<controller type='usb' model='none'/><controller type='pci' model='pcie-root'/><controller type='pci' model='pcie-root-port'/>";
    assert_eq!(places("aarch64", "virt", &(own.to_owned() + &disk('a'))), ["disk 1:0.0", "pcie-root-port1 0:1.0"]);
    let many: String = "bcdefghijklm".chars().map(disk).collect();
    let many = places("riscv64", "virt", &many);
    assert!(many.contains(&"pcie-root-port9 0:2.0+".to_owned()), "{many:?}");
    assert!(many.contains(&"pcie-root-port13 0:2.4".to_owned()), "{many:?}");
}

#[test]
fn q35_has_the_usual_places_of_its_chipset() {
    let set: String = ["ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3"]
        .map(|model| format!("<controller type='usb' index='0' model='{model}'/>"))
        .concat();
    let sets = set.clone() + &set.replace("index='0'", "index='1'") + &set.replace("index='0'", "index='2'");
    let dmi = "<controller type='pci' index='0' model='pcie-root'/><controller type='pci' index='1' model='dmi-to-pci-bridge'/>\
               <controller type='pci' index='2' model='pci-bridge'/>";
    assert_eq!(
        places("x86_64", "q35", &format!("{dmi}{sets}<sound model='ich9'/>")),
        [
            "sound 0:1b.0",
            "dmi-to-pci-bridge1 0:1e.0",
            "pci-bridge2 1:0.0",
            "ich9-ehci10 0:1d.7",
            "ich9-uhci10 0:1d.0+",
            "ich9-uhci20 0:1d.1",
            "ich9-uhci30 0:1d.2",
            "ich9-ehci11 0:1a.7",
            "ich9-uhci11 0:1a.0+",
            "ich9-uhci21 0:1a.1",
            "ich9-uhci31 0:1a.2",
            "ich9-ehci12 2:1.7",
            "ich9-uhci12 2:1.0+",
            "ich9-uhci22 2:1.1",
            "ich9-uhci32 2:1.2",
            "sata0 0:1f.2"
        ]
    );
}

#[test]
fn given_places_are_kept_and_buses_that_they_name_exist() {
    let at = |address: &str| format!("<interface type='user'><model type='virtio'/>{}</interface>", pci(address));
    let devices = at("0:5.0") + &at("0:5.1") + &card("virtio") + &at("2:3.0");
    assert_eq!(
        places("x86_64", "pc", &devices),
        [
            "interface1 0:5.0+",
            "interface2 0:5.1",
            "interface3 0:4.0",
            "interface4 2:3.0",
            "piix3-uhci0 0:1.2",
            "pci-bridge1 0:2.0",
            "pci-bridge2 0:3.0"
        ]
    );
    let express = places("aarch64", "virt", &(at("2:0.0") + &card("virtio")));
    assert_eq!(
        express,
        [
            "interface1 2:0.0",
            "interface2 1:0.0",
            "pcie-root-port1 0:1.0+",
            "pcie-root-port2 0:1.1",
            "pcie-root-port3 0:1.2"
        ]
    );
}

#[test]
fn numbers_of_controllers_follow_from_their_places() {
    let devices = "<controller type='pci' model='pcie-root'/><controller type='pci' model='pcie-root-port'/>\
                   <controller type='pci' model='pcie-switch-upstream-port'/><controller type='pci' model='pcie-switch-downstream-port'/>\
                   <controller type='pci' model='pcie-switch-downstream-port'/><controller type='pci' model='pcie-expander-bus'/>\
                   <controller type='pci' model='pcie-expander-bus'/><controller type='usb' model='none'/>";
    let config = completed(&guest("x86_64", "q35", devices)).unwrap();
    let targets: Vec<_> = config
        .devices
        .controllers
        .iter()
        .filter_map(|it| Some((it.index?, it.target.as_ref()?)))
        .map(|(index, it)| (index, it.chassis, it.port, it.bus_nr))
        .collect();
    let port = |index, port| (index, Some(index), Some(port), None);
    let expander = |index, bus| (index, None, None, Some(bus));
    assert_eq!(targets, [port(1, 8), port(3, 0), port(4, 1), expander(5, 254), expander(6, 252)]);
}

#[test]
fn pseries_isolates_devices_of_the_host_and_has_registers() {
    let host = |slot: u32, function: u32| {
        format!(
            "<hostdev mode='subsystem' type='pci'><source><address domain='1' bus='1' slot='{slot}' function='{function}'/></source></hostdev>"
        )
    };
    let devices = host(0, 0)
        + &host(2, 0)
        + &host(0, 1)
        + "<controller type='scsi'/><controller type='scsi'/><serial type='pty'/><console type='pty'/><controller type='usb' model='none'/>";
    assert_eq!(
        places("ppc64", "pseries", &devices),
        [
            "hostdev1 1:1.0",
            "hostdev2 2:1.0",
            "hostdev3 1:2.0",
            "ibmvscsi0 reg 2000",
            "ibmvscsi1 reg 3000",
            "serial reg 30000000",
            "console reg 30000000"
        ]
    );
}

#[test]
fn s390_has_channels_and_pci_functions_have_identifiers() {
    let given = "<disk><target dev='vdb' bus='virtio'/><address type='ccw' cssid='0xfe' ssid='0' devno='1'/></disk>";
    let host =
        "<hostdev mode='subsystem' type='pci'><source><address bus='1' slot='0' function='0'/></source></hostdev>";
    let devices = card("virtio") + &disk('a') + given + &disk('c') + host + &host.replace("bus='1'", "bus='2'");
    assert_eq!(
        places("s390x", "s390-ccw-virtio", &devices),
        ["disk1 fe.0.0", "disk2 fe.0.1", "disk3 fe.0.2", "interface fe.0.3", "hostdev1 0:1.0", "hostdev2 0:2.0"]
    );
    let config = completed(&guest("s390x", "s390-ccw-virtio", &devices)).unwrap();
    let zpci: Vec<_> = config
        .devices
        .hostdevs
        .iter()
        .map(|it| match &it.info().address {
            Some(Address::Pci(at)) => at.zpci.as_ref().map(|it| (it.uid, it.fid)),
            _ => None,
        })
        .collect();
    assert_eq!(zpci, [Some((Some(1), Some(0))), Some((Some(2), Some(1)))]);
}

#[test]
fn virtio_goes_where_the_others_went() {
    let mmio = "<disk><target dev='vda' bus='virtio'/><address type='virtio-mmio'/></disk>";
    assert_eq!(places("aarch64", "virt", &(mmio.to_owned() + &card("virtio"))), ["disk mmio", "interface mmio"]);
    assert_eq!(places("armv7l", "vexpress-a9", &card("virtio")), ["interface mmio"]);
    assert_eq!(places("x86_64", "microvm", &disk('a')), ["disk mmio"]);
}

#[test]
fn channels_get_ports_and_memory_gets_slots() {
    let channel = "<channel type='pty'><target type='virtio' name='n'/></channel>";
    let small = "<controller type='virtio-serial' ports='3'/>";
    let found = places("x86_64", "pc", &(small.to_owned() + &channel.repeat(4)));
    for expected in ["channel1 port 0.1", "channel2 port 0.2", "channel3 port 1.1", "channel4 port 1.2"] {
        assert!(found.contains(&expected.to_owned()), "{expected} is not in {found:?}");
    }
    let module = "<memory model='dimm'><target><size unit='MiB'>1</size><node>0</node></target></memory>";
    let given = module.replace("</memory>", "<address type='dimm' slot='0'/></memory>");
    let found = places("x86_64", "pc", &(module.to_owned() + &given));
    assert!(found.contains(&"memory1 slot 1".to_owned()) && found.contains(&"memory2 slot 0".to_owned()), "{found:?}");
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let at = |address: &str| format!("<interface type='user'><model type='virtio'/>{}</interface>", pci(address));
    let bridge = |index: u32, model: &str, address: &str| {
        format!("<controller type='pci' index='{index}' model='{model}'>{}</controller>", pci(address))
    };
    let mouse =
        |port: &str| format!("<input type='mouse' bus='usb'><address type='usb' bus='0' port='{port}'/></input>");
    let root = "<controller type='pci' index='0' model='pcie-root'/>";
    let ports = "<controller type='pci' model='pcie-root-port'/>".repeat(255);
    let many: String = (0..250).map(|_| card("virtio")).collect();
    for (arch, machine, devices, path, expected) in [
        ("x86_64", "pc", at("0:1.0"), "/domain/devices/interface/address", "00:01.0 is taken"),
        ("x86_64", "q35", at("0:1f.2"), "/domain/devices/interface/address", "00:1f.2 is taken"),
        ("x86_64", "pc", at("1:0.0"), "/domain/devices/interface/address", "has the slots 0x1 to 0x1f"),
        ("aarch64", "virt", at("1:1.0"), "/domain/devices/interface/address", "pcie-root-port has the slots 0x0 to 0x0"),
        (
            "x86_64",
            "pc",
            "<controller type='ide' index='0'><address type='pci' slot='3'/></controller>".into(),
            "/domain/devices/controller[1]/address",
            "on the board at 00:01.1",
        ),
        (
            "x86_64",
            "q35",
            root.to_owned() + &bridge(1, "dmi-to-pci-bridge", "0:1e.0") + &bridge(2, "dmi-to-pci-bridge", "1:1.0"),
            "/address",
            "a dmi-to-pci-bridge does not take it; give the number of a bus of model 'pcie-root', 'pcie-expander-bus'",
        ),
        ("x86_64", "q35", "<controller type='pci' index='0' model='pci-root'/>".into(), "/@model", "is 'pcie-root', not 'pci-root'"),
        (
            "x86_64",
            "pc",
            "<controller type='pci' index='0' model='pci-root'/><controller type='pci' index='1' model='pci-root'/>".into(),
            "/@index",
            "a PCI root has index 0, not 1",
        ),
        ("x86_64", "pc", bridge(1, "pci-bridge", "1:1.0"), "/address", "PCI controller 1 is behind itself"),
        ("x86_64", "q35", root.to_owned() + &ports, "/domain/devices/controller", "no PCI slot is free"),
        ("aarch64", "virt", many, "/domain/devices: ", "no PCI slot is free for all devices"),
        (
            "ppc64",
            "pseries",
            "<controller type='pci' index='1' model='pci-root'><target index='31'/></controller>".into(),
            "/target/@index",
            "others are 1 to 30",
        ),
        (
            "x86_64",
            "pc",
            "<controller type='usb' index='0' model='ich9-uhci1'/>".into(),
            "/domain/devices/controller[1]/@index",
            "add one of model 'ich9-ehci1'",
        ),
        (
            "x86_64",
            "pc",
            "<controller type='usb' index='0' model='qemu-xhci' ports='16'/>".into(),
            "/domain/devices/controller[1]/@ports",
            "1 to 15 are possible",
        ),
        ("x86_64", "pc", mouse("3"), "/domain/devices/input/address", "has no port 3; the last one there is 2"),
        ("x86_64", "pc", mouse("1.2"), "/domain/devices/input/address", "no hub at port 1 of USB bus 0"),
        ("x86_64", "pc", mouse("1").repeat(2), "/domain/devices/input[2]/address", "another device's already"),
        (
            "x86_64",
            "pc",
            "<rng model='virtio'><backend model='random'/><address type='usb' bus='0' port='1'/></rng>".into(),
            "/domain/devices/rng/address",
            "use type='pci' or 'ccw' or 'virtio-mmio'",
        ),
        ("x86_64", "isapc", disk('a'), "/domain/devices/disk", "machine 'isapc' has no PCI bus"),
        (
            "x86_64",
            "pc",
            "<channel type='pty'><target type='virtio' name='n'/><address type='virtio-serial' controller='0' port='40'/></channel>".into(),
            "/domain/devices/channel/address",
            "its ports are 1 to 30",
        ),
        (
            "x86_64",
            "q35",
            format!("<iommu model='virtio'>{}</iommu>", pci("1:0.0")),
            "/domain/devices/iommu/address",
            "its bus is 0, not 1",
        ),
        (
            "s390x",
            "s390-ccw-virtio",
            "<disk><target dev='vdb' bus='virtio'/><address type='ccw' cssid='0xfe'/></disk>".into(),
            "/domain/devices/disk/address",
            "give all three",
        ),
        (
            "x86_64",
            "pc",
            "<memory model='dimm'><target><size unit='MiB'>1</size><node>0</node></target></memory>".repeat(3),
            "/domain/devices/memory[3]/address",
            "2 memory slots",
        ),
    ] {
        let found = completed(&guest(arch, machine, &devices)).map(|it| it.to_xml()).unwrap_err();
        assert!(found.contains(path) && found.contains(expected), "{machine}: {path} … {expected}\n{found}");
    }
}

prop_compose! {
    fn device()(kind in 0..9_usize, given in prop::option::weighted(0.05, (0..4_u32, 0..32_u32, 0..8_u32))) -> String {
        let element = [
            "<interface type='user'><model type='virtio'/>@</interface>",
            "<interface type='user'><model type='e1000'/>@</interface>",
            "<sound model='ich9'>@</sound>",
            "<controller type='scsi' model='virtio-scsi'>@</controller>",
            "<controller type='usb' model='ich9-ehci1'>@</controller>",
            "<controller type='pci' model='pcie-root-port'>@</controller>",
            "<controller type='pci' model='pci-bridge'>@</controller>",
            "<video><model type='qxl'/>@</video>",
            "<watchdog model='i6300esb'>@</watchdog>",
        ][kind];
        let address = given.map(|(bus, slot, function)| pci(&format!("{bus:x}:{slot:x}.{function}")));
        element.replace('@', &address.unwrap_or_default())
    }
}

proptest! {
    #[test]
    fn no_two_devices_share_a_place_and_nothing_moves(
        devices in prop::collection::vec(device(), 0..40),
        machine in prop::sample::select(vec![("x86_64", "pc"), ("x86_64", "q35"), ("aarch64", "virt"), ("ppc64", "pseries")]),
    ) {
        let text = guest(machine.0, machine.1, &devices.concat());
        let Ok(config) = completed(&text) else { return Ok(()) };
        let mut seen = std::collections::HashSet::new();
        let buses: Vec<u32> = config.devices.controllers.iter().filter(|it| it.kind.unwrap().as_str() == "pci").filter_map(|it| it.index).collect();
        for device in all(&config) {
            if let Some(Address::Pci(at)) = &device.info(&config.devices).unwrap().address {
                prop_assert!(buses.contains(&at.bus.unwrap()), "{} is on a bus that is not there", name(&config, device));
                prop_assert!(seen.insert((at.bus, at.slot, at.function)), "{} is not alone", name(&config, device));
            }
        }
        let once = config.to_xml();
        let again = completed(&once).unwrap_or_else(|problems| panic!("{problems}\n{once}"));
        prop_assert_eq!(again.to_xml(), once);
    }
}
