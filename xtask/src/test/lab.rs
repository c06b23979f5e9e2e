//! Placement on real NUMA nodes, inside `numa-lab`: a throw-away Linux with several nodes.
//!
//! Each run is a boot of the lab with one shape and one suite of `tests/src/bin/lab`, whose checks count as tests.
//! Then the QEMU driver's own tests of places run there, which want more nodes than most machines have.
//!
//! numa-lab lies beside the checkout (`POLYVIRT_LAB` names another place).

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    command::Outcome,
    test::{
        Context, LONG, libtest, session,
        tally::{Failure, Tally},
    },
};

/// One run, boot included. The first may have to build the lab's cache.
const LIMIT: Duration = Duration::from_secs(900);
/// numa-lab's own limit for a run on a slow machine; the cache is not counted.
const SECONDS: &str = "600";
/// numa-lab's own exit status for packages it misses.
const PACKAGES_MISSING: i32 = 127;
/// numa-lab's own exit status where its Linux did not come up.
const NO_LAB: i32 = 125;
/// How often a machine is booted before its Linux counts as one that does not come up: under TCG on a busy machine
/// a kernel panics now and then before it runs a program.
const BOOTS: usize = 3;

/// A machine, and what is checked on it.
struct Shape {
    name: &'static str,
    suite: &'static str,
    options: &'static [&'static str],
}

const SHAPES: &[Shape] = &[
    Shape { name: "four nodes", suite: "nodes", options: &["--nodes", "4"] },
    Shape {
        name: "node 0 without memory",
        suite: "memless",
        options: &["--nodes", "2", "--memless", "1", "--memless-first"],
    },
    Shape { name: "memory without CPUs", suite: "cpuless", options: &["--nodes", "2", "--cpuless", "1"] },
    Shape {
        name: "a PCI device at node 1",
        suite: "device",
        options: &[
            "--nodes",
            "2",
            "--qemu-arg",
            "-device",
            "--qemu-arg",
            "pxb-pcie,id=pxb1,bus_nr=64,bus=pcie.0,numa_node=1",
            "--qemu-arg",
            "-device",
            "--qemu-arg",
            "pcie-root-port,id=port1,bus=pxb1,chassis=9,slot=9",
            "--qemu-arg",
            "-device",
            "--qemu-arg",
            "virtio-rng-pci,bus=port1",
        ],
    },
    Shape { name: "2 MiB pages", suite: "huge", options: &["--nodes", "2", "--hugepages", "64"] },
    Shape {
        name: "1 GiB pages",
        suite: "giant",
        options: &["--nodes", "2", "--mem-per-node", "4G", "--hugepages-1g", "1"],
    },
    Shape { name: "weights", suite: "weighted", options: &["--nodes", "4", "--kernel", "trixie"] },
    Shape {
        name: "sixteen starts",
        suite: "burst",
        options: &["--nodes", "2", "--cpus-per-node", "8", "--mem-per-node", "3G"],
    },
    Shape { name: "changing places", suite: "rebalance", options: &["--nodes", "2"] },
    Shape { name: "cgroup v1", suite: "cgroups", options: &["--nodes", "2", "--cgroup", "v1"] },
    Shape { name: "cgroup hybrid", suite: "cgroups", options: &["--nodes", "2", "--cgroup", "hybrid"] },
];

pub(super) fn run(cx: &Context<'_>) -> Result<Tally, String> {
    let lab = match cx.checkout.beside("POLYVIRT_LAB", "shared/lab") {
        Ok(dir) => dir.join("numa-lab"),
        Err(why) => return Ok(cx.cannot("lab", "lab", why)),
    };
    let program = program(cx)?;
    let mut tally = Tally::default();
    for shape in SHAPES {
        match run_shape(cx, &lab, &program, shape)? {
            Ok(checks) => tally.add(checks),
            // What is missing for one shape is missing for all.
            Err(reason) => return Ok(cx.cannot("lab", "lab", reason)),
        }
    }
    let of_places = |test: &PathBuf| test.file_name().is_some_and(|name| name.to_string_lossy().starts_with("guest-"));
    for test in session::driver_tests(cx)?.into_iter().filter(of_places) {
        let shape = &["--nodes", "4", "--cpus-per-node", "1"];
        let (outcome, failed) = boot(cx, &lab, shape, &test, &["--show-output", "place::"])?;
        let name = test.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tally.add(noting_boots(libtest::of_program(&format!("lab, {name}"), outcome), &name, failed));
    }
    Ok(tally)
}

/// Runs a program on a machine of this shape, and says how many boots of it ended before the program began.
fn boot(
    cx: &Context<'_>,
    lab: &Path,
    shape: &[&str],
    program: &Path,
    arguments: &[&str],
) -> Result<(Outcome, usize), String> {
    let mut failed = 0;
    loop {
        let mut command = Command::new(lab);
        command.current_dir(cx.root()).args(["--mem-per-node", "512M", "--timeout", SECONDS]).args(shape);
        command.arg("--share").arg(&cx.checkout.target).arg("--").arg(program).args(arguments);
        let outcome = cx.run(&mut command, LIMIT)?;
        if !did_not_come_up(&outcome) || failed + 1 == BOOTS {
            return Ok((outcome, failed));
        }
        failed += 1;
    }
}

/// Whether the lab's Linux ended before it ran anything. A run of which one line is there was a run, however it ended.
fn did_not_come_up(outcome: &Outcome) -> bool {
    outcome.code == Some(NO_LAB)
        && outcome.output.lines().next().is_some_and(|line| line.starts_with("numa-lab: the guest ended"))
}

/// The program that runs inside the lab, built, and beside it the command that one of its suites runs.
fn program(cx: &Context<'_>) -> Result<PathBuf, String> {
    let mut build = cx.checkout.cargo();
    build.args([
        "build",
        "--package",
        "polyvirt-tests",
        "--bin",
        "lab",
        "--package",
        "polyvirt-cli",
        "--bin",
        "polyvirt",
    ]);
    let outcome = cx.run(&mut build, LONG)?;
    match outcome.failure {
        None => Ok(cx.checkout.target.join("debug").join("lab")),
        Some(why) => Err(format!("the checks for the lab do not build ({why}):\n{}", outcome.output)),
    }
}

/// The checks of one shape, or why there can be none here.
fn run_shape(cx: &Context<'_>, lab: &Path, program: &Path, shape: &Shape) -> Result<Result<Tally, String>, String> {
    let (outcome, failed) = boot(cx, lab, shape.options, program, &[shape.suite])?;
    if outcome.code == Some(PACKAGES_MISSING) && outcome.output.contains("numa-lab: missing") {
        return Ok(Err(outcome.output.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    let mut tally = noting_boots(read(shape.name, &outcome.output), shape.name, failed);
    if let Some(why) = outcome.failure
        && tally.failures.is_empty()
    {
        tally.failures.push(Failure { name: format!("lab, {}: {why}", shape.name), output: String::new() });
    }
    if let Some(first) = tally.failures.first_mut() {
        first.output = outcome.output;
    }
    Ok(Ok(tally))
}

fn noting_boots(tally: Tally, name: &str, failed: usize) -> Tally {
    if failed == 0 {
        tally
    } else {
        tally.note(format!("{name}: {failed} boots of the lab ended before it ran anything"))
    }
}

/// Lines `ok NAME` and `FAILED NAME: why`.
fn read(shape: &str, output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines() {
        if line.starts_with("ok ") {
            tally.passed += 1;
        } else if let Some(failed) = line.strip_prefix("FAILED ") {
            tally.failures.push(Failure { name: format!("lab, {shape}: {failed}"), output: String::new() });
        }
    }
    // A run without checks proves nothing.
    if tally.passed == 0 && tally.failures.is_empty() {
        tally.failures.push(Failure { name: format!("lab, {shape}: no check ran"), output: String::new() });
    }
    let names: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
    tally.note(format!("{shape}: ok {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_counts() {
        let tally = read("two nodes", "ok a\nnoise ok\nFAILED b: no\nok c\n");
        assert_eq!(tally.passed, 2);
        assert_eq!(tally.failures.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["lab, two nodes: b: no"]);
        assert_eq!(tally.notes, ["two nodes: ok a, c"]);
    }

    #[test]
    fn only_a_lab_that_ran_nothing_boots_again() {
        let ended = |code, output: &str| {
            did_not_come_up(&Outcome { output: output.to_owned(), code: Some(code), failure: Some(String::new()) })
        };
        let words = "numa-lab: the guest ended without an exit status; QEMU said:\n";
        assert!(ended(125, words));
        assert!(!ended(125, &format!("FAILED a: no\n{words}")), "a check had begun");
        assert!(!ended(1, words), "the status of the checks");
        assert!(!ended(125, "numa-lab: apt-get update failed\n"), "no boot at all");
    }

    #[test]
    fn a_run_without_checks_has_failed() {
        assert_eq!(read("x", "numa-lab: no root\n").failures.len(), 1);
    }
}
