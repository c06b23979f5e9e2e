//! The main job, seen working: a guest with four NUMA cells and `<vcpu placement='auto'>`, from its definition to pages and
//! threads that sit where the plan said.
//!
//! `demo --kernel FILE --initramfs FILE` boots it with QEMU; without them it runs on the mock driver: real planning, an imaginary
//! guest. Everything is kept below a temporary directory and gone at the end. `cargo xtask demo` makes the guest and runs this.

mod proc;
mod show;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use polyvirt::{ByteStream, Connection, Destroy, EventKind, Guest, OpenOptions, Shutdown};
use tokio::io::{AsyncBufReadExt as _, BufReader};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Booting takes 4 s under emulation on an idle machine, and minutes where the machine is itself emulated.
const BOOT: Duration = Duration::from_secs(600);
/// From the power button until nothing runs any more.
const OFF: Duration = Duration::from_secs(60);

/// What the guest boots.
struct Image {
    kernel: PathBuf,
    initramfs: PathBuf,
}

fn main() -> ExitCode {
    let done = image().and_then(|image| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(demo(image.as_ref()))
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("\nnot everything was where the plan said: see the lines marked WRONG");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nthe demo failed: {error}");
            if let Some(remedy) = error.downcast_ref::<polyvirt::Error>().and_then(polyvirt::Error::remedy) {
                eprintln!("  {remedy}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What the command line names; `None`: the mock driver.
fn image() -> Result<Option<Image>> {
    let mut arguments = std::env::args_os().skip(1);
    let (mut kernel, mut initramfs) = (None, None);
    while let Some(option) = arguments.next() {
        let value = arguments.next().map(PathBuf::from);
        match option.to_str() {
            Some("--kernel") => kernel = value,
            Some("--initramfs") => initramfs = value,
            _ => return Err(format!("{}: usage: demo [--kernel FILE --initramfs FILE]", option.display()).into()),
        }
    }
    match (kernel, initramfs) {
        (Some(kernel), Some(initramfs)) => Ok(Some(Image { kernel, initramfs })),
        (None, None) => Ok(None),
        _ => Err("--kernel and --initramfs go together".into()),
    }
}

/// Everything, in a directory of its own. True when the guest was where the plan said.
async fn demo(image: Option<&Image>) -> Result<bool> {
    let root = root()?;
    let driver = if image.is_some() { "qemu" } else { "mock" };
    let uri = format!("{driver}:///embed?root={}", root.path().display());
    let mut options = OpenOptions::new(polyvirt::registry()?);
    if image.is_some() {
        // The kernel lies where this was cloned to, which others may not be allowed to pass: whoever reads it runs the guest.
        options.settings.set("user", "root");
    }
    let connection = Connection::open(&uri, options).await?;
    show::host(&connection)?;
    let guest = connection.define(&definition(&connection, image).await?).await?.guest;
    // From here on something may run: whatever happens, it is ended.
    let lived = tokio::select! {
        lived = live(&connection, &guest, image.is_some()) => lived,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    let gone = end(&connection, &guest).await;
    let good = lived?;
    gone?;
    drop(connection);
    root.close()?;
    show::step("left", "nothing: no process, no promise, no file");
    Ok(good)
}

/// A directory that the hypervisor's user can pass through, should it run as another one.
fn root() -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::Builder::new().prefix("polyvirt-demo-").tempdir()?;
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(root)
}

/// Four cells, placed automatically; memory is touched at the start, so that there is something to look at.
async fn definition(connection: &Connection, image: Option<&Image>) -> Result<String> {
    let support = connection.guest_support().await?;
    let best = support.iter().find(|s| s.os_type == "hvm" && s.arch == std::env::consts::ARCH).or(support.first());
    let best = best.ok_or("this host can run no guests")?;
    let kind = best.domain_types.first().ok_or("this host can run no guests of its own kind")?;
    best.notes.iter().for_each(|note| show::step("note", note));
    let absolute = |path: &Path| std::path::absolute(path).map(|p| p.display().to_string());
    let boot = match image {
        Some(image) => format!(
            "<kernel>{}</kernel><initrd>{}</initrd><cmdline>console=ttyS0 quiet</cmdline>",
            absolute(&image.kernel)?,
            absolute(&image.initramfs)?
        ),
        None => String::new(),
    };
    let distances = |cell: u32| -> String {
        // A ring: neighbours are nearer than the cell across.
        let distance = |other: u32| [10, 16, 24, 16][((cell + 4 - other) % 4) as usize];
        (0..4).map(|other| format!("<sibling id='{other}' value='{}'/>", distance(other))).collect()
    };
    let cells: String = (0..4)
        .map(|cell| {
            format!(
                "<cell id='{cell}' cpus='{cell}' memory='128' unit='MiB'><distances>{}</distances></cell>",
                distances(cell)
            )
        })
        .collect();
    Ok(format!(
        "<domain type='{kind}'>
           <name>polyvirt-demo</name>
           <memory unit='MiB'>512</memory>
           <memoryBacking><allocation mode='immediate'/></memoryBacking>
           <vcpu placement='auto'>4</vcpu>
           <os><type arch='{}'>hvm</type>{boot}</os>
           <features><acpi/></features>
           <cpu><numa>{cells}</numa></cpu>
           <on_reboot>destroy</on_reboot>
           <devices><serial type='pty'/><console type='pty'/></devices>
         </domain>",
        best.arch
    ))
}

/// The guest's life, from start to power-off.
async fn live(connection: &Connection, guest: &Guest, real: bool) -> Result<bool> {
    let mut events = connection.events();
    let began = Instant::now();
    guest.start(true).await?;
    show::step(
        "started",
        &format!("{} in {:.2} s, its CPUs still stopped", guest.name(), began.elapsed().as_secs_f64()),
    );
    let plan = guest.view().await?.plan.ok_or("a placed guest has a plan")?;
    show::plan(&plan);
    // Opened before anything is said: nobody keeps what a console says while nobody listens.
    let console = guest.console(None).await?;
    guest.resume().await?;
    let threads: Vec<i32> = guest.vcpus().await?.iter().filter_map(|vcpu| vcpu.thread).collect();
    let good = if real {
        tokio::time::timeout(BOOT, listen(console))
            .await
            .map_err(|_| format!("the guest said nothing for {} s", BOOT.as_secs()))??;
        proc::check(guest, &plan).await?
    } else {
        drop(console);
        show::step("guest", "is imaginary: no topology of its own, nothing in /proc");
        true
    };
    let began = Instant::now();
    guest.shutdown(Shutdown::Default).await?;
    let stopped = async {
        loop {
            let event = events.recv().await?;
            if let EventKind::Stopped { reason } = event.kind {
                return Result::<_>::Ok(reason);
            }
        }
    };
    let reason = tokio::time::timeout(OFF, stopped).await.map_err(|_| "the guest ignored its power button")??;
    if let Some(thread) = threads.iter().find(|thread| Path::new(&format!("/proc/{thread}")).exists()) {
        return Err(format!("the guest stopped, but its thread {thread} is still there").into());
    }
    show::step(
        "shut down",
        &format!("by its power button in {:.2} s ({})", began.elapsed().as_secs_f64(), reason.name()),
    );
    Ok(good)
}

/// Shows what the guest says of its own topology.
async fn listen(console: ByteStream) -> Result<()> {
    show::step("guest", "says on its serial console:");
    let mut lines = BufReader::new(console).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        let line = String::from_utf8_lossy(&line);
        // Control sequences of the firmware may stand before it.
        let Some(at) = line.find("polyvirt-guest ") else { continue };
        let said = line[at + "polyvirt-guest ".len()..].trim_end();
        if said == "end" {
            return Ok(());
        }
        show::detail(said);
    }
    Err("the guest's console ended before the guest had said all".into())
}

/// Ends whatever still runs and removes the definition.
async fn end(connection: &Connection, guest: &Guest) -> Result<()> {
    if guest.state().await?.is_active() {
        guest.destroy(Destroy::default()).await?;
    }
    guest.undefine().await?;
    if let Some(left) = connection.list().await?.first() {
        return Err(format!("the guest '{}' is left", left.name).into());
    }
    let ledger = connection.ledger().map_err(|why| format!("the ledger cannot be read: {why}"))?;
    let promised = ledger
        .snapshot()?
        .leases
        .into_iter()
        .any(|lease| lease.guest == guest.name() || lease.guest == guest.uuid().to_string());
    if promised { Err("a promise of memory is left in the ledger".into()) } else { Ok(()) }
}
