//! What guests of the corpus find on this host: small images, sockets with a peer, folders.
//!
//! [`Ground::lay`] is the only place where a definition is changed before it is started, and what it changes is all that may be:
//! the type of the domain, the emulator, a machine version that QEMU 7.2 lacks, and where data, characters and frames come from.
//! Guests that are bound to CPUs or nodes which this host lacks are set free; huge pages become ordinary ones.

use std::{
    cell::Cell,
    fs::{File, Permissions},
    net::{TcpListener, UdpSocket},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    process::Command,
};

use polyvirt::model::{
    DomainConfig, DomainKind,
    chardev::{CharBackend, CharMode, CharSource},
    disk::{Disk, DiskDevice},
    display::{Graphics, GraphicsKind, Listen, ListenType},
    interface::{Interface, InterfaceKind},
    os::{FirmwareFormat, LoaderType, Os},
    storage::{BackingStore, ImageFormat, Source, SourceKind},
};
use polyvirt::placement::Kib;
use polyvirt_tests::{Root, root};

/// Size of a disk: enough for every format's headers.
const DISK: u64 = 1 << 20;
/// Size of a floppy, 2.88 MB; QEMU tells the kind of drive from it.
const FLOPPY: u64 = 2880 << 10;
/// Most memory that fits beside the rest into the 40 address bits of QEMU's own CPUs.
const ADDRESSABLE: Kib = Kib(64 << 20);
/// SeaBIOS, as Debian's package seabios has it; QEMU depends on that.
const FIRMWARE: &str = "/usr/share/seabios/bios-256k.bin";

/// A folder for one guest, and what listens in it.
pub(crate) struct Ground {
    root: Root,
    count: Cell<u32>,
    /// Kept open while the guest runs.
    peers: std::cell::RefCell<Vec<Peer>>,
}

/// The other end of something.
#[expect(dead_code, reason = "held open, never read")]
enum Peer {
    Unix(UnixListener),
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Ground {
    pub(crate) fn new() -> Self {
        let root = root();
        // QEMU runs as a user of its own, who makes sockets in it.
        open_to_all(root.path(), 0o777);
        Self { root, count: Cell::new(0), peers: Default::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Makes what a definition needs, and writes it there.
    pub(crate) fn lay(&self, config: &mut DomainConfig) {
        config.kind = DomainKind::Qemu;
        config.devices.emulator = None;
        if let Some(machine) = config.os.as_mut().and_then(|os| os.r#type.as_mut()).and_then(|it| it.machine.as_mut()) {
            *machine = here(machine);
        }
        if let Some(os) = &mut config.os {
            self.firmware(os);
        }
        self.bindings(config);
        let devices = &mut config.devices;
        devices.disks.iter_mut().for_each(|it| self.drive(it));
        devices.interfaces.iter_mut().for_each(|it| self.interface(it));
        for folder in &mut devices.filesystems {
            if let Some(source) = &mut folder.source {
                source.dir = Some(self.folder());
            }
        }
        devices.graphics.iter_mut().for_each(|it| self.display(it));
        for memory in &mut devices.memories {
            let size = memory.target.as_ref().and_then(|it| it.size);
            if let Some(source) = &mut memory.source {
                source.nodemask = None;
                source.pagesize = None;
                if source.path.is_some() {
                    // QEMU rounds the size up, and takes a larger file.
                    let size = size.map_or(0, |it| it.0 << 10).next_multiple_of(1 << 30);
                    source.path = Some(self.file("memory", size));
                }
            }
        }
        self.characters(config);
    }

    /// A raw image.
    pub(crate) fn disk(&self) -> String {
        self.file("disk", DISK)
    }

    /// A folder that everybody may use.
    pub(crate) fn folder(&self) -> String {
        let path = self.own("folder");
        std::fs::create_dir(&path).expect("a folder");
        open_to_all(&path, 0o777);
        path
    }

    fn own(&self, what: &str) -> String {
        self.count.set(self.count.get() + 1);
        self.path().join(format!("{what}{}", self.count.get())).to_string_lossy().into_owned()
    }

    fn file(&self, what: &str, size: u64) -> String {
        let path = self.own(what);
        File::create(&path).and_then(|it| it.set_len(size)).expect("a file");
        open_to_all(&path, 0o666);
        path
    }

    /// CPUs, nodes and huge pages of another host.
    fn bindings(&self, config: &mut DomainConfig) {
        if let Some(vcpu) = &mut config.vcpu {
            vcpu.cpuset = None;
            vcpu.placement = None;
        }
        config.cputune = None;
        config.numatune = None;
        if let Some(backing) = &mut config.memory_backing {
            backing.hugepages = None;
        }
        if let Some(max) = config.max_memory.as_mut().filter(|it| it.size > ADDRESSABLE) {
            max.size = ADDRESSABLE;
        }
    }

    fn firmware(&self, os: &mut Os) {
        let Some(loader) = &mut os.loader else { return };
        let Some(path) = &mut loader.path else { return };
        loader.format = None;
        *path = self.own("firmware");
        std::fs::copy(FIRMWARE, &*path).expect("SeaBIOS is installed with QEMU");
        open_to_all(&*path, 0o666);
        if loader.kind == Some(LoaderType::Pflash) && os.nvram.is_some() {
            let variables = self.file("variables", 256 << 10);
            let nvram = os.nvram.get_or_insert_default();
            (nvram.template, nvram.source, nvram.kind) = (None, None, None);
            nvram.format = Some(FirmwareFormat::Raw);
            nvram.path = Some(variables);
        }
    }

    fn drive(&self, disk: &mut Disk) {
        let Some(source) = disk.source.as_mut().filter(|it| **it != Source::default()) else { return };
        let format = disk.driver.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
        let below = disk.backing_store.as_mut().and_then(|it| self.backing(it));
        let size = if disk.device == Some(DiskDevice::Floppy) { FLOPPY } else { DISK };
        let path = self.image(format, size, below.as_ref());
        (disk.kind, disk.auth) = (Some(SourceKind::File), None);
        *source = Source::default();
        source.file = Some(path);
    }

    /// The layers below, the lowest first; path and format of the uppermost.
    fn backing(&self, store: &mut BackingStore) -> Option<(String, ImageFormat)> {
        let source = store.source.as_mut()?;
        let format = store.format.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
        let below = store.backing_store.as_mut().and_then(|it| self.backing(it));
        let path = self.image(format, DISK, below.as_ref());
        store.kind = Some(SourceKind::File);
        *source = Source::default();
        source.file = Some(path.clone());
        Some((path, format))
    }

    fn image(&self, format: ImageFormat, size: u64, below: Option<&(String, ImageFormat)>) -> String {
        if matches!(format, ImageFormat::Raw | ImageFormat::Iso) {
            return self.file("disk", size);
        }
        let path = self.own("disk");
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", format.as_str()]);
        if let Some((below, kind)) = below {
            command.args(["-b", below, "-F", kind.as_str()]);
        }
        let status = command.arg(&path).arg(size.to_string()).status().expect("qemu-img is installed with QEMU");
        assert!(status.success(), "qemu-img makes no {format}");
        open_to_all(&path, 0o666);
        path
    }

    fn interface(&self, card: &mut Interface) {
        use InterfaceKind::{Client, Mcast, Null, Server, Udp, User};
        match card.kind {
            Some(User | Null | Mcast) => {}
            Some(Client | Server | Udp) => {
                let port = match card.kind {
                    Some(Client) => self.listening(),
                    _ => free_port(),
                };
                if let Some(source) = &mut card.source {
                    (source.address, source.port) = (Some("127.0.0.1".into()), Some(port.into()));
                    if let Some(local) = &mut source.local {
                        (local.address, local.port) = (Some("127.0.0.1".into()), Some(free_port().into()));
                    }
                }
            }
            _ => {
                card.kind = Some(User);
                (card.source, card.target, card.script, card.downscript) = (None, None, None, None);
                (card.virtualport, card.backend, card.filterref, card.bandwidth) = (None, None, None, None);
                (card.vlan, card.port, card.guest) = (None, None, None);
                card.ip.clear();
                card.route.clear();
                if let Some(driver) = &mut card.driver {
                    // Only a tap has queues, and the kernel serves only taps.
                    (driver.name, driver.queues) = (None, None);
                }
            }
        }
    }

    fn display(&self, display: &mut Graphics) {
        if matches!(display.kind, Some(GraphicsKind::Sdl | GraphicsKind::Spice | GraphicsKind::Vnc)) {
            display.kind = display.kind.map(|it| if it == GraphicsKind::Sdl { GraphicsKind::Vnc } else { it });
            (display.port, display.tls_port, display.autoport, display.listen) = (None, None, None, None);
            (display.websocket, display.display, display.xauth, display.fullscreen) = (None, None, None, None);
            (display.gl, display.passwd) = (None, None);
            let mut listen = Listen::default();
            listen.kind = Some(ListenType::Socket);
            listen.socket = Some(self.own("display"));
            display.socket = None;
            display.listens = vec![listen];
        }
    }

    fn characters(&self, config: &mut DomainConfig) {
        let devices = &mut config.devices;
        let serials = devices.serials.iter_mut().map(|it| (&mut it.kind, &mut it.backend));
        let parallels = devices.parallels.iter_mut().map(|it| (&mut it.kind, &mut it.backend));
        let consoles = devices.consoles.iter_mut().map(|it| (&mut it.kind, &mut it.backend));
        let channels = devices.channels.iter_mut().map(|it| (&mut it.kind, &mut it.backend));
        let redirected = devices.redirdevs.iter_mut().map(|it| (&mut it.kind, &mut it.backend));
        let cards = devices.smartcards.iter_mut().map(|it| (&mut it.kind, &mut it.backend));
        let random = devices.rngs.iter_mut().filter_map(|it| it.backend.as_mut());
        let random = random.map(|it| {
            if it.path.is_some() {
                it.path = Some("/dev/urandom".into());
            }
            (&mut it.kind, &mut it.source)
        });
        for (kind, about) in
            serials.chain(parallels).chain(consoles).chain(channels).chain(redirected).chain(cards).chain(random)
        {
            self.character(*kind, about);
        }
    }

    fn character(&self, kind: Option<CharBackend>, about: &mut CharSource) {
        if let Some(log) = &mut about.log {
            log.file = self.own("log");
        }
        for end in &mut about.source {
            let calls = !matches!(end.mode, Some(CharMode::Bind | CharMode::Server));
            match kind {
                Some(CharBackend::Unix) if end.path.is_some() => {
                    let path = self.own("socket");
                    if calls {
                        let listener = UnixListener::bind(&path).expect("a socket");
                        open_to_all(&path, 0o666);
                        self.peers.borrow_mut().push(Peer::Unix(listener));
                    }
                    end.path = Some(path);
                }
                Some(CharBackend::File) => end.path = Some(self.own("written")),
                Some(CharBackend::Tcp) => {
                    end.host = Some("127.0.0.1".into());
                    end.service = Some(if calls { self.listening() } else { free_port() }.to_string());
                }
                Some(CharBackend::Udp) => {
                    end.host = Some("127.0.0.1".into());
                    end.service = Some(if calls { self.receiving() } else { free_port() }.to_string());
                }
                _ => {}
            }
        }
    }

    fn listening(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        self.peers.borrow_mut().push(Peer::Tcp(listener));
        port
    }

    fn receiving(&self) -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        self.peers.borrow_mut().push(Peer::Udp(socket));
        port
    }
}

/// Lets the user in whom QEMU runs as.
fn open_to_all(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("rights");
}

/// A port that nobody uses at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A machine that QEMU 7.2 has: the same board, not newer than it knows.
fn here(machine: &str) -> String {
    let version = machine.rsplit_once('-').and_then(|(_, version)| version.split_once('.'));
    let too_new = version.and_then(|(major, _)| major.parse::<u32>().ok()).is_some_and(|major| major > 7);
    match machine.rsplit_once('-') {
        Some((board, _)) if too_new => format!("{board}-7.2"),
        _ => machine.to_owned(),
    }
}
