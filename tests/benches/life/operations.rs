//! Operations of ours beside the round trips that they need.

use std::{path::Path, time::Instant};

use polyvirt::{Affect, Connection, Guest, StatsGroups, StatsQuery};
use polyvirt_tests::{
    bare::{Bare, argv_of},
    rival::median,
};

use super::{image, ms};

const ROUNDS: usize = 7;

/// Times of a round, for all guests together.
struct Row {
    name: &'static str,
    ours: Vec<f64>,
    bare: Vec<f64>,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Self { name, ours: Vec::new(), bare: Vec::new() }
    }

    fn print(&self, guests: usize, target: f64) {
        let (ours, bare) = (median(self.ours.iter().copied()), median(self.bare.iter().copied()));
        #[expect(clippy::cast_precision_loss, reason = "few guests")]
        let each = guests as f64;
        println!(
            "  {:<11} {:7.2} ms a guest   round trips {:7.2} ms   ratio {:.2} (aim {target})",
            self.name,
            ours / each,
            bare / each,
            ours / bare
        );
    }
}

async fn timed<T>(guests: &[Guest], one: impl AsyncFn(usize, &Guest) -> T) -> f64 {
    let begin = Instant::now();
    for (at, guest) in guests.iter().enumerate() {
        one(at, guest).await;
    }
    ms(begin.elapsed())
}

fn timed_bare(bares: &mut [Bare], one: impl Fn(usize, &mut Bare)) -> f64 {
    let begin = Instant::now();
    bares.iter_mut().enumerate().for_each(|(at, bare)| one(at, bare));
    ms(begin.elapsed())
}

fn disk(file: &str, target: &str) -> String {
    format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{file}'/><target dev='{target}' bus='virtio'/></disk>"
    )
}

/// A bare QEMU with the argv of a guest that runs, and a disk of its own: QEMU locks what it writes.
fn bare_beside(guest: &Guest, at: usize, dir: &Path) -> Bare {
    let own = |name: &str| dir.join(name).display().to_string();
    let disk = format!("bare{at}.img");
    image(&dir.join(&disk));
    let argv = argv_of(guest);
    let argv: Vec<String> = argv.iter().map(|word| word.replace(&own(&format!("{at}.img")), &own(&disk))).collect();
    Bare::start(&argv, &dir.join(format!("bare{at}.sock")))
}

/// What statistics of one guest ask for.
fn numbers(bare: &mut Bare) {
    for command in ["query-cpus-fast", "query-balloon", "query-blockstats", "query-block", "query-iothreads"] {
        bare.ask(command, "{}");
    }
    bare.ask("qom-get", r#"{"path":"/machine/peripheral/balloon0","property":"guest-stats"}"#);
    bare.ask("query-dirty-rate", "{}");
}

pub(super) async fn compare(connection: &Connection, guests: &[Guest], dir: &Path) {
    let mut bares: Vec<Bare> = guests.iter().enumerate().map(|(at, guest)| bare_beside(guest, at, dir)).collect();
    let mut rows = ["suspend", "resume", "attach", "statistics"].map(Row::new);
    let query = StatsQuery::new(StatsGroups::all());
    for round in 0..ROUNDS {
        let [suspend, resume, attach, statistics] = &mut rows;
        // Paused again at once: a guest that runs would take time from whoever is measured.
        for (at, guest) in guests.iter().enumerate() {
            let one = std::slice::from_ref(guest);
            let bare = std::slice::from_mut(&mut bares[at]);
            let add = |ours: &mut Vec<f64>, time: f64| match ours.len() {
                len if len == round => ours.push(time),
                _ => ours[round] += time,
            };
            add(&mut resume.ours, timed(one, async |_, it| it.resume().await.expect("resumed")).await);
            add(&mut suspend.ours, timed(one, async |_, it| it.suspend().await.expect("suspended")).await);
            add(&mut resume.bare, timed_bare(bare, |_, it| drop(it.ask("cont", "{}"))));
            add(&mut suspend.bare, timed_bare(bare, |_, it| drop(it.ask("stop", "{}"))));
        }
        let file = |at: usize, whose: &str| dir.join(format!("{whose}{at}-{round}.img")).display().to_string();
        for whose in ["our", "bare"] {
            (0..guests.len()).for_each(|at| image(Path::new(&file(at, whose))));
        }
        let letter = char::from(b'b' + u8::try_from(round).expect("few rounds"));
        let ours = timed(guests, async |at, it| {
            let plugged = it.attach_device(&disk(&file(at, "our"), &format!("vd{letter}")), Affect::Live).await;
            plugged.unwrap_or_else(|error| panic!("{error}"))
        });
        attach.ours.push(ours.await);
        attach.bare.push(timed_bare(&mut bares, |at, it| {
            let (node, format) = (format!("node{round}"), format!("format{round}"));
            it.ask(
                "blockdev-add",
                &format!(r#"{{"driver":"file","filename":"{}","node-name":"{node}"}}"#, file(at, "bare")),
            );
            it.ask("blockdev-add", &format!(r#"{{"driver":"raw","file":"{node}","node-name":"{format}"}}"#));
            it.ask("device_add", &format!(r#"{{"driver":"virtio-blk-pci","drive":"{format}","id":"disk{round}"}}"#));
        }));
        let begin = Instant::now();
        let told = connection.statistics(&query, |it| it.id.is_some()).await.expect("statistics");
        statistics.ours.push(ms(begin.elapsed()));
        assert!(told.iter().all(|it| it.numbers.missing.is_empty()), "every number is told");
        statistics.bare.push(timed_bare(&mut bares, |_, it| numbers(it)));
    }
    println!("operations: {} paused guests, {ROUNDS} interleaved rounds, medians", guests.len());
    rows.iter().for_each(|row| row.print(guests.len(), 1.5));
    bares.into_iter().for_each(Bare::quit);
}
