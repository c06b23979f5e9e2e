//! Where the live definition says that devices are, in QEMU's words: name of the bus, place on it.

use std::collections::BTreeMap;

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

/// An element below `<devices>`, as far as places are concerned: its attributes, and those of its children by their names.
#[derive(Clone, Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: BTreeMap<String, BTreeMap<String, String>>,
}

impl Element {
    fn of(&self, child: &str, attribute: &str) -> &str {
        self.children.get(child).and_then(|it| it.get(attribute)).map_or("", String::as_str)
    }

    fn alias(&self) -> &str {
        self.of("alias", "name")
    }

    fn number(&self, attribute: &str) -> u64 {
        let text = self.of("address", attribute);
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
        parsed.unwrap_or(0)
    }
}

/// Elements of `<devices>`, in order.
fn elements(xml: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(xml);
    let (mut found, mut path): (Vec<Element>, Vec<String>) = (Vec::new(), Vec::new());
    loop {
        let event = reader.read_event().expect("the live definition is XML");
        let (start, closed) = match event {
            Event::Start(start) => (start, false),
            Event::Empty(start) => (start, true),
            Event::End(_) => {
                path.pop();
                continue;
            }
            Event::Eof => return found,
            _ => continue,
        };
        let name = start.name().as_ref().to_owned();
        if path.len() == 2 && path[1] == "devices" {
            found.push(Element { name: name.clone(), attributes: attributes(&start), ..Element::default() });
        } else if path.len() == 3
            && path[1] == "devices"
            && let Some(element) = found.last_mut()
        {
            element.children.insert(name.clone(), attributes(&start));
        }
        if !closed {
            path.push(name);
        }
    }
}

fn attributes(start: &BytesStart<'_>) -> BTreeMap<String, String> {
    let pairs = start.attributes().filter_map(Result::ok);
    pairs.map(|it| (it.key.as_ref().to_owned(), it.value.into_owned())).collect()
}

/// A device with a place.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) alias: String,
    /// `pci.1 04.0`, `usb.0 1.2`, `scsi0.0 0:1:0`, `ide.1 0`, `virtio-serial0.0 2`.
    pub(crate) place: String,
    pub(crate) is_pci: bool,
    /// Whether it is a companion of the USB controller whose name it bears; QEMU has no name for it.
    pub(crate) companion: bool,
}

/// All that the definition places on a bus of QEMU's.
pub(crate) fn of(xml: &str) -> Vec<Placed> {
    let all = elements(xml);
    let controller = |kind: &str, index: u64| {
        let index = index.to_string();
        let fits = |it: &&Element| {
            let attribute = |name| it.attributes.get(name).map_or("", String::as_str);
            it.name == "controller" && attribute("type") == kind && attribute("index") == index
        };
        let found = all.iter().find(fits);
        // The board's own bus has the board's name, whatever the definition calls it.
        match found.and_then(|it| it.attributes.get("model")).map(String::as_str) {
            Some("pci-root") => return "pci.0".to_owned(),
            Some("pcie-root") => return "pcie.0".to_owned(),
            _ => {}
        }
        found.unwrap_or_else(|| panic!("the live definition has no {kind} controller {index}")).alias().to_owned()
    };
    // A console that is the first serial port once more is no second device.
    let twice = |it: &&Element| it.name == "console" && it.of("target", "type") == "serial";
    all.iter().filter(|it| !twice(it)).filter_map(|it| placed(it, &controller)).collect()
}

fn placed(element: &Element, controller: &dyn Fn(&str, u64) -> String) -> Option<Placed> {
    let number = |name| element.number(name);
    let place = match element.of("address", "type") {
        "pci" => format!("{} {:02x}.{:x}", controller("pci", number("bus")), number("slot"), number("function")),
        "usb" => format!("{}.0 {}", controller("usb", number("bus")), element.of("address", "port")),
        "drive" => drive(element, controller),
        "virtio-serial" => format!("{}.0 {}", controller("virtio-serial", number("controller")), number("port")),
        "ccid" => format!("{}.0 {}", controller("ccid", number("controller")), number("slot")),
        _ => return None,
    };
    let is_pci = element.of("address", "type") == "pci";
    let companion = element.attributes.get("model").is_some_and(|it| it.starts_with("ich9-uhci"));
    Some(Placed { alias: element.alias().to_owned(), place, is_pci, companion })
}

/// Drives: what the numbers mean depends on the bus.
fn drive(disk: &Element, controller: &dyn Fn(&str, u64) -> String) -> String {
    let (index, bus, target, unit) =
        (disk.number("controller"), disk.number("bus"), disk.number("target"), disk.number("unit"));
    match disk.of("target", "bus") {
        "ide" => format!("{}.{bus} {unit}", controller("ide", index)),
        "sata" => format!("{}.{unit} 0", controller("sata", index)),
        "fdc" => format!("floppy-bus.{index} {unit}"),
        _ => {
            let name = controller("scsi", index);
            format!("{name}.0 {bus}:{target}:{unit}")
        }
    }
}

/// Names of what the definition leaves for QEMU to place.
pub(crate) fn unplaced(xml: &str) -> Vec<String> {
    let all = elements(xml).into_iter().filter(|it| !it.children.contains_key("address"));
    all.map(|it| it.alias().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// Memory devices: name, and slot if it has one.
pub(crate) fn slots(xml: &str) -> Vec<(String, Option<u64>)> {
    let memories = elements(xml).into_iter().filter(|it| it.name == "memory");
    memories
        .map(|it| (it.alias().to_owned(), (it.of("address", "type") == "dimm").then(|| it.number("slot"))))
        .collect()
}
