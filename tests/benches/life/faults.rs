//! What stuck guests cost the others.

use std::time::Instant;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use polyvirt::{Connection, Guest, StatsGroups, StatsQuery};
use polyvirt_tests::processes_with;

use super::{ms, percentile};

/// How many guests are stopped.
const STUCK: usize = 5;
const ROUNDS: usize = 40;

/// Sends a signal to a guest's process.
fn signal(guest: &Guest, signal: Signal) {
    let (pid, _) = processes_with(&["qemu-system", &guest.uuid().to_string()]).into_iter().next().expect("its process");
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("signalled");
}

/// Milliseconds of every call.
#[derive(Default)]
struct Times {
    list: Vec<f64>,
    statistics: Vec<f64>,
    operations: Vec<f64>,
}

async fn round(connection: &Connection, healthy: &[Guest], times: &mut Times) {
    let begin = Instant::now();
    connection.list().await.expect("a list");
    times.list.push(ms(begin.elapsed()));
    let names: Vec<&str> = healthy.iter().map(Guest::name).collect();
    let query = StatsQuery::new(StatsGroups::all());
    let begin = Instant::now();
    connection.statistics(&query, |it| names.contains(&it.name.as_str())).await.expect("statistics");
    times.statistics.push(ms(begin.elapsed()));
    for guest in healthy.iter().take(8) {
        let begin = Instant::now();
        guest.suspend().await.expect("suspended");
        times.operations.push(ms(begin.elapsed()));
    }
}

pub(super) async fn compare(connection: &Connection, guests: &[Guest]) {
    let (stuck, healthy) = guests.split_at(STUCK);
    let (mut with, mut without) = (Times::default(), Times::default());
    for at in 0..ROUNDS {
        round(connection, healthy, &mut without).await;
        stuck.iter().for_each(|guest| signal(guest, Signal::SIGSTOP));
        // Somebody asks the stuck ones all the time.
        let asked: Vec<_> = stuck
            .iter()
            .cloned()
            .map(|guest| {
                tokio::spawn(async move { guest.statistics(&StatsQuery::new(StatsGroups::all())).await.map(drop) })
            })
            .collect();
        round(connection, healthy, &mut with).await;
        stuck.iter().for_each(|guest| signal(guest, Signal::SIGCONT));
        for it in asked {
            drop(it.await);
        }
        if at == 0 {
            // The first goes to waste: whoever was never asked has to be attended first.
            (with, without) = (Times::default(), Times::default());
        }
    }
    println!("faults: {STUCK} of {} guests stopped, {} rounds each", guests.len(), ROUNDS - 1);
    let print = |name: &str, with: &mut [f64], without: &mut [f64]| {
        let of = |all: &mut [f64]| (percentile(all, 0.5), percentile(all, 0.99));
        let ((half, most), (half_before, most_before)) = (of(with), of(without));
        println!(
            "  {name:<11} p50 {half:7.2} ms, without {half_before:7.2} ms, ratio {:.2};   p99 {most:7.2} ms, without {most_before:7.2} ms, ratio {:.2} (target 2)",
            half / half_before,
            most / most_before
        );
    };
    print("list", &mut with.list, &mut without.list);
    print("statistics", &mut with.statistics, &mut without.statistics);
    print("suspend", &mut with.operations, &mut without.operations);
}
