//! Many starts at once, beside as many bare QEMUs.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use polyvirt::{Destroy, Guest};
use polyvirt_tests::{
    bare::{Bare, argv_of},
    connect,
    rival::median,
};

use super::{definition, image, ms};

const STARTS: usize = 50;
const CLIENTS: usize = 8;
const ROUNDS: usize = 5;

/// The places of one client's guests.
fn share(client: usize) -> impl Iterator<Item = usize> {
    (0..STARTS).filter(move |at| at % CLIENTS == client)
}

async fn ours(dir: &Path) -> (Duration, Vec<Guest>) {
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(connect("qemu", dir, |_| {}).await);
    }
    let begin = Instant::now();
    let clients: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(client, connection)| {
            let dir = dir.to_owned();
            tokio::spawn(async move {
                let mut guests = Vec::new();
                for at in share(client) {
                    let xml = definition(&format!("start{at}"), &dir.join(format!("start{at}.img")));
                    let guest = connection.define(&xml).await.unwrap_or_else(|error| panic!("{error}")).guest;
                    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
                    guests.push(guest);
                }
                guests
            })
        })
        .collect();
    let mut guests = Vec::new();
    for client in clients {
        guests.extend(client.await.expect("a client"));
    }
    (begin.elapsed(), guests)
}

fn bare(dir: &Path, argv: &[Vec<String>]) -> Duration {
    let begin = Instant::now();
    let started: Vec<Bare> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let start = |at: usize| Bare::start(&argv[at], &dir.join(format!("b{at}.sock")));
                    share(client).map(start).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|it| it.join().expect("a client")).collect()
    });
    let took = begin.elapsed();
    started.into_iter().for_each(Bare::quit);
    took
}

pub(super) async fn compare(dir: &Path) {
    (0..STARTS).for_each(|at| image(&dir.join(format!("start{at}.img"))));
    let (mut we, mut they) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (took, guests) = ours(dir).await;
        we.push(ms(took));
        let argv: Vec<Vec<String>> = guests.iter().map(argv_of).collect();
        for guest in guests {
            guest.destroy(Destroy::default()).await.expect("destroyed");
            guest.undefine().await.expect("undefined");
        }
        let path = dir.to_owned();
        let took = tokio::task::spawn_blocking(move || bare(&path, &argv)).await.expect("joined");
        they.push(ms(took));
    }
    let (we, they) = (median(we), median(they));
    println!("starts: {STARTS} from {CLIENTS} clients, {ROUNDS} interleaved rounds, medians");
    println!("  define and start {we:8.1} ms   bare QEMUs {they:8.1} ms   ratio {:.2} (aim 1.3)", we / they);
}
