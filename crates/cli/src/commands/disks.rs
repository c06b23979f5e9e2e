//! Commands that write the XML of a device themselves: `attach-disk`, `detach-disk`, `change-media`, `attach-interface`,
//! `detach-interface`.

use std::os::unix::fs::FileTypeExt as _;

use polyvirt::{
    Affect, Guest,
    model::{DomainConfig, XmlTree, device::Device},
};

use super::{
    Done,
    devices::{affect, change, put_in, take_out},
};
use crate::{
    args::{
        AttachDiskArgs, AttachInterfaceArgs, ChangeMediaArgs, DetachDiskArgs, DetachInterfaceArgs, DeviceAffect,
        DiskType, SourceType,
    },
    failure::Failure,
    output::Output,
    session::Session,
};

/// An element with these attributes, those that have a value.
fn element(name: &str, attributes: &[(&str, Option<&str>)]) -> XmlTree {
    let mut tree = XmlTree::new(name);
    let given = attributes.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())));
    tree.attributes.extend(given);
    tree
}

fn leaf(name: &str, text: &str) -> XmlTree {
    let mut tree = XmlTree::new(name);
    tree.text = text.to_owned();
    tree
}

/// Only prints it, if that was asked for.
fn printed(xml: &str, only: bool, out: &mut Output) -> bool {
    if only {
        out.line(xml.trim_end());
    }
    only
}

fn is_block(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|it| it.file_type().is_block_device())
}

/// What a relative path means here; guests outlive the folder that somebody stood in.
fn absolute(path: &str) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| Failure::argument(format!("{path}: {error}")))?;
    Ok(absolute.to_string_lossy().into_owned())
}

pub(super) async fn attach_disk(args: &AttachDiskArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = disk(args)?;
    if printed(&xml, args.print_xml, out) {
        return Ok(());
    }
    put_in(&session.guest(&args.domain).await?, &xml, args.affect, out).await
}

fn disk(args: &AttachDiskArgs) -> Result<String, Failure> {
    let kind = match args.sourcetype {
        Some(SourceType::Network) => "network",
        // As with virsh, a server is enough.
        None if args.source_host_name.is_some() || args.source_host_socket.is_some() => "network",
        Some(SourceType::Block) => "block",
        None if is_block(&args.source) => "block",
        Some(SourceType::File) | None => "file",
    };
    let device = match args.kind {
        None => None,
        Some(DiskType::Disk) => Some("disk"),
        Some(DiskType::Cdrom) => Some("cdrom"),
        Some(DiskType::Floppy) => Some("floppy"),
        Some(DiskType::Lun) => Some("lun"),
    };
    let mut disk = element("disk", &[("type", Some(kind)), ("device", device), ("rawio", args.rawio.then_some("yes"))]);
    let thread = args.iothread.map(|it| it.to_string());
    let driver = [
        ("name", args.driver.as_deref()),
        ("type", args.subdriver.as_deref()),
        ("cache", args.cache.as_deref()),
        ("io", args.io.as_deref()),
        ("iothread", thread.as_deref()),
    ];
    if driver.iter().any(|(_, value)| value.is_some()) {
        disk.children.push(element("driver", &driver));
    }
    if kind == "network" {
        disk.children.push(server(args)?);
    } else if !args.source.is_empty() {
        let source = absolute(&args.source)?;
        disk.children.push(element("source", &[(if kind == "block" { "dev" } else { "file" }, Some(&source))]));
    }
    disk.children.push(element("target", &[("dev", Some(&args.target)), ("bus", args.targetbus.as_deref())]));
    if let Some(mode) = &args.mode {
        disk.children.push(XmlTree::new(mode));
    }
    disk.children.extend(args.serial.as_deref().map(|it| leaf("serial", it)));
    disk.children.extend(args.wwn.as_deref().map(|it| leaf("wwn", it)));
    disk.children.extend(args.alias.as_deref().map(|it| element("alias", &[("name", Some(it))])));
    if let Some(place) = &args.address {
        disk.children.push(address(place, args.multifunction)?);
    }
    Ok(disk.to_string())
}

/// The volume of a server.
fn server(args: &AttachDiskArgs) -> Result<XmlTree, Failure> {
    let Some(protocol) = args.source_protocol.as_deref() else {
        return Err(Failure::Usage("attach-disk: name the server's protocol with --source-protocol".to_owned()));
    };
    let name = Some(args.source.as_str()).filter(|it| !it.is_empty());
    let mut source = element("source", &[("protocol", Some(protocol)), ("name", name)]);
    // What stands behind the last colon is a port, unless there are several: that is an address.
    let host = args.source_host_name.as_deref();
    let (host, port) = match host.and_then(|it| it.rsplit_once(':')) {
        Some((host, port)) if !host.contains(':') => (Some(host), Some(port)),
        _ => (host, None),
    };
    let attributes = [
        ("name", host),
        ("port", port),
        ("transport", args.source_host_transport.as_deref()),
        ("socket", args.source_host_socket.as_deref()),
    ];
    if attributes.iter().any(|(_, value)| value.is_some()) {
        source.children.push(element("host", &attributes));
    }
    Ok(source)
}

/// An address as virsh has it: the kind, then its numbers; those of PCI are hexadecimal.
fn address(text: &str, multifunction: bool) -> Result<XmlTree, Failure> {
    let wrong = || {
        let problem = format!(
            "attach-disk: '{text}' is no place; write pci:DOMAIN.BUS.SLOT.FUNCTION, scsi:CONTROLLER.BUS.UNIT, ide:CONTROLLER.BUS.UNIT, \
             sata:CONTROLLER.BUS.UNIT, usb:BUS.PORT or ccw:CSSID.SSID.DEVNO"
        );
        Failure::Usage(problem)
    };
    let (kind, numbers) = text.split_once(':').ok_or_else(wrong)?;
    let (kind, names): (&str, &[&str]) = match kind {
        "pci" => ("pci", &["domain", "bus", "slot", "function"]),
        "scsi" | "sata" | "ide" => ("drive", &["controller", "bus", "unit"]),
        "usb" => ("usb", &["bus", "port"]),
        "ccw" => ("ccw", &["cssid", "ssid", "devno"]),
        _ => return Err(wrong()),
    };
    let numbers: Vec<&str> = numbers.split('.').collect();
    if numbers.len() != names.len() {
        return Err(wrong());
    }
    let base = if matches!(kind, "pci" | "ccw") { 16 } else { 10 };
    let mut place = element("address", &[("type", Some(kind))]);
    for (name, number) in names.iter().zip(numbers) {
        let number = number.strip_prefix("0x").unwrap_or(number);
        let number = u32::from_str_radix(number, base).map_err(|_| wrong())?;
        let number = if base == 16 { format!("0x{number:x}") } else { number.to_string() };
        place.attributes.push(((*name).to_owned(), number));
    }
    if multifunction {
        place.attributes.push(("multifunction".to_owned(), "on".to_owned()));
    }
    Ok(place)
}

/// The definition in which a device is looked for: the running guest's if that is changed.
async fn definition(guest: &Guest, args: DeviceAffect) -> Result<DomainConfig, Failure> {
    let view = guest.view().await?;
    let stored = view.stored.as_deref().cloned();
    let wanted = match affect(args, guest).await? {
        Affect::Config => stored,
        _ => view.live.or(stored),
    };
    wanted.ok_or_else(|| Failure::argument(format!("the guest '{}' has no stored definition", guest.name())))
}

/// The disk of that name, or with that file in it.
fn find_disk(config: &DomainConfig, wanted: &str) -> Result<Device, Failure> {
    let disks = &config.devices.disks;
    let named = |it: &polyvirt::model::disk::Disk| it.target.as_ref().is_some_and(|it| it.dev == wanted);
    let holds = |it: &polyvirt::model::disk::Disk| {
        it.source.as_ref().is_some_and(|it| [it.file.as_deref(), it.dev.as_deref()].contains(&Some(wanted)))
    };
    let at = disks.iter().position(named).or_else(|| disks.iter().position(holds));
    at.and_then(|at| config.devices.pick("disk", at)).ok_or_else(|| {
        let names: Vec<_> = disks.iter().filter_map(|it| it.target.as_ref()).map(|it| it.dev.as_str()).collect();
        let message = format!("the guest '{}' has no disk '{wanted}'; it has: {}", config.name, names.join(", "));
        Failure::Error(polyvirt::Error::new(polyvirt::ErrorKind::NotFound, message))
    })
}

pub(super) async fn detach_disk(args: &DetachDiskArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.domain).await?;
    let xml = find_disk(&definition(&guest, args.affect).await?, &args.target)?.to_xml();
    if printed(&xml, args.print_xml, out) {
        return Ok(());
    }
    take_out(&guest, &xml, args.affect, out).await
}

pub(super) async fn change_media(args: &ChangeMediaArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.domain).await?;
    let drive = find_disk(&definition(&guest, args.affect).await?, &args.path)?;
    let xml = medium(&drive, args)?;
    if printed(&xml, args.print_xml, out) {
        return Ok(());
    }
    change(&guest, &xml, args.affect, args.force, out).await
}

/// The drive with the wanted medium in it.
fn medium(drive: &Device, args: &ChangeMediaArgs) -> Result<String, Failure> {
    let mut tree = XmlTree::parse(&drive.to_xml()).map_err(|error| Failure::argument(error.to_string()))?;
    let is_drive = matches!(tree.attribute("device"), Some("cdrom" | "floppy"));
    if !is_drive {
        return Err(Failure::argument(format!(
            "'{}' is no drive with a medium; detach the disk and attach another",
            args.path
        )));
    }
    let full = tree.children.iter().any(|it| it.name == "source");
    if args.source.is_none() && !args.eject {
        return Err(Failure::Usage("change-media: name the medium, or write --eject".to_owned()));
    }
    if args.eject && !full {
        return Err(Failure::argument(format!("the drive '{}' is empty", args.path)));
    }
    if args.insert && full {
        return Err(Failure::argument(format!(
            "something is in the drive '{}'; leave --insert out to change it",
            args.path
        )));
    }
    if args.update && !full {
        return Err(Failure::argument(format!("the drive '{}' is empty; leave --update out to insert it", args.path)));
    }
    // What the former medium was based on and where QEMU had it is not the new one's.
    tree.children.retain(|it| !matches!(it.name.as_str(), "source" | "backingStore"));
    if let Some(source) = &args.source {
        let block = args.block || is_block(source);
        tree.attributes.retain(|(name, _)| name != "type");
        tree.attributes.insert(0, ("type".to_owned(), if block { "block" } else { "file" }.to_owned()));
        let source = absolute(source)?;
        tree.children.push(element("source", &[(if block { "dev" } else { "file" }, Some(&source))]));
    }
    Ok(tree.to_string())
}

pub(super) async fn attach_interface(args: &AttachInterfaceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = card(args)?;
    if printed(&xml, args.print_xml, out) {
        return Ok(());
    }
    put_in(&session.guest(&args.domain).await?, &xml, args.affect, out).await
}

fn card(args: &AttachInterfaceArgs) -> Result<String, Failure> {
    let mut card = element("interface", &[("type", Some(&args.kind)), ("managed", args.managed.then_some("yes"))]);
    card.children.extend(args.mac.as_deref().map(|it| element("mac", &[("address", Some(it))])));
    if let Some(source) = &args.source {
        let attribute = match args.kind.as_str() {
            "network" => "network",
            "bridge" => "bridge",
            _ => "dev",
        };
        card.children.push(element("source", &[(attribute, Some(source)), ("mode", args.source_mode.as_deref())]));
    }
    card.children.extend(args.target.as_deref().map(|it| element("target", &[("dev", Some(it))])));
    card.children.extend(args.script.as_deref().map(|it| element("script", &[("path", Some(it))])));
    card.children.extend(args.model.as_deref().map(|it| element("model", &[("type", Some(it))])));
    card.children.extend(args.alias.as_deref().map(|it| element("alias", &[("name", Some(it))])));
    let mut limits = XmlTree::new("bandwidth");
    for (name, rate) in [("inbound", &args.inbound), ("outbound", &args.outbound)] {
        if let Some(rate) = rate {
            let mut parts = rate.split(',').map(Some);
            let mut part = || parts.next().flatten().filter(|it| !it.is_empty());
            let (average, peak, burst) = (part(), part(), part());
            if average.is_none() || parts.next().is_some() {
                return Err(Failure::Usage(format!("attach-interface: '{rate}' is not average[,peak[,burst]]")));
            }
            limits.children.push(element(name, &[("average", average), ("peak", peak), ("burst", burst)]));
        }
    }
    if !limits.children.is_empty() {
        card.children.push(limits);
    }
    Ok(card.to_string())
}

pub(super) async fn detach_interface(args: &DetachInterfaceArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.domain).await?;
    let config = definition(&guest, args.affect).await?;
    let cards = config.devices.interfaces.iter().enumerate();
    let wanted = |it: &polyvirt::model::interface::Interface| {
        it.kind.is_some_and(|it| it.as_str() == args.kind)
            && args
                .mac
                .as_ref()
                .is_none_or(|mac| it.mac.as_ref().is_some_and(|it| it.address.to_string().eq_ignore_ascii_case(mac)))
    };
    let found: Vec<_> = cards.filter(|(_, it)| wanted(it)).map(|(at, _)| at).collect();
    let [at] = found[..] else {
        let message = match found.len() {
            0 => format!("the guest '{}' has no such card of type '{}'", guest.name(), args.kind),
            several => {
                format!("the guest '{}' has {several} cards of type '{}'; name one with --mac", guest.name(), args.kind)
            }
        };
        return Err(Failure::argument(message));
    };
    let xml = config.devices.pick("interface", at).map(|it| it.to_xml()).unwrap_or_default();
    if printed(&xml, args.print_xml, out) {
        return Ok(());
    }
    take_out(&guest, &xml, args.affect, out).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_as_virsh_has_them() {
        let place = |text: &str| address(text, false).map(|it| it.to_string().trim().to_owned()).ok();
        for (text, expected) in [
            ("pci:0000.00.1f.0", "<address type='pci' domain='0x0' bus='0x0' slot='0x1f' function='0x0'/>"),
            ("scsi:0.0.3", "<address type='drive' controller='0' bus='0' unit='3'/>"),
            ("usb:0.12", "<address type='usb' bus='0' port='12'/>"),
            ("ccw:0xfe.0.0x10", "<address type='ccw' cssid='0xfe' ssid='0x0' devno='0x10'/>"),
        ] {
            assert_eq!(place(text).as_deref(), Some(expected));
        }
        for wrong in ["", "pci", "pci:0.0.0", "pci:0.0.0.g", "scsi:0.0.-1", "isa:1", "usb:0.1.2"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
