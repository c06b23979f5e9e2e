//! Serial ports, consoles and channels.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig,
        chardev::{ChannelTargetType, CharBackend, CharMode, CharSource, ConsoleTargetType, SerialTargetType},
    },
};

use super::{
    Args, Input, bus,
    option::{Members, Opts, on_off},
};

/// Which character device is behind a console: a console of a serial port shares that port's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsoleTarget {
    /// The serial port at this place.
    Serial(usize),
    /// The console at this place.
    Own(usize),
}

impl ConsoleTarget {
    /// Id of the character device.
    pub(crate) fn chardev(self) -> String {
        match self {
            Self::Serial(at) => format!("charserial{at}"),
            Self::Own(at) => format!("charconsole{at}"),
        }
    }
}

/// What is behind the console at this place; `None` if there is no such console.
pub(crate) fn console_target(config: &DomainConfig, at: usize) -> Option<ConsoleTarget> {
    let console = config.devices.consoles.get(at)?;
    match console.target.as_ref().and_then(|it| it.kind) {
        // Only the first console can be a serial port's, and it is the first port's.
        None | Some(ConsoleTargetType::Serial) => {
            (at == 0 && !config.devices.serials.is_empty()).then_some(ConsoleTarget::Serial(0))
        }
        _ => Some(ConsoleTarget::Own(at)),
    }
}

/// What is behind a serial port or console of its own, and where.
pub(crate) fn backend_of(config: &DomainConfig, target: ConsoleTarget) -> Option<(CharBackend, &CharSource)> {
    let (kind, about) = match target {
        ConsoleTarget::Serial(at) => config.devices.serials.get(at).map(|it| (it.kind, &it.backend))?,
        ConsoleTarget::Own(at) => config.devices.consoles.get(at).map(|it| (it.kind, &it.backend))?,
    };
    Some((kind.unwrap_or(CharBackend::Pty), about))
}

pub(super) fn character_devices(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let devices = &input.config.devices;
    for (at, serial) in devices.serials.iter().enumerate() {
        let id = ConsoleTarget::Serial(at).chardev();
        args.add("-chardev", backend(&id, serial.kind, &serial.backend, "serial", at)?);
        let target = serial.target.as_ref();
        let kind = target.and_then(|it| it.kind);
        let driver = serial_driver(kind, &input.binary.arch);
        let port = target.and_then(|it| it.port).or(u32::try_from(at).ok());
        let members = Members::new("driver", driver)
            .with("chardev", id)
            .with("id", bus::alias(&serial.info, || format!("serial{at}")))
            .maybe("index", port.filter(|_| driver == "isa-serial"));
        args.add("-device", bus::pci(members, &serial.info, input).build());
    }
    for (at, console) in devices.consoles.iter().enumerate() {
        if console_target(input.config, at) == Some(ConsoleTarget::Own(at)) {
            let id = ConsoleTarget::Own(at).chardev();
            args.add("-chardev", backend(&id, console.kind, &console.backend, "console", at)?);
            let name = bus::alias(&console.info, || format!("console{at}"));
            args.add("-device", Members::new("driver", "virtconsole").with("chardev", id).with("id", name).build());
        }
    }
    channels(args, input)
}

fn channels(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, channel) in input.config.devices.channels.iter().enumerate() {
        let Some(target) = channel.target.as_ref().filter(|it| it.kind == Some(ChannelTargetType::Virtio)) else {
            continue;
        };
        let id = format!("charchannel{at}");
        let given = channel.backend.source.first().and_then(|it| it.path.as_ref());
        if channel.kind == Some(CharBackend::Unix) && given.is_none() {
            // A path that only we need to know.
            let path = input.folders.run.join(format!("channel{at}"));
            let opts = Opts::new("socket").with("id", &id).with("path", path.display());
            args.add("-chardev", opts.switch("server", true).switch("wait", false).build());
        } else {
            args.add("-chardev", backend(&id, channel.kind, &channel.backend, "channel", at)?);
        }
        let members = Members::new("driver", "virtserialport")
            .with("chardev", id)
            .with("id", bus::alias(&channel.info, || format!("channel{at}")))
            .maybe("name", target.name.clone());
        args.add("-device", members.build());
    }
    Ok(())
}

fn serial_driver(kind: Option<SerialTargetType>, arch: &str) -> &'static str {
    match kind {
        Some(SerialTargetType::PciSerial) => "pci-serial",
        Some(SerialTargetType::UsbSerial) => "usb-serial",
        Some(SerialTargetType::SpaprVioSerial) => "spapr-vty",
        Some(SerialTargetType::SclpSerial) => "sclpconsole",
        _ if arch.starts_with("ppc64") => "spapr-vty",
        _ if arch == "s390x" => "sclpconsole",
        _ => "isa-serial",
    }
}

fn backend(id: &str, kind: Option<CharBackend>, about: &CharSource, element: &str, at: usize) -> Result<String> {
    let wrong = |problem: String, place: &str| {
        let path = format!("/domain/devices/{element}[{}]/{place}", at + 1);
        Error::new(ErrorKind::InvalidConfig, problem).with("path", path)
    };
    let source = about.source.first();
    let kind = kind.unwrap_or(CharBackend::Pty);
    let path = || {
        let given = source.and_then(|it| it.path.as_deref()).filter(|it| !it.is_empty());
        given.ok_or_else(|| wrong(format!("a character device of type '{kind}' needs a path"), "source/@path"))
    };
    let listens = source.and_then(|it| it.mode).map(|it| matches!(it, CharMode::Bind | CharMode::Server));
    let opts = match kind {
        CharBackend::Pty => Opts::new("pty").with("id", id),
        CharBackend::Null => Opts::new("null").with("id", id),
        CharBackend::File => {
            let append = source.and_then(|it| it.append).map(on_off);
            Opts::new("file").with("id", id).with("path", path()?).maybe("append", append)
        }
        CharBackend::Dev => Opts::new("serial").with("id", id).with("path", path()?),
        CharBackend::Pipe => Opts::new("pipe").with("id", id).with("path", path()?),
        CharBackend::Unix => socket(Opts::new("socket").with("id", id).with("path", path()?), listens.unwrap_or(true)),
        CharBackend::Tcp => {
            let host = source.and_then(|it| it.host.as_deref()).unwrap_or("127.0.0.1");
            let port = source.and_then(|it| it.service.as_deref());
            let port =
                port.ok_or_else(|| wrong("a character device of type 'tcp' needs a port".into(), "source/@service"))?;
            socket(Opts::new("socket").with("id", id).with("host", host).with("port", port), listens.unwrap_or(false))
        }
        other => {
            let problem = format!(
                "a character device of type '{other}' cannot be had; use 'pty', 'unix', 'file', 'tcp' or 'null'"
            );
            return Err(wrong(problem, "@type"));
        }
    };
    let log = about.log.as_ref();
    let opts = opts.maybe("logfile", log.map(|it| &it.file));
    Ok(opts.maybe("logappend", log.and_then(|it| it.append).map(on_off)).build())
}

fn socket(opts: Opts, listens: bool) -> Opts {
    if listens { opts.switch("server", true).switch("wait", false) } else { opts }
}
