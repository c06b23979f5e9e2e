//! The stored view of a definition: without what describes a running guest alone.
//!
//! Fields that are always state of a running guest (`id`, `tty`, `<mirror>` …) say `live` in their tables, and the formatter leaves
//! them out; a `<mirror>` goes here, too, so that nothing begins with a copy that nobody makes. And here is the rest: parts whose *value* says that the hypervisor chose it.
//!
//! | what | in a stored definition |
//! |---|---|
//! | `<alias>` | only names of the user's, which begin with `ua-` |
//! | pseudo-terminals | no path: the host gives another one at the next start |
//! | graphics with `autoport`, generated web sockets and sockets | to be chosen again |
//! | network cards | no name on the host that is reserved for generated ones (`vnet0`, `vif1.0`, `macvtap2`, `macvlan3`) |
//! | dynamic security labels | no label, only what it is made from |
//!
//! Invariant: the stored view of a stored view is itself.

use polyvirt_xml::{Element, Place};

use crate::address::DeviceInfo;
use crate::chardev::{CharBackend, CharEndpoint, CharSource};
use crate::device::each_device;
use crate::devices::Devices;
use crate::display::{Graphics, GraphicsKind};
use crate::domain::DomainConfig;
use crate::security::LabelType;

/// Aliases that a user chose begin with it.
const USER_ALIAS: &str = "ua-";

/// Names on the host that begin so are given by the hypervisor (manual: "Overriding the target element").
const RESERVED_TARGETS: [&str; 4] = ["vnet", "vif", "macvtap", "macvlan"];

impl DomainConfig {
    /// Takes out what describes a running guest alone.
    pub fn make_stored(&mut self) {
        self.id = None;
        let devices = &mut self.devices;
        each_device(devices, &mut |device| {
            if let Some(info) = info_of(device)
                && info.alias.as_ref().is_some_and(|alias| !alias.name.starts_with(USER_ALIAS))
            {
                info.alias = None;
            }
        });
        terminals(devices);
        devices.graphics.iter_mut().for_each(graphics);
        devices.disks.iter_mut().for_each(|disk| disk.mirror = None);
        for target in devices.interfaces.iter_mut().filter_map(|card| card.target.as_mut()) {
            let reserved = |name: &String| RESERVED_TARGETS.iter().any(|prefix| name.starts_with(prefix));
            // A tap that is used as it exists has whatever name it has.
            if target.managed != Some(false) && target.dev.as_ref().is_some_and(reserved) {
                target.dev = None;
            }
        }
        for card in &mut devices.interfaces {
            card.target = card.target.take().filter(|target| target.dev.is_some() || target.managed.is_some());
        }
        for label in self.seclabel.iter_mut().filter(|label| label.kind == Some(LabelType::Dynamic)) {
            label.label = None;
            label.imagelabel = None;
        }
    }
}

/// What every device has, if this one does.
pub(crate) fn info_of(device: &mut dyn Element) -> Option<&mut DeviceInfo> {
    let fields = device.table().fields;
    let index = fields.iter().position(|field| field.name == "info" && matches!(field.place, Place::Group(_)))?;
    device.slot_mut(index).downcast_mut()
}

fn terminals(devices: &mut Devices) {
    let serials = devices.serials.iter_mut().map(|device| (device.kind, &mut device.tty, &mut device.backend));
    let parallels = devices.parallels.iter_mut().map(|device| (device.kind, &mut device.tty, &mut device.backend));
    let consoles = devices.consoles.iter_mut().map(|device| (device.kind, &mut device.tty, &mut device.backend));
    let channels = devices.channels.iter_mut().map(|device| (device.kind, &mut device.tty, &mut device.backend));
    for (kind, tty, backend) in serials.chain(parallels).chain(consoles).chain(channels) {
        *tty = None;
        if matches!(kind, None | Some(CharBackend::Pty)) {
            without_path(backend);
        }
    }
    for device in &mut devices.redirdevs {
        if device.kind == Some(CharBackend::Pty) {
            without_path(&mut device.backend);
        }
    }
}

fn without_path(backend: &mut CharSource) {
    for endpoint in &mut backend.source {
        endpoint.path = None;
    }
    backend.source.retain(|endpoint| *endpoint != CharEndpoint::default());
}

fn graphics(graphics: &mut Graphics) {
    let auto = graphics.autoport == Some(true);
    match graphics.kind {
        Some(GraphicsKind::Vnc) if auto => graphics.port = graphics.port.map(|_| -1),
        Some(GraphicsKind::Rdp) if auto => graphics.port = graphics.port.map(|_| 0),
        Some(GraphicsKind::Spice) if auto => (graphics.port, graphics.tls_port) = (None, None),
        _ => {}
    }
    if graphics.websocket_generated.take() == Some(true) {
        graphics.websocket = Some(-1);
    }
    for listen in &mut graphics.listens {
        if listen.auto_generated.take() == Some(true) {
            graphics.socket = None;
            listen.socket = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_xml::ParseOptions;

    const RUNNING: &str = "<domain type='kvm' id='3'><name>a</name><devices>
        <disk type='file'><target dev='vda'/><alias name='virtio-disk0'/></disk>
        <disk type='file'><target dev='vdb'/><alias name='ua-data'/></disk>
        <interface type='user'><target dev='vnet7'/></interface>
        <interface type='ethernet'><target dev='vnet7' managed='no'/></interface>
        <interface type='ethernet'><target dev='mine0'/></interface>
        <console type='pty' tty='/dev/pts/4'><source path='/dev/pts/4'/><alias name='serial0'/></console>
        <serial type='file'><source path='/tmp/log'/></serial>
        <graphics type='vnc' port='5903' autoport='yes' websocket='5700' websocketGenerated='yes'/>
        <graphics type='spice' port='5904' tlsPort='5905' autoport='no'/>
        <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source><alias name='hostdev0'/></hostdev>
        <memballoon model='virtio'><alias name='balloon0'/></memballoon>
        </devices>
        <seclabel type='dynamic' model='dac'><label>+1:+2</label><imagelabel>+1:+2</imagelabel></seclabel>
        <seclabel type='static' model='selinux'><label>x</label></seclabel></domain>";

    #[test]
    fn what_a_start_chose_is_not_stored_and_what_a_user_chose_is() {
        let mut config = DomainConfig::parse(RUNNING, &ParseOptions::default()).unwrap().config;
        config.make_stored();
        let once = config.to_xml();
        for gone in ["id='3'", "virtio-disk0", "serial0", "hostdev0", "balloon0", "/dev/pts", "5903", "5700", "+1:+2"] {
            assert!(!once.contains(gone), "{gone} in\n{once}");
        }
        for kept in ["ua-data", "/tmp/log", "5904", "5905", "mine0", "<label>x</label>", "websocket='-1'"] {
            assert!(once.contains(kept), "{kept} not in\n{once}");
        }
        assert_eq!(once.matches("vnet7").count(), 1, "a tap that exists is named by the user\n{once}");
        config.make_stored();
        assert_eq!(config.to_xml(), once);
    }

    #[test]
    fn every_device_type_is_visited() {
        let devices = [
            "input type='mouse'",
            "hub type='usb'",
            "watchdog model='itco'",
            "panic",
            "vsock",
            "crypto model='virtio'",
        ];
        for device in devices {
            let name = device.split(' ').next().unwrap_or_default();
            let text = format!(
                "<domain type='kvm'><name>a</name><devices><{device}><alias name='x0'/></{name}></devices></domain>"
            );
            let mut config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
            assert!(config.to_xml().contains("x0"), "{text}");
            config.make_stored();
            assert!(!config.to_xml().contains("x0"), "{text}");
        }
    }
}
