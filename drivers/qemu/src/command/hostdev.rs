//! Devices of the host that the guest gets: PCI functions, USB devices, SCSI units, mediated devices.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        address::{Address, DeviceInfo, PciAddress, VirtioModel},
        hostdev::{
            GuestReset, Hostdev, HostdevModel, HostdevOptions, MdevHostdev, PciHostdev, ScsiHostHostdev, ScsiHostdev,
            ScsiProtocol, UsbHostdev,
        },
        interface::{Interface, Teaming, TeamingType},
        os::BootDeviceKind,
        storage::{ImageFormat, Source, SourceKind, StorageProtocol},
    },
};

use super::{
    Args, Input, Purpose, SHOWN_DESCRIPTOR, alias,
    boot::BootOrder,
    option::Members,
    place,
    storage::{Counter, Drive, Layer, scsi_place},
};

/// A PCI address as the host writes it.
pub(super) fn host_address(at: &PciAddress) -> String {
    let part = |it: Option<u32>| it.unwrap_or(0);
    format!("{:04x}:{:02x}:{:02x}.{:x}", part(at.domain), part(at.bus), part(at.slot), part(at.function))
}

pub(super) fn hostdevs(args: &mut Args, input: &Input<'_>, order: &mut BootOrder, counter: &mut Counter) -> Result<()> {
    for (at, device) in input.config.devices.hostdevs.iter().enumerate() {
        let path = format!("/domain/devices/hostdev[{}]", at + 1);
        let info = device.info();
        let kind = if matches!(device, Hostdev::Pci(_)) { BootDeviceKind::Network } else { BootDeviceKind::Hd };
        // Only a network card among them can be meant by `<boot dev='network'>`, and nothing says that this is one.
        let own = info.boot.as_ref().and_then(|it| it.order);
        let boot = own.or_else(|| order.take(kind, own).filter(|_| false));
        let members = match device {
            Hostdev::Pci(it) => Some(pci(it, &path)?),
            Hostdev::Usb(it) => Some(usb(it, &path)?),
            Hostdev::Scsi(it) => Some(scsi(args, input, it, &path, counter)?),
            Hostdev::ScsiHost(it) => Some(vhost_scsi(input, it)),
            Hostdev::Mdev(it) => Some(mediated(it, &path)?),
            _ => {
                let problem = "devices of containers cannot be had; use type 'pci', 'usb', 'scsi' or 'mdev'";
                return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/@mode")));
            }
        };
        if let Some(members) = members {
            let members = place::boot(members.with("id", alias::of(info)), info, boot, input);
            args.device(input, info, place::rom(members, info));
        }
    }
    Ok(())
}

/// A network card that is a PCI function of the host.
pub(super) fn interface(
    args: &mut Args,
    input: &Input<'_>,
    card: &Interface,
    boot: Option<u32>,
    path: &str,
) -> Result<()> {
    let at = card.source.as_ref().and_then(|it| it.pci.as_ref()).map(|it| &it.pci);
    let Some(at) = at else {
        let problem = "an interface of type 'hostdev' needs the PCI address of the host's card";
        return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/source/address")));
    };
    let members = Members::new("driver", "vfio-pci").with("host", host_address(at));
    let members = teaming(members, card.teaming.as_ref()).with("id", alias::of(&card.info));
    let members = place::boot(members, &card.info, boot, input);
    args.device(input, &card.info, place::rom(members, &card.info));
    Ok(())
}

fn teaming(members: Members, teaming: Option<&Teaming>) -> Members {
    let transient = teaming.filter(|it| it.kind == Some(TeamingType::Transient));
    members.maybe("failover_pair_id", transient.and_then(|it| it.persistent.clone()))
}

fn missing(what: &str, path: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("this device needs {what} of the host's device"))
        .with("path", format!("{path}/source/address"))
}

fn pci(device: &PciHostdev, path: &str) -> Result<Members> {
    let at =
        device.source.as_ref().and_then(|it| it.address.as_ref()).ok_or_else(|| missing("the PCI address", path))?;
    let members = Members::new("driver", vfio(&device.options)).with("host", host_address(at));
    Ok(teaming(display(members, &device.options), device.teaming.as_ref()))
}

/// A boot framebuffer can be had only of the device that cannot be unplugged.
fn vfio(options: &HostdevOptions) -> &'static str {
    if options.ramfb == Some(true) { "vfio-pci-nohotplug" } else { "vfio-pci" }
}

fn display(members: Members, options: &HostdevOptions) -> Members {
    members.maybe("display", options.display.map(super::option::on_off)).maybe("ramfb", options.ramfb.filter(|it| *it))
}

fn mediated(device: &MdevHostdev, path: &str) -> Result<Members> {
    let uuid = device.source.as_ref().and_then(|it| it.address.as_ref()).and_then(|it| it.uuid);
    let uuid = uuid.ok_or_else(|| missing("the UUID", path))?;
    let driver = match device.options.model {
        Some(HostdevModel::VfioCcw) => "vfio-ccw",
        Some(HostdevModel::VfioAp) => "vfio-ap",
        _ => vfio(&device.options),
    };
    let members = Members::new("driver", driver).with("sysfsdev", format!("/sys/bus/mdev/devices/{uuid}"));
    Ok(display(members, &device.options))
}

fn usb(device: &UsbHostdev, path: &str) -> Result<Members> {
    let source = device.source.as_ref().ok_or_else(|| missing("the USB address", path))?;
    let members = Members::new("driver", "usb-host");
    let members = match (&source.address, &source.vendor, &source.product) {
        (Some(at), ..) if at.device.is_some() => {
            let node = format!("/dev/bus/usb/{:03}/{:03}", at.bus.unwrap_or(0), at.device.unwrap_or(0));
            members.with("hostdevice", node)
        }
        (Some(at), ..) => {
            members.with("hostbus", at.bus.unwrap_or(0)).maybe("hostport", at.port.as_ref().map(ToString::to_string))
        }
        (None, Some(vendor), Some(product)) => members.with("vendorid", vendor.id).with("productid", product.id),
        _ => return Err(missing("bus and device, or vendor and product,", path)),
    };
    Ok(match source.guest_reset {
        Some(GuestReset::Off) => members.with("guest-reset", false),
        Some(GuestReset::Uninitialized) => members.with("guest-reset", true).with("guest-resets-all", false),
        Some(GuestReset::On) => members.with("guest-reset", true).with("guest-resets-all", true),
        _ => members,
    })
}

fn scsi(
    args: &mut Args,
    input: &Input<'_>,
    device: &ScsiHostdev,
    path: &str,
    counter: &mut Counter,
) -> Result<Members> {
    let given = device.source.as_ref().ok_or_else(|| missing("adapter and unit", path))?;
    let mut source = Source::default();
    let kind = if given.protocol == Some(ScsiProtocol::Iscsi) {
        source.protocol = Some(StorageProtocol::Iscsi);
        source.name.clone_from(&given.name);
        source.host.clone_from(&given.host);
        source.initiator.clone_from(&given.initiator);
        SourceKind::Network
    } else {
        // Which node that is only the host's sysfs tells.
        let adapter = given.adapter.as_ref().map(|it| it.name.as_str()).unwrap_or_default();
        let at = given.address.as_ref().ok_or_else(|| missing("adapter and unit", path))?;
        let place = format!(
            "{}:{}:{}:{}",
            adapter.trim_start_matches("scsi_host"),
            at.bus.unwrap_or(0),
            at.target.unwrap_or(0),
            at.unit.unwrap_or(0)
        );
        source.dev = Some((input.generic_scsi)(&place).ok_or_else(|| {
            let problem = format!("the host's SCSI unit {place} was not found");
            Error::new(ErrorKind::NotFound, problem).with("path", format!("{path}/source")).hint("see lsscsi -g")
        })?);
        SourceKind::Block
    };
    // A number would be another's after an unplug. QEMU takes names of up to 31 characters.
    let name = match alias::of(&device.info) {
        own if input.purpose == Purpose::Run && own.len() <= 23 => format!("{own}-backend"),
        _ => format!("libvirt-{}-backend", counter.next()),
    };
    let layer = Layer {
        kind,
        source: &source,
        format: ImageFormat::Raw,
        name: name.clone(),
        readonly: device.readonly,
        path: path.to_owned(),
        encryption: None,
        auth: given.auth.as_ref(),
        metadata_cache: None,
        drive: Drive::default(),
        with_format: false,
    };
    layer.single(args, input, &name)?;
    let members =
        Members::new("driver", "scsi-generic").maybe("share-rw", device.shareable.then_some(true)).with("drive", name);
    Ok(scsi_unit(members, input, &device.info))
}

fn scsi_unit(members: Members, input: &Input<'_>, info: &DeviceInfo) -> Members {
    let Some(Address::Drive(at)) = &info.address else { return members };
    let controller = at.controller.unwrap_or(0);
    let bus = place::controller_name(input, polyvirt_core::model::controller::ControllerKind::Scsi, controller);
    let unit = (at.bus.unwrap_or(0), at.target.unwrap_or(0), at.unit.unwrap_or(0));
    scsi_place(members.with("bus", format!("{bus}.0")), input, controller, unit)
}

fn vhost_scsi(input: &Input<'_>, device: &ScsiHostHostdev) -> Members {
    let model = match device.options.model {
        Some(HostdevModel::VirtioTransitional) => Some(VirtioModel::VirtioTransitional),
        Some(HostdevModel::VirtioNonTransitional) => Some(VirtioModel::VirtioNonTransitional),
        _ => None,
    };
    Members::new("driver", place::virtio("vhost-scsi", &device.info, model, input))
        .maybe("wwpn", device.source.as_ref().and_then(|it| it.wwpn.clone()))
        .with("vhostfd", SHOWN_DESCRIPTOR.to_string())
}
