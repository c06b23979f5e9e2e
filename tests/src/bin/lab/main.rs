//! Checks real QEMU guests on real NUMA nodes: is every page and every thread where the plan said?
//!
//! `lab SUITE` runs as root of a throw-away machine with several nodes, because it fills nodes with memory. Each check writes
//! `ok NAME` or `FAILED NAME: why`; the exit status is 1 if any failed. What the kernel did is read from procfs and cgroupfs
//! here, not asked of the driver.
//!
//! Every check ends with its guest destroyed, and with no process, promise, cgroup or file left of it.

mod auto;
mod bench;
mod burst;
mod kernel;
mod limits;
mod policies;
mod rebalance;
mod threads;
mod wishes;

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
    policies::preferred_many,
    policies::interleave,
    policies::restrictive_moves_pages,
    auto::beside_a_full_node,
    auto::two_at_once,
    wishes::without_weights_evenly,
    wishes::a_fixed_cell_beside_automatic_ones,
    wishes::cpus_of_its_own,
    threads::pins,
    threads::an_emulator_alone,
    threads::in_their_cgroups,
    limits::from_the_start,
    limits::while_it_runs,
];

/// For nodes of which the first has no memory.
const MEMLESS: &[Check] = checks![auto::beside_a_node_without_memory, threads::in_their_cgroups];

/// For nodes with pools of 2 MiB pages.
const HUGE: &[Check] = checks![wishes::pages_of_2_mib, wishes::more_pages_than_there_are];

/// For nodes with pools of 1 GiB pages.
const GIANT: &[Check] = checks![wishes::pages_of_1_gib];

/// For nodes of which some have no CPUs.
const CPULESS: &[Check] = checks![wishes::memory_without_cpus];

/// For nodes of which the second has a PCI device.
const DEVICE: &[Check] = checks![wishes::a_device_draws_its_guest];

/// For a kernel with weights.
const WEIGHTED: &[Check] = checks![wishes::interleaved_by_weight];

/// For nodes with room for sixteen guests.
const BURST: &[Check] = checks![burst::sixteen_at_once, burst::half_of_sixteen_killed];

/// For two nodes.
const REBALANCE: &[Check] = checks![
    rebalance::two_change_places,
    rebalance::the_command_moves_one,
    rebalance::vcpus_follow_their_memory,
    rebalance::nobody_goes_where_it_is_full
];

/// For each layout of cgroups.
const CGROUPS: &[Check] = checks![
    threads::in_their_cgroups,
    threads::pins,
    threads::an_emulator_alone,
    policies::restrictive_moves_pages,
    limits::from_the_start,
    limits::while_it_runs,
];

#[tokio::main]
async fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let checks = match words[..] {
        ["start", root, name] => return auto::start_one(Path::new(root), name).await,
        ["nodes"] => NODES,
        ["memless"] => MEMLESS,
        ["cgroups"] => CGROUPS,
        ["huge"] => HUGE,
        ["giant"] => GIANT,
        ["cpuless"] => CPULESS,
        ["device"] => DEVICE,
        ["weighted"] => WEIGHTED,
        ["burst"] => BURST,
        ["rebalance"] => REBALANCE,
        _ => fail("lab nodes | memless | cgroups | huge | giant | cpuless | device | weighted | burst | rebalance"),
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
