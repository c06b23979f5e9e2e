//! A host for one test: folders of its own, the driver opened, a guest that answers on its serial port.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use polyvirt_core::{
    ByteStream, CancelSource, Custody, Deadline, Destroy, DeviceRef, Domain, DomainEvents, DomainId, Driver,
    DriverRecord, Error, ErrorKind, Identity, Journal, JournalSink, Launcher, LiveConfig, LiveEffect, OpenContext,
    ReapContext, Result, Roots, Settings, Signal, Stage, StartContext, StartHow, StartRequest, Started, async_trait,
    model::{DomainConfig, ParseOptions, Positions},
    placement::{AdviceSource, HostTopology, KernelSupport, Plan, Promised, plan},
};
use tokio::{io::AsyncReadExt, sync::mpsc};

/// Generous: the machine may be busy. Nothing here asserts times.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// A boot sector: says "hello", then echoes what comes over COM1; "q" powers off (the PM1a control port of QEMU's PCs).
#[rustfmt::skip]
const BOOT_SECTOR: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xfc,       // cli; xor ax, ax; mov ds, ax; cld
    0xbe, 0x31, 0x7c, 0xba, 0xf8, 0x03,       // mov si, text; mov dx, 0x3f8
    0xac, 0x84, 0xc0, 0x74, 0x03,             // next: lodsb; test al, al; jz wait
    0xee, 0xeb, 0xf8,                         // out dx, al; jmp next
    0xba, 0xfd, 0x03, 0xec,                   // wait: mov dx, 0x3fd; in al, dx
    0xa8, 0x01, 0x74, 0xf8,                   // test al, 1; jz wait + 3
    0xba, 0xf8, 0x03, 0xec,                   // mov dx, 0x3f8; in al, dx
    0x3c, b'q', 0x74, 0x03,                   // cmp al, 'q'; je off
    0xee, 0xeb, 0xed,                         // out dx, al; jmp wait
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, // off: mov dx, 0x604; mov ax, 0x2000; out dx, ax
    0xf4, 0xeb, 0xfd,                         // hlt; jmp hlt
    b'h', b'e', b'l', b'l', b'o', b'\n', 0,   // text
];

pub(crate) struct Host {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) roots: Roots,
    pub(crate) driver: Arc<dyn Driver>,
    /// Of the guest; no other test's has it.
    name: String,
}

impl Host {
    /// `None`, with the reason printed, if there is no QEMU here.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(mut settings: Settings) -> Option<Self> {
        // Whoever owns the files of these tests may use them.
        if !settings.values().contains_key("user") {
            settings.set("user", "root");
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|it| it.join("qemu-system-x86_64").is_file()) {
            let required = std::env::var("POLYVIRT_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|it| it == "qemu"), "there is no qemu-system-x86_64 in PATH");
            println!("skipped: there is no qemu-system-x86_64 in PATH");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut roots = Roots::embedded(directory.path(), "qemu", false);
        // One probe for all tests and all runs; it knows its binary.
        roots.cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("qemu-cache");
        let uri = "qemu:///embed".parse().unwrap();
        let uid = nix::unistd::Uid::effective();
        let identity = Identity::new(uid.as_raw(), uid.is_root());
        let cx = OpenContext::new(uri, identity, roots.clone(), settings);
        let driver = (polyvirt_driver_qemu::DESCRIPTOR.open)(cx).await.unwrap();
        let name = format!("guest {}", directory.path().file_name().unwrap().to_string_lossy());
        Some(Self { directory, roots, driver, name })
    }

    pub(crate) fn launcher(&self) -> &dyn Launcher {
        match self.driver.custody() {
            Custody::Ours(launcher) => launcher,
            _ => panic!("QEMU keeps no definitions"),
        }
    }

    /// A disk with the boot sector, 1 MiB.
    pub(crate) fn disk(&self) -> PathBuf {
        let path = self.directory.path().join("disk.raw");
        let mut bytes = vec![0; 1 << 20];
        bytes[..BOOT_SECTOR.len()].copy_from_slice(BOOT_SECTOR);
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A definition with these elements, completed and checked.
    pub(crate) async fn define(&self, more: &str, devices: &str) -> LiveConfig {
        self.define_on("pc", more, devices).await
    }

    pub(crate) async fn define_on(&self, machine: &str, more: &str, devices: &str) -> LiveConfig {
        let text = format!(
            "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>{}</name><uuid>6e1d2a3b-0000-4000-8000-00000000c0de</uuid>\
             <os><type arch='x86_64' machine='{machine}'>hvm</type></os><features><acpi/></features>{more}\
             <devices><disk type='file' device='disk'><source file='{}'/><target dev='vda' bus='virtio'/></disk>\
             <serial type='pty'/>{devices}</devices></domain>",
            self.name,
            self.disk().display()
        );
        let mut config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        polyvirt_core::model::complete(&mut config, polyvirt_core::model::Guest::New, &Positions::default()).unwrap();
        let facts = self.driver.facts(&config).await.unwrap();
        self.driver.complete(&mut config, &facts).unwrap();
        self.driver.check(&config, &facts).unwrap_or_else(|problems| panic!("{problems}"));
        LiveConfig::new(config, DomainId(7))
    }

    pub(crate) async fn plain(&self) -> LiveConfig {
        self.define("<memory unit='MiB'>32</memory>", "").await
    }

    pub(crate) fn plan(&self, live: &LiveConfig) -> Plan {
        let topology = HostTopology::from_sysfs(Path::new("/")).unwrap();
        let mut kernel = KernelSupport::default();
        kernel.cpuset = polyvirt_process::cgroup::Hierarchy::detect().is_ok();
        let request = live.config.placement_request().unwrap().kernel(kernel).advice(AdviceSource::default());
        plan(&topology, &Promised::default(), self.driver.placement().unwrap(), &request).unwrap()
    }

    pub(crate) async fn start(&self, live: &LiveConfig, paused: bool) -> Guest {
        self.try_start(live, None, paused, None).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn try_start(
        &self,
        live: &LiveConfig,
        plan: Option<Plan>,
        paused: bool,
        fault: Option<Fault>,
    ) -> Result<Guest> {
        let source = CancelSource::default();
        let sink = Arc::new(Notes { fault, reached: Mutex::default(), record: Mutex::default(), cancel: source });
        let (events, signals) = DomainEvents::channel();
        let cx = StartContext::new(Journal::new(sink.clone()), events, sink.cancel.token(), Deadline::after(WITHIN));
        let request = StartRequest::new(live.clone(), plan, StartHow::Boot { paused });
        match self.launcher().start(&cx, request).await {
            Ok(Started { domain, effects, .. }) => Ok(Guest { domain, effects, signals, notes: sink }),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn reap_context(&self, live: &LiveConfig) -> ReapContext {
        ReapContext::new(live.guest(), self.roots.clone(), Deadline::after(WITHIN))
    }

    pub(crate) fn reattach_context(&self) -> (StartContext, mpsc::Receiver<Signal>) {
        let sink = Arc::new(Notes {
            fault: None,
            reached: Mutex::default(),
            record: Mutex::default(),
            cancel: CancelSource::default(),
        });
        let (events, signals) = DomainEvents::channel();
        let token = sink.cancel.token();
        (StartContext::new(Journal::new(sink), events, token, Deadline::after(WITHIN)), signals)
    }

    /// Processes that use this host's folders.
    fn processes(&self) -> Vec<u32> {
        let disk = self.directory.path().display().to_string();
        let pids = std::fs::read_dir("/proc").unwrap().filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != std::process::id())
            .filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.contains(&disk)))
            .collect()
    }

    /// No socket, no folder, no cgroup of a guest, and no process with its identity.
    pub(crate) fn assert_nothing_left(&self) {
        let left: Vec<_> =
            std::fs::read_dir(&self.roots.run).into_iter().flatten().map(|it| it.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let others = self.processes();
        assert!(others.is_empty(), "still running: {others:?}");
        if let Ok(hierarchy) = polyvirt_process::cgroup::Hierarchy::detect() {
            // The name follows from the folders, as the driver's own tests show; here the guest's name is unique.
            let name = polyvirt_process::cgroup::GroupName::new(&self.name);
            let groups = hierarchy.groups().unwrap();
            assert!(!groups.iter().any(|it| it.as_str().contains(name.as_str())), "cgroups left: {groups:?}");
        }
    }
}

impl Drop for Host {
    /// A test that failed leaves guests running: that is what they are made for.
    fn drop(&mut self) {
        for pid in self.processes() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)
                .ok();
        }
    }
}

/// Where a start is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Fail(Stage),
    Cancel(Stage),
}

pub(crate) struct Notes {
    fault: Option<Fault>,
    pub(crate) reached: Mutex<Vec<Stage>>,
    pub(crate) record: Mutex<Option<DriverRecord>>,
    cancel: CancelSource,
}

#[async_trait]
impl JournalSink for Notes {
    async fn reached(&self, stage: Stage) -> Result<()> {
        self.reached.lock().unwrap().push(stage);
        match self.fault {
            Some(Fault::Fail(at)) if at == stage => Err(Error::new(ErrorKind::Storage, "the journal is full")),
            Some(Fault::Cancel(at)) if at == stage => {
                self.cancel.cancel();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn record(&self, stage: Stage, record: &DriverRecord) -> Result<()> {
        *self.record.lock().unwrap() = Some(record.clone());
        self.reached(stage).await
    }
}

pub(crate) struct Guest {
    pub(crate) domain: Arc<dyn Domain>,
    pub(crate) effects: Vec<LiveEffect>,
    pub(crate) signals: mpsc::Receiver<Signal>,
    pub(crate) notes: Arc<Notes>,
}

impl Guest {
    pub(crate) fn record(&self) -> DriverRecord {
        self.notes.record.lock().unwrap().clone().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.record().data["process"]["pid"].as_u64().unwrap()).unwrap()
    }

    pub(crate) async fn signal(&mut self) -> Signal {
        tokio::time::timeout(WITHIN, self.signals.recv()).await.expect("no signal came").expect("the sink was dropped")
    }

    pub(crate) async fn console(&self) -> ByteStream {
        self.domain.consoles().unwrap().open(&DeviceRef::new("console", 0)).await.unwrap()
    }

    pub(crate) async fn destroy(&self) {
        self.domain.destroy(Destroy::default()).await.unwrap();
    }
}

/// Reads until `text` has come.
pub(crate) async fn expect(console: &mut ByteStream, text: &str) {
    let mut said = String::new();
    let reading = async {
        while !said.contains(text) {
            let byte = console.read_u8().await.expect("the console ended");
            said.push(char::from(byte));
        }
    };
    assert!(tokio::time::timeout(WITHIN, reading).await.is_ok(), "{said:?} lacks {text:?}");
}
