//! What QEMU says of its devices: `info qtree`, read.

use std::collections::BTreeMap;

/// A device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    /// QEMU's name of its kind.
    pub(crate) model: String,
    /// Ours, or nothing for what the board brings.
    pub(crate) id: String,
    /// Name of the bus it sits on.
    pub(crate) bus: String,
    /// Kind of that bus.
    pub(crate) bus_kind: String,
    properties: BTreeMap<String, String>,
}

impl Device {
    fn number(&self, name: &str) -> String {
        let value = self.properties.get(name).map_or("", String::as_str);
        value.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// Where on its bus it is, written as [`super::places`] writes it; `None` on buses without places.
    pub(crate) fn place(&self) -> Option<String> {
        let at = match self.bus_kind.as_str() {
            "PCI" | "PCIE" | "pxb-bus" | "pxb-pcie-bus" => self.number("addr"),
            "usb-bus" => self.number("port").trim_matches('"').to_owned(),
            "SCSI" => format!("{}:{}:{}", self.number("channel"), self.number("scsi-id"), self.number("lun")),
            "IDE" | "floppy-bus" => self.number("unit"),
            "virtio-serial-bus" => self.number("nr"),
            "ccid-bus" => self.number("slot"),
            _ => return None,
        };
        Some(format!("{} {at}", self.bus))
    }

    /// Whether its bus is one of PCI.
    pub(crate) fn is_pci(&self) -> bool {
        matches!(self.bus_kind.as_str(), "PCI" | "PCIE" | "pxb-bus" | "pxb-pcie-bus")
    }
}

/// Reads the tree: buses and devices in turn, each deeper than what it is on.
pub(crate) fn read(text: &str) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    // Buses that are open: how deep, name, kind.
    let mut buses: Vec<(usize, String, String)> = Vec::new();
    let mut current: Option<(usize, usize)> = None;
    for line in text.lines() {
        let content = line.trim_start();
        let depth = line.len() - content.len();
        if let Some(name) = content.strip_prefix("bus: ") {
            buses.retain(|bus| bus.0 < depth);
            buses.push((depth, name.to_owned(), String::new()));
        } else if let Some(kind) =
            content.strip_prefix("type ").filter(|_| buses.last().is_some_and(|it| it.2.is_empty()))
        {
            if let Some(bus) = buses.last_mut() {
                kind.clone_into(&mut bus.2);
            }
        } else if let Some(about) = content.strip_prefix("dev: ") {
            buses.retain(|bus| bus.0 < depth);
            let (model, id) = about.split_once(", id ").unwrap_or((about, ""));
            let (_, bus, bus_kind) = buses.last().cloned().unwrap_or_default();
            let id = id.trim_matches('"').to_owned();
            current = Some((depth, devices.len()));
            devices.push(Device { model: model.to_owned(), id, bus, bus_kind, properties: BTreeMap::new() });
        } else if let (Some((name, value)), Some((above, at))) = (content.split_once(" = "), current)
            && depth > above
        {
            devices[at].properties.insert(name.to_owned(), value.to_owned());
        }
    }
    devices
}

#[test]
fn the_tree_is_read_to_every_depth() {
    let text = "bus: main-system-bus\n  type System\n  dev: i440FX-pcihost, id \"\"\n    bus: pci.0\n      type PCI\n      \
                dev: qemu-xhci, id \"usb\"\n        addr = 02.0\n        bus: usb.0\n          type usb-bus\n          \
                dev: usb-tablet, id \"input0\"\n            port = \"1.2\"\n      dev: VGA, id \"video0\"\n        addr = 03.0\n";
    let found: Vec<_> = read(text).iter().filter_map(|it| Some((it.id.clone(), it.place()?))).collect();
    let expected = [("usb", "pci.0 02.0"), ("input0", "usb.0 1.2"), ("video0", "pci.0 03.0")];
    assert_eq!(found, expected.map(|(id, place)| (id.to_owned(), place.to_owned())));
}
