//! Start, use, end, again and again in one process: whatever grows is told, and is a failure.
//!
//! `cycles COUNT` runs so many cycles on real QEMU. What is held is counted after the first tenth, when caches are filled, and at
//! the end: descriptors, threads, cgroups, promises, files below the root, labels on the disk, QEMUs. They have to be the same.
//! Memory is looked at over the second half, and may grow by a twentieth.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use polyvirt::{Affect, Connection, Destroy, Guest};
use polyvirt_tests::{connect, groups_of, no_qemu, processes_with, root};

const NAME: &str = "cycles";

/// What is held at one moment.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    cgroups: Vec<PathBuf>,
    promises: usize,
    files: BTreeSet<PathBuf>,
    owner: (u32, u32),
    processes: usize,
}

fn entries(path: &str) -> usize {
    std::fs::read_dir(path).map(Iterator::count).unwrap_or_default()
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            _ => drop(found.insert(entry.path())),
        }
    }
}

/// KiB of this process's memory that are its own.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

fn held(connection: &Connection, root: &Path, disk: &Path) -> Result<Held, String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut below = BTreeSet::new();
    files(root, &mut below);
    let ledger = connection.ledger().map_err(|error| error.to_string())?;
    let label = std::fs::metadata(disk).map_err(|error| error.to_string())?;
    Ok(Held {
        descriptors: entries("/proc/self/fd"),
        threads: entries("/proc/self/task"),
        cgroups: groups_of(NAME),
        promises: ledger.snapshot().map_err(|error| error.to_string())?.leases.len(),
        files: below,
        owner: (label.uid(), label.gid()),
        processes: processes_with(&["qemu-system", &root.display().to_string()]).len(),
    })
}

async fn cycle(guest: &Guest, extra: &Path, at: usize) -> polyvirt::Result<()> {
    guest.start(true).await?;
    guest.resume().await?;
    let disk = format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vdb' bus='virtio'/></disk>",
        extra.display()
    );
    guest.attach_device(&disk, Affect::Live).await?;
    guest.vcpus().await?;
    guest.suspend().await?;
    // Some are released first, so that another moment finds them again.
    if at.is_multiple_of(3) {
        guest.release().await?;
    }
    guest.destroy(Destroy::default()).await
}

async fn run(count: usize) -> Result<bool, String> {
    let root = root();
    let image = |name: &str| {
        let path = root.path().join(name);
        std::fs::File::create(&path).and_then(|file| file.set_len(1 << 20)).map(|()| path).map_err(|e| e.to_string())
    };
    let (disk, extra) = (image("disk.img")?, image("extra.img")?);
    let connection = connect("qemu", root.path(), |_| {}).await;
    let xml = format!(
        "<domain type='qemu'><name>{NAME}</name><memory unit='MiB'>32</memory><vcpu placement='auto'>1</vcpu>
         <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
         <cputune><shares>512</shares></cputune><numatune><memory mode='strict' placement='auto'/></numatune>
         <devices><disk type='file'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>
         <interface type='user'><model type='virtio'/></interface><serial type='pty'/></devices></domain>",
        disk.display()
    );
    let guest = connection.define(&xml).await.map_err(|error| error.to_string())?.guest;
    let warm = (count / 10).max(1);
    let (mut before, mut half) = (None, 0);
    let began = Instant::now();
    for at in 0..count {
        cycle(&guest, &extra, at).await.map_err(|error| format!("cycle {at}: {error}"))?;
        if at + 1 == warm {
            before = Some(held(&connection, root.path(), &disk)?);
        }
        if at + 1 == count.div_ceil(2) {
            half = memory();
        }
        if (at + 1).is_multiple_of(20) {
            println!("{} of {count} cycles, {:.0} s, {} KiB", at + 1, began.elapsed().as_secs_f64(), memory());
        }
    }
    let (after, end) = (held(&connection, root.path(), &disk)?, memory());
    let before = before.ok_or("no cycle was run")?;
    println!(
        "held: {} descriptors, {} threads, {} cgroups, {} promises, {} files, {} processes; memory {half} KiB after half, {end} KiB at the end",
        after.descriptors,
        after.threads,
        after.cgroups.len(),
        after.promises,
        after.files.len(),
        after.processes
    );
    let same = before == after;
    if !same {
        let new: Vec<_> = after.files.difference(&before.files).collect();
        println!(
            "grew: before {} descriptors, {} threads, {} cgroups, {} promises, {} processes; new files {new:?}",
            before.descriptors,
            before.threads,
            before.cgroups.len(),
            before.promises,
            before.processes
        );
    }
    let small = end <= half + half / 20;
    if !small {
        println!("grew: memory, by {} KiB over the second half", end - half);
    }
    Ok(same && small)
}

fn main() -> ExitCode {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return ExitCode::SUCCESS;
    }
    // As few threads as there can be, so that none is there that comes and goes by chance.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(|error| error.to_string()).and_then(|it| it.block_on(run(count))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
