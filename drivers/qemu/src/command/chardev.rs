//! Character devices: `-chardev`, what the guest's ports are connected to.

use std::path::Path;

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig,
        chardev::{CharBackend, CharEndpoint, CharMode, CharProtocol, CharSource, ConsoleTargetType, MousePointer},
    },
};

use super::{
    Args, Input, Purpose, SHOWN_DESCRIPTOR, alias,
    option::{Opts, on_off},
    storage::secret::{self, Certificates},
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
    pub(crate) fn chardev(self, config: &DomainConfig) -> String {
        let (usual, info) = match self {
            Self::Serial(at) => (format!("serial{at}"), config.devices.serials.get(at).map(|it| &it.info)),
            Self::Own(at) => (format!("console{at}"), config.devices.consoles.get(at).map(|it| &it.info)),
        };
        let own = info.map(alias::of).filter(|it| !it.is_empty());
        format!("char{}", own.unwrap_or(&usual))
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

/// One character device to be added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chardev<'a> {
    /// Name of the guest's device.
    pub(super) alias: &'a str,
    pub(super) kind: Option<CharBackend>,
    pub(super) about: &'a CharSource,
    /// Where it stands in the definition.
    pub(super) path: &'a str,
    /// What a channel of SPICE is for: `vdagent`, `usbredir`, `smartcard`.
    pub(super) channel: Option<&'a str>,
    /// Where a socket is made whose path only we need to know.
    pub(super) socket: Option<&'a Path>,
}

impl<'a> Chardev<'a> {
    pub(super) fn new(alias: &'a str, kind: Option<CharBackend>, about: &'a CharSource, path: &'a str) -> Self {
        Self { alias, kind, about, path, channel: None, socket: None }
    }

    pub(super) fn id(&self) -> String {
        format!("char{}", self.alias)
    }

    fn source(&self) -> Option<&'a CharEndpoint> {
        self.about.source.first()
    }

    fn wrong(&self, problem: impl Into<String>, place: &str) -> Error {
        Error::new(ErrorKind::InvalidConfig, problem.into()).with("path", format!("{}/{place}", self.path))
    }

    fn file(&self, kind: CharBackend) -> Result<&'a str> {
        let given = self.source().and_then(|it| it.path.as_deref()).filter(|it| !it.is_empty());
        given.ok_or_else(|| self.wrong(format!("a character device of type '{kind}' needs a path"), "source/@path"))
    }

    fn listens(&self, usual: bool) -> bool {
        let mode = self.source().and_then(|it| it.mode);
        mode.map_or(usual, |it| matches!(it, CharMode::Bind | CharMode::Server))
    }

    /// Adds it; returns its id.
    pub(super) fn add(&self, args: &mut Args, input: &Input<'_>) -> Result<String> {
        let id = self.id();
        let kind = self.kind.unwrap_or(CharBackend::Pty);
        let opts = match kind {
            CharBackend::Pty | CharBackend::Null | CharBackend::Vc | CharBackend::Stdio => {
                Opts::new(kind.as_str()).with("id", &id)
            }
            CharBackend::File => self.log_file(args, input, &id)?,
            CharBackend::Dev => {
                let driver = if self.alias.starts_with("parallel") || self.path.contains("/parallel[") {
                    "parallel"
                } else {
                    "serial"
                };
                Opts::new(driver).with("id", &id).with("path", self.file(kind)?)
            }
            CharBackend::Pipe => Opts::new("pipe").with("id", &id).with("path", self.file(kind)?),
            CharBackend::Unix => self.unix(input, &id)?,
            CharBackend::Tcp => self.tcp(args, input, &id)?,
            CharBackend::Udp => self.udp(&id)?,
            CharBackend::SpiceVmc => {
                Opts::new("spicevmc").with("id", &id).with("name", self.channel.unwrap_or("vdagent"))
            }
            CharBackend::SpicePort => self.named("spiceport", &id)?,
            CharBackend::Dbus => self.named("dbus", &id)?,
            CharBackend::QemuVdagent => {
                let source = self.source();
                let clipboard = source.and_then(|it| it.clipboard.as_ref()).and_then(|it| it.copypaste);
                let mouse = source.and_then(|it| it.mouse.as_ref()).and_then(|it| it.mode);
                Opts::new("qemu-vdagent")
                    .with("id", &id)
                    .with("name", "vdagent")
                    .maybe("clipboard", clipboard.map(on_off))
                    .maybe("mouse", mouse.map(|it| on_off(it == MousePointer::Client)))
            }
            other => {
                let problem = format!(
                    "a character device of type '{other}' cannot be had; use 'pty', 'unix', 'file', 'tcp' or 'null'"
                );
                return Err(self.wrong(problem, "@type"));
            }
        };
        let opts = self.log(opts, args, input);
        args.add("-chardev", opts.build());
        Ok(id)
    }

    /// A file is opened by whoever starts the guest, in a command line that is shown; see [`Purpose`].
    fn log_file(&self, args: &mut Args, input: &Input<'_>, id: &str) -> Result<Opts> {
        let path = self.file(CharBackend::File)?;
        let append = self.source().and_then(|it| it.append);
        let opts = Opts::new("file").with("id", id);
        Ok(match input.purpose {
            Purpose::Shown => {
                opts.with("path", args.descriptors(&format!("{}-source", self.alias))).switch("append", true)
            }
            Purpose::Run => opts.with("path", path).maybe("append", append.map(on_off)),
        })
    }

    fn log(&self, opts: Opts, args: &mut Args, input: &Input<'_>) -> Opts {
        let Some(log) = &self.about.log else { return opts };
        match input.purpose {
            Purpose::Shown => {
                opts.with("logfile", args.descriptors(&format!("{}-log", self.alias))).switch("logappend", true)
            }
            Purpose::Run => opts.with("logfile", &log.file).maybe("logappend", log.append.map(on_off)),
        }
    }

    fn unix(&self, input: &Input<'_>, id: &str) -> Result<Opts> {
        let opts = Opts::new("socket").with("id", id);
        let given = self.source().and_then(|it| it.path.as_deref()).filter(|it| !it.is_empty());
        if self.listens(true) {
            // Opened before QEMU runs, so that it listens from the first moment.
            let opts = match (input.purpose, given, self.socket) {
                (Purpose::Shown, ..) => opts.with("fd", SHOWN_DESCRIPTOR),
                (Purpose::Run, None, Some(path)) => opts.with("path", path.display()),
                _ => opts.with("path", self.file(CharBackend::Unix)?),
            };
            return Ok(opts.switch("server", true).switch("wait", false));
        }
        let opts = opts.with("path", self.file(CharBackend::Unix)?);
        Ok(reconnect(opts, self.again(), input))
    }

    fn again(&self) -> Option<u32> {
        let about = self.source()?.reconnect.as_ref()?;
        // No seconds: never again.
        if about.enabled == Some(false) { Some(0) } else { about.timeout }
    }

    fn tcp(&self, args: &mut Args, input: &Input<'_>, id: &str) -> Result<Opts> {
        let source = self.source();
        let host = source.and_then(|it| it.host.as_deref()).unwrap_or("127.0.0.1");
        let port = source.and_then(|it| it.service.as_deref());
        let port =
            port.ok_or_else(|| self.wrong("a character device of type 'tcp' needs a port", "source/@service"))?;
        let telnet = self.about.protocol.as_ref().and_then(|it| it.kind) == Some(CharProtocol::Telnet);
        let mut opts = Opts::new("socket").with("id", id).with("host", host).with("port", port);
        if telnet {
            opts = opts.switch("telnet", true);
        }
        let server = self.listens(false);
        opts = if server {
            opts.switch("server", true).switch("wait", false)
        } else {
            reconnect(opts, self.again(), input)
        };
        let settings = input.settings;
        if !source.and_then(|it| it.tls).unwrap_or(settings.chardev_tls) {
            return Ok(opts);
        }
        let password = format!("{id}-secret0");
        let locked = settings.chardev_tls_x509_secret_uuid.is_some();
        if locked {
            secret::object(args, input, &password, None, &format!("{}/source/@tls", self.path))?;
        }
        let credentials = format!("obj{id}_tls0");
        let about = Certificates {
            id: &credentials,
            folder: &settings.chardev_tls_x509_cert_dir,
            server,
            verify: !server || settings.chardev_tls_x509_verify,
            password: locked.then_some(&password),
        };
        secret::certificates(args, about);
        Ok(opts.with("tls-creds", credentials))
    }

    fn udp(&self, id: &str) -> Result<Opts> {
        let part = |mode: CharMode| self.about.source.iter().find(|it| it.mode == Some(mode));
        let (remote, local) = (part(CharMode::Connect), part(CharMode::Bind));
        let remote = remote.or_else(|| self.source().filter(|it| it.mode.is_none()));
        let port = remote.and_then(|it| it.service.as_deref());
        let port =
            port.ok_or_else(|| self.wrong("a character device of type 'udp' needs a port", "source/@service"))?;
        Ok(Opts::new("udp")
            .with("id", id)
            .with("host", remote.and_then(|it| it.host.as_deref()).unwrap_or_default())
            .with("port", port)
            .with("localaddr", local.and_then(|it| it.host.as_deref()).unwrap_or_default())
            .with("localport", local.and_then(|it| it.service.as_deref()).unwrap_or("0")))
    }

    fn named(&self, driver: &str, id: &str) -> Result<Opts> {
        let name = self.source().and_then(|it| it.channel.as_deref());
        let name = name.ok_or_else(|| self.wrong("this character device needs a name", "source/@channel"))?;
        Ok(Opts::new(driver).with("id", id).with("name", name))
    }
}

/// How often a lost connection is tried again, in seconds; milliseconds since QEMU 9.2.
pub(super) fn reconnect(opts: Opts, seconds: Option<u32>, input: &Input<'_>) -> Opts {
    if input.binary.has_path("chardev-add/backend/+socket/data/reconnect-ms") {
        opts.maybe("reconnect-ms", seconds.map(|it| u64::from(it) * 1000))
    } else {
        opts.maybe("reconnect", seconds)
    }
}
