//! Definitions to command lines, beside libvirt; one thread each, in interleaved rounds.
//!
//! - ours: parse, complete, check, export, in this process, for a QEMU that was asked once what it can do.
//! - libvirt: `domainXMLToNative` through python3-libvirt and its daemon, with one connection; its QEMU is known to it as well.
//!
//! The guests are generated, the same ones on every machine; only those that both export are measured. Those with wishes about
//! host nodes are left out: libvirt looks at the host for them, ours would not.

use std::{hint::black_box, path::Path, time::Instant};

use polyvirt_tests::{
    generator,
    offline::Offline,
    peer,
    rival::{Rival, median},
};

/// The clock runs during `domainXMLToNative` alone. Each guest is exported once before the first round, so that libvirt knows its QEMU.
const EXPORT: &str = r#"
def one(text):
    begin = time.perf_counter_ns()
    connection.domainXMLToNative("qemu-argv", text, 0)
    return time.perf_counter_ns() - begin
"#;

/// Odd, so that there is a middle.
const ROUNDS: usize = 11;

/// Guests per round.
const GUESTS: u64 = 40;

/// How often ours does a round while libvirt does one, so that the clock has something to measure.
const TIMES: u32 = 20;

fn main() {
    let recording = match peer::record(Path::new("/usr/bin/qemu-system-x86_64")) {
        Ok(recording) => recording,
        Err(why) => return println!("skipped: {why}"),
    };
    let driver = Offline::open(recording).expect("QEMU's own answers are of use");
    let guests = (0..GUESTS).map(generator::guest).filter(|guest| guest.numatune.is_none()).map(|guest| guest.to_xml());
    let guests: Vec<String> = guests.filter(|text| driver.command_line(text).is_ok()).collect();
    let mut rival = match Rival::start("qemu:///system", EXPORT) {
        Ok(rival) => Some(rival),
        Err(why) => {
            println!("without libvirt: {why}; `cargo xtask bench argv` starts one");
            None
        }
    };
    let guests = match &mut rival {
        Some(rival) => rival.accepted(guests).expect("libvirt's answer"),
        None => guests,
    };
    println!("{} guests, {ROUNDS} interleaved rounds, medians", guests.len());
    let rounds: Vec<(f64, Option<f64>)> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..TIMES {
                black_box(
                    guests.iter().filter_map(|text| driver.command_line(text).ok()).map(|it| it.len()).sum::<usize>(),
                );
            }
            let ours = begin.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES);
            (ours, rival.as_mut().map(|rival| rival.round().expect("libvirt's answer")))
        })
        .collect();
    report(&rounds, guests.len());
}

fn report(rounds: &[(f64, Option<f64>)], guests: usize) {
    let guests = f64::from(u32::try_from(guests.max(1)).expect("tens"));
    let ours = median(rounds.iter().map(|it| it.0)) / guests;
    println!("  parse, complete, check, export  {ours:9.1} µs   {:8.0} a second", 1e6 / ours);
    if rounds.iter().all(|it| it.1.is_some()) {
        let libvirt = median(rounds.iter().filter_map(|it| it.1)) / guests;
        println!("  libvirt, domainXMLToNative      {libvirt:9.1} µs   {:8.0} a second", 1e6 / libvirt);
        println!("  rate                            {:9.1} ×   libvirt's (target 20)", libvirt / ours);
    }
}
