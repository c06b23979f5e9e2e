//! Checks real QEMU guests on real NUMA nodes: is every page and every thread where the plan said?
//!
//! `lab SUITE` runs as root of a throw-away machine with several nodes, because it fills nodes with memory. Each check writes
//! `ok NAME` or `FAILED NAME: why`; the exit status is 1 if any failed. What the kernel did is read from procfs and cgroupfs
//! here, not asked of the driver.
//!
//! Every check ends with its guest destroyed, and with no process, promise, cgroup or file left of it.

mod auto;
mod bench;
mod kernel;
mod policies;
mod threads;

use std::{future::Future, path::Path, pin::Pin};

use bench::{Bench, Outcome};

type Run = for<'a> fn(&'a Bench) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A check and its name.
struct Check {
    name: &'static str,
    run: Run,
}

macro_rules! checks {
    ($($path:path),+ $(,)?) => { &[$(Check { name: stringify!($path), run: |bench| Box::pin($path(bench)) }),+] };
}

/// For four nodes.
const NODES: &[Check] = checks![
    policies::memnode_alone,
    policies::memnode_among_others,
    policies::strict,
    policies::preferred,
    policies::interleave,
    policies::restrictive_moves_pages,
    auto::beside_a_full_node,
    auto::two_at_once,
    threads::pins,
    threads::an_emulator_alone,
    threads::in_their_cgroups,
];

/// For nodes of which the first has no memory.
const MEMLESS: &[Check] = checks![auto::beside_a_node_without_memory, threads::in_their_cgroups];

/// For each layout of cgroups.
const CGROUPS: &[Check] =
    checks![threads::in_their_cgroups, threads::pins, threads::an_emulator_alone, policies::restrictive_moves_pages];

#[tokio::main]
async fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let checks = match words[..] {
        ["start", root, name] => return auto::start_one(Path::new(root), name).await,
        ["nodes"] => NODES,
        ["memless"] => MEMLESS,
        ["cgroups"] => CGROUPS,
        _ => fail("lab nodes | memless | cgroups"),
    };
    // numa-lab sets it. Elsewhere a full node could end programs that somebody needs.
    if std::env::var_os("NUMA_LAB").is_none() {
        fail("this fills NUMA nodes with memory: run it inside numa-lab");
    }
    let bench = Bench::new().await;
    let mut failed = false;
    for check in checks {
        let started = std::time::Instant::now();
        let outcome = match (check.run)(&bench).await {
            Ok(()) => bench.nothing_left().await,
            Err(why) => {
                bench.end_all().await;
                Err(why)
            }
        };
        match outcome {
            Ok(()) => println!("ok {}", check.name),
            Err(why) => {
                failed = true;
                println!("FAILED {}: {}", check.name, why.replace('\n', "; "));
            }
        }
        println!("{} took {:.1} s", check.name, started.elapsed().as_secs_f64());
    }
    drop(bench);
    std::process::exit(i32::from(failed));
}

fn fail(text: &str) -> ! {
    println!("{text}");
    std::process::exit(2);
}
