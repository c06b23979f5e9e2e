//! Start and destroy beside bare QEMU: the very argv that was built, run by hand, in interleaved pairs.
//!
//! - ours, start: `define` and `start` of a paused guest, until `start` returns; destroy: until `destroy` returns.
//! - bare, start: from exec until the first `query-status` is answered; quit: from `quit` until the process is reaped.
//!
//! Both get a listening monitor socket handed in, so that neither polls for it. Durable writes are on; the capability cache is
//! warm, the first (cold) start is reported apart. The only change to the argv is the number of that socket's descriptor.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use polyvirt::{Connection, Destroy, GuestRef, Result, Stage, StageObserver};
use polyvirt_tests::{
    bare::{Bare, argv_of},
    connect, no_qemu,
    rival::median,
    root,
};

const PAIRS: usize = 25;

fn guest(name: &str, vcpus: u32, cells: u32, disk: &Path) -> String {
    let memory = 256;
    let numa = if cells > 1 {
        let share = memory / cells;
        let per = vcpus / cells;
        let cell =
            |i: u32| format!("<cell id='{i}' cpus='{}-{}' memory='{share}' unit='MiB'/>", i * per, (i + 1) * per - 1);
        format!("<cpu><numa>{}</numa></cpu>", (0..cells).map(cell).collect::<String>())
    } else {
        String::new()
    };
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu placement='auto'>{vcpus}</vcpu>
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>{numa}
         <devices>
           <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>
           <interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>
           <serial type='pty'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><memballoon model='virtio'/>
         </devices></domain>",
        disk.display()
    )
}

struct Times {
    start: Duration,
    stop: Duration,
    /// What each step took of `start`: the definition, then every stage.
    steps: Vec<(&'static str, Duration)>,
}

/// When each stage was done.
#[derive(Default)]
struct Clock(Mutex<Vec<(&'static str, Instant)>>);

impl StageObserver for Clock {
    fn reached(&self, _: &GuestRef, stage: Stage) -> Result<()> {
        self.0.lock().expect("no stage panics").push((stage.name(), Instant::now()));
        Ok(())
    }
}

async fn ours(connection: &Connection, clock: &Clock, xml: &str) -> (Times, Vec<String>) {
    clock.0.lock().expect("no stage panics").clear();
    let begin = Instant::now();
    let guest = connection.define(xml).await.expect("defined").guest;
    let defined = Instant::now();
    guest.start(true).await.expect("started");
    let start = begin.elapsed();
    let reached = clock.0.lock().expect("no stage panics").clone();
    let mut before = begin;
    let steps = [("define", defined)].into_iter().chain(reached);
    let steps = steps.map(|(name, at)| (name, at.duration_since(std::mem::replace(&mut before, at)))).collect();
    let argv = argv_of(&guest);
    let begin = Instant::now();
    guest.destroy(Destroy::default()).await.expect("destroyed");
    (Times { start, stop: begin.elapsed(), steps }, argv)
}

fn bare(argv: &[String], dir: &Path) -> Times {
    let begin = Instant::now();
    let qemu = Bare::start(argv, &dir.join("bare.sock"));
    let start = begin.elapsed();
    let begin = Instant::now();
    qemu.quit();
    Times { start, stop: begin.elapsed(), steps: Vec::new() }
}

async fn compare(name: &str, vcpus: u32, cells: u32) {
    let dir = root();
    let disk = dir.path().join("disk.img");
    std::fs::File::create(&disk).and_then(|f| f.set_len(1 << 24)).expect("an image");
    std::fs::set_permissions(&disk, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("rights");
    let xml = guest(name, vcpus, cells, &disk);
    let clock = Arc::new(Clock::default());
    let connection = connect("qemu", dir.path(), |options| options.observer = Some(clock.clone())).await;
    let (cold, argv) = ours(&connection, &clock, &xml).await;
    bare(&argv, dir.path());
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let (we, argv) = ours(&connection, &clock, &xml).await;
        let path = dir.path().to_path_buf();
        let they = tokio::task::spawn_blocking(move || bare(&argv, &path)).await.expect("joined");
        pairs.push((we, they));
    }
    let of = |f: &dyn Fn(&(Times, Times)) -> Duration| median(pairs.iter().map(|p| f(p).as_secs_f64() * 1e3));
    let (start, bare_start) = (of(&|p| p.0.start), of(&|p| p.1.start));
    let (stop, bare_stop) = (of(&|p| p.0.stop), of(&|p| p.1.stop));
    println!("{name}: {PAIRS} interleaved pairs, medians");
    println!(
        "  define and start  {start:7.1} ms   bare QEMU {bare_start:7.1} ms   ratio {:.2} (target 1.25)",
        start / bare_start
    );
    println!(
        "  destroy           {stop:7.1} ms   bare quit {bare_stop:7.1} ms   difference {:+.1} ms (target +50)",
        stop - bare_stop
    );
    let (we, _) = &pairs[0];
    let steps =
        (0..we.steps.len()).map(|at| (we.steps[at].0, of(&|p| p.0.steps.get(at).map_or(Duration::ZERO, |it| it.1))));
    println!(
        "  steps, ms         {}",
        steps.map(|(name, ms)| format!("{name} {ms:.2}")).collect::<Vec<_>>().join(", ")
    );
    println!("  first start, capability cache cold {:.1} ms", cold.start.as_secs_f64() * 1e3);
}

fn main() {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        compare("one-vcpu", 1, 1).await;
        compare("eight-vcpus-in-four-cells", 8, 4).await;
    });
}
