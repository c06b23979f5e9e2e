//! Generated guests through libvirt and through polyvirt: `peer POLYVIRT FIRST COUNT [FOLDER]`, with a libvirtd that runs. The definitions and
//! both answers stay in the folder, if there is one.

use std::{collections::BTreeMap, io::IsTerminal as _, path::Path, process::ExitCode};

use polyvirt_tests::{
    generator,
    peer::{self, DIFFERENCES, Polyvirt, REFUSALS, Verdict},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (program, first, count, kept) = match arguments.as_slice() {
        [program, first, count] => (program, first, count, None),
        [program, first, count, kept] => (program, first, count, Some(Path::new(kept))),
        _ => {
            eprintln!("usage: peer POLYVIRT FIRST COUNT [FOLDER]");
            return ExitCode::from(2);
        }
    };
    match (first.parse(), count.parse()) {
        (Ok(first), Ok(count)) => match run(Path::new(program), first, count, kept) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("'{first}' and '{count}' are to be whole numbers");
            ExitCode::from(2)
        }
    }
}

/// What was seen of a kind of difference.
#[derive(Default)]
struct Seen {
    times: usize,
    example: String,
}

#[derive(Default)]
struct Report {
    untouched: usize,
    refused: usize,
    explained: BTreeMap<&'static str, usize>,
    guests_explained: usize,
    unexplained: BTreeMap<String, Seen>,
    guests_unexplained: Vec<u64>,
}

fn run(program: &Path, first: u64, count: u64, kept: Option<&Path>) -> Result<bool, String> {
    let temporary = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
    let folder = kept.unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let recording = folder.join("qemu.replies");
    let qemu = Path::new("/usr/bin/qemu-system-x86_64");
    std::fs::write(&recording, peer::record(qemu)?).map_err(|error| error.to_string())?;
    let mut polyvirt = Polyvirt::start(program)?;
    let mut report = Report::default();
    for seed in first..first + count {
        let guest = generator::guest(seed);
        let file = folder.join(format!("{seed}.xml"));
        std::fs::write(&file, guest.to_xml()).map_err(|error| error.to_string())?;
        let (theirs, ours) = (peer::libvirt(&file)?, polyvirt.to_native(&recording, &file)?);
        if kept.is_some() {
            let said = format!("{}\n\n{}\n", theirs.text(), ours.text());
            std::fs::write(folder.join(format!("{seed}.txt")), said).map_err(|error| error.to_string())?;
        }
        report.add(seed, &peer::compare(&guest, &theirs, &ours));
        if std::io::stderr().is_terminal() || (seed - first + 1).is_multiple_of(50) {
            println!("{} of {count} guests, {} unexplained", seed - first + 1, report.guests_unexplained.len());
        }
    }
    report.print(count);
    Ok(report.unexplained.is_empty())
}

impl Report {
    fn add(&mut self, seed: u64, verdict: &Verdict) {
        self.refused += usize::from(verdict.both_refused);
        self.untouched += usize::from(verdict.untouched() && !verdict.both_refused);
        for name in &verdict.explained {
            *self.explained.entry(name).or_default() += 1;
        }
        for (kind, what) in &verdict.unexplained {
            let seen = self.unexplained.entry(kind.clone()).or_default();
            if seen.times == 0 {
                seen.example = format!("seed {seed}: {what}");
            }
            seen.times += 1;
        }
        if !verdict.unexplained.is_empty() {
            self.guests_unexplained.push(seed);
        } else if !verdict.explained.is_empty() {
            self.guests_explained += 1;
        }
    }

    fn print(&self, count: u64) {
        println!(
            "{count} guests: {} the same, {} refused by both, {} the same but for known differences, {} not",
            self.untouched,
            self.refused,
            self.guests_explained,
            self.guests_unexplained.len()
        );
        for (name, times) in &self.explained {
            let about = DIFFERENCES.iter().find(|it| it.name == *name).map(|it| it.reason);
            let about = about.or_else(|| REFUSALS.iter().find(|it| it.name == *name).map(|it| it.reason));
            println!("  {times:5}  {name}: {}", about.unwrap_or_default());
        }
        let mut kinds: Vec<_> = self.unexplained.iter().collect();
        kinds.sort_by_key(|it| std::cmp::Reverse(it.1.times));
        for (kind, seen) in kinds {
            println!("  UNEXPLAINED {:4}  {kind}\n        {}", seen.times, seen.example);
        }
        if !self.guests_unexplained.is_empty() {
            println!("  seeds {:?}", self.guests_unexplained);
        }
    }
}
