//! Serial and parallel ports, consoles, channels, smartcards and redirected USB devices.

use std::path::PathBuf;

use polyvirt_core::{
    Result,
    model::chardev::{
        ChannelTargetType, CharBackend, ConsoleTargetType, RedirFilter, RedirRule, SerialModel, SerialTargetType,
        SmartcardMode, UsbClassFilter, UsbIdFilter, UsbVersionFilter,
    },
};
use serde_json::json;

use super::{
    Args, Input, alias,
    chardev::{Chardev, ConsoleTarget, console_target},
    option::Members,
    place,
};

pub(super) fn devices(args: &mut Args, input: &Input<'_>) -> Result<()> {
    smartcards(args, input)?;
    serials(args, input)?;
    for (at, port) in input.config.devices.parallels.iter().enumerate() {
        let path = format!("/domain/devices/parallel[{}]", at + 1);
        let name = alias::of(&port.info);
        let id = Chardev::new(name, port.kind, &port.backend, &path).add(args, input)?;
        args.device(input, &port.info, Members::new("driver", "isa-parallel").with("chardev", id).with("id", name));
    }
    channels(args, input)?;
    consoles(args, input)
}

fn serials(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, serial) in input.config.devices.serials.iter().enumerate() {
        let path = format!("/domain/devices/serial[{}]", at + 1);
        let name = alias::of(&serial.info);
        let id = Chardev::new(name, serial.kind, &serial.backend, &path).add(args, input)?;
        let target = serial.target.as_ref();
        let Some(driver) = serial_driver(
            target.and_then(|it| it.kind),
            target.and_then(|it| it.model.as_ref()).and_then(|it| it.name),
            input,
        ) else {
            // The board has the chip.
            args.add("-serial", format!("chardev:{id}"));
            continue;
        };
        let port = target.and_then(|it| it.port).or(u32::try_from(at).ok());
        let members = Members::new("driver", driver)
            .with("chardev", id)
            .with("id", name)
            .maybe("index", port.filter(|_| driver == "isa-serial"));
        args.device(input, &serial.info, members);
    }
    Ok(())
}

/// The device of a serial port; `None` if it is on the board.
fn serial_driver(
    kind: Option<SerialTargetType>,
    model: Option<SerialModel>,
    input: &Input<'_>,
) -> Option<&'static str> {
    match (model, kind) {
        (Some(SerialModel::Pl011 | SerialModel::Ns16550a), _) | (_, Some(SerialTargetType::SystemSerial)) => None,
        (Some(SerialModel::SpaprVty), _) | (_, Some(SerialTargetType::SpaprVioSerial)) => Some("spapr-vty"),
        (Some(model), _) => Some(model.as_str()),
        (_, Some(SerialTargetType::PciSerial)) => Some("pci-serial"),
        (_, Some(SerialTargetType::UsbSerial)) => Some("usb-serial"),
        (_, Some(SerialTargetType::SclpSerial)) => Some("sclpconsole"),
        (_, Some(SerialTargetType::IsaDebug)) => Some("isa-debugcon"),
        _ if input.binary.arch.starts_with("ppc64") => Some("spapr-vty"),
        _ if input.binary.arch == "s390x" => Some("sclpconsole"),
        _ if input.is_x86() => Some("isa-serial"),
        _ => None,
    }
}

fn consoles(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, console) in input.config.devices.consoles.iter().enumerate() {
        if console_target(input.config, at) != Some(ConsoleTarget::Own(at)) {
            continue;
        }
        let path = format!("/domain/devices/console[{}]", at + 1);
        let name = alias::of(&console.info);
        let driver = match console.target.as_ref().and_then(|it| it.kind) {
            Some(ConsoleTargetType::Sclp) => "sclpconsole",
            Some(ConsoleTargetType::Sclplm) => "sclplmconsole",
            _ => "virtconsole",
        };
        let id = Chardev::new(name, console.kind, &console.backend, &path).add(args, input)?;
        args.device(input, &console.info, Members::new("driver", driver).with("chardev", id).with("id", name));
    }
    Ok(())
}

fn channels(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, channel) in input.config.devices.channels.iter().enumerate() {
        let path = format!("/domain/devices/channel[{}]", at + 1);
        let name = alias::of(&channel.info);
        let Some(target) = &channel.target else { continue };
        // A path that only we need to know.
        let socket: PathBuf = input.folders.run.join(format!("channel{at}"));
        let mut about = Chardev::new(name, channel.kind, &channel.backend, &path);
        about.socket = Some(&socket);
        let id = about.add(args, input)?;
        match target.kind {
            Some(ChannelTargetType::Guestfwd) => {
                let address = target.address.map(|it| it.to_string()).unwrap_or_default();
                let port = target.port.unwrap_or(0);
                let forward = json!([{"str": format!("tcp:{address}:{port}-chardev:{id}")}]);
                let members = Members::new("type", "user").with("guestfwd", forward).with("id", name);
                args.add("-netdev", members.build());
            }
            Some(ChannelTargetType::Virtio) => {
                let vmc = channel.kind == Some(CharBackend::SpiceVmc);
                let port = target.name.clone().or_else(|| vmc.then(|| "com.redhat.spice.0".to_owned()));
                let members =
                    Members::new("driver", "virtserialport").with("chardev", id).with("id", name).maybe("name", port);
                args.device(input, &channel.info, members);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where NSS keeps certificates if nobody says.
const CERTIFICATES: &str = "/etc/pki/nssdb";

fn smartcards(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, card) in input.config.devices.smartcards.iter().enumerate() {
        let path = format!("/domain/devices/smartcard[{}]", at + 1);
        let name = alias::of(&card.info);
        let members = match card.mode {
            Some(SmartcardMode::Host) => Members::new("driver", "ccid-card-emulated").with("backend", "nss-emulated"),
            Some(SmartcardMode::HostCertificates) => {
                let members = Members::new("driver", "ccid-card-emulated").with("backend", "certificates");
                let certificates = card.certificate.iter().enumerate();
                let members = certificates
                    .fold(members, |members, (at, it)| members.with(&format!("cert{}", at + 1), it.clone()));
                members.with("db", card.database.clone().unwrap_or_else(|| CERTIFICATES.into()))
            }
            _ => {
                let mut about = Chardev::new(name, card.kind, &card.backend, &path);
                about.channel = Some("smartcard");
                let id = about.add(args, input)?;
                Members::new("driver", "ccid-card-passthru").with("chardev", id)
            }
        };
        args.device(input, &card.info, members.with("id", name));
    }
    Ok(())
}

/// USB devices of whoever looks at the guest's screen.
pub(super) fn redirected(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, device) in input.config.devices.redirdevs.iter().enumerate() {
        let path = format!("/domain/devices/redirdev[{}]", at + 1);
        let name = alias::of(&device.info);
        let mut about = Chardev::new(name, device.kind, &device.backend, &path);
        about.channel = Some("usbredir");
        let id = about.add(args, input)?;
        let members = Members::new("driver", "usb-redir")
            .with("chardev", id)
            .with("id", name)
            .maybe("filter", input.config.devices.redirfilter.as_ref().map(filter));
        let boot = device.info.boot.as_ref().and_then(|it| it.order);
        args.device(input, &device.info, place::boot(members, &device.info, boot, input));
    }
    Ok(())
}

/// Rules as usbredir writes them: `class:vendor:product:version:allow|…`, -1 for any.
fn filter(filter: &RedirFilter) -> String {
    filter.usbdev.iter().map(rule).collect::<Vec<_>>().join("|")
}

fn rule(rule: &RedirRule) -> String {
    let class = match rule.class {
        Some(UsbClassFilter::Is(class)) => format!("0x{class:02X}"),
        _ => "-1".into(),
    };
    let id = |it: Option<UsbIdFilter>| match it {
        Some(UsbIdFilter::Is(id)) => format!("0x{id:04X}"),
        _ => "-1".into(),
    };
    let version = match rule.version {
        // Binary-coded decimal.
        Some(UsbVersionFilter::Is { major, minor }) => {
            let coded = |it: u8| u16::from(it / 10) << 4 | u16::from(it % 10);
            format!("0x{:04X}", coded(major) << 8 | coded(minor))
        }
        _ => "-1".into(),
    };
    let allow = u8::from(rule.allow.unwrap_or(false));
    format!("{class}:{}:{}:{version}:{allow}", id(rule.vendor), id(rule.product))
}
