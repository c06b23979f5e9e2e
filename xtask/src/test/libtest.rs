//! Runs tests and reads what Rust's test harness writes.
//!
//! A test that cannot run here prints `skipped: REASON` and passes; with `--show-output` the harness shows that line, and the test
//! is counted as skipped. A test program that ends without its result line (abort, signal) counts as one failure.

use std::{env, fs, process::Command};

use crate::{
    command::Outcome,
    corpus,
    test::{
        Context, LONG,
        tally::{Failure, Skip, Tally},
    },
};

/// All tests of the workspace.
pub(super) fn workspace(cx: &Context<'_>) -> Result<Tally, String> {
    let mut cargo = cx.checkout.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    run(cx, "cargo test", &mut cargo)
}

/// Drivers outside the workspace, as their authors would build them: with a target directory of their own. They begin with the
/// workspace's lock, so that nothing newer is fetched than what was tested here.
pub(super) fn out_of_tree(cx: &Context<'_>) -> Result<Tally, String> {
    let dir = cx.root().join("tests/out-of-tree");
    let mut manifests: Vec<_> =
        fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path().join("Cargo.toml")).collect();
    manifests.retain(|m| m.is_file());
    manifests.sort();
    let mut tally = Tally::default();
    for manifest in &manifests {
        let lock = manifest.with_file_name("Cargo.lock");
        fs::copy(cx.root().join("Cargo.lock"), &lock).map_err(|e| format!("cannot write {}: {e}", lock.display()))?;
        let mut cargo = cx.checkout.cargo();
        cargo.args(["test", "--workspace", "--no-fail-fast", "--manifest-path"]).arg(manifest);
        cargo.arg("--target-dir").arg(cx.checkout.target.join("out-of-tree"));
        // It compiled: that is what the step is about, and counts even if there is no test in it.
        tally.passed += 1;
        tally.add(run(cx, &format!("cargo test in {}", manifest.display()), &mut cargo)?);
    }
    if manifests.is_empty() {
        return Ok(Tally::skipped("out-of-tree".to_owned(), format!("{} has no crates yet", dir.display())));
    }
    Ok(tally)
}

fn run(cx: &Context<'_>, name: &str, cargo: &mut Command) -> Result<Tally, String> {
    cargo.args(["--", "--show-output"]);
    let guest = cx.checkout.target.join("guest");
    for (variable, file) in [("POLYVIRT_GUEST_KERNEL", "vmlinuz"), ("POLYVIRT_GUEST_INITRAMFS", "initramfs.cpio")] {
        let file = guest.join(file);
        if env::var_os(variable).is_none() && file.is_file() {
            cargo.env(variable, file);
        }
    }
    // Without the corpus the tests that want it skip by themselves.
    if let Ok(corpus) = corpus::archive(cx.checkout) {
        cargo.env("POLYVIRT_CORPUS", corpus::unpacked(cx.checkout, cx.progress, &corpus)?);
    }
    let outcome = cx.run(cargo, LONG)?;
    let mut tally = read(&outcome.output);
    if let Some(why) = outcome.failure
        && tally.failures.is_empty()
    {
        tally.failures.push(Failure { name: format!("{name} ({why})"), output: outcome.output });
    }
    Ok(tally)
}

/// What came of one test program that was run without Cargo, with `--show-output`.
pub(super) fn of_program(name: &str, outcome: Outcome) -> Tally {
    let mut tally = read(&format!("     Running one ({name})\n{}", outcome.output));
    if let Some(why) = outcome.failure
        && tally.failures.is_empty()
    {
        tally.failures.push(Failure { name: format!("{name} ({why})"), output: outcome.output });
    }
    tally
}

/// Reads the output of `cargo test -- --show-output`, both streams in one.
fn read(output: &str) -> Tally {
    let mut tally = Tally::default();
    let mut program: Option<Program> = None;
    for line in output.lines() {
        let trimmed = line.trim_start();
        // Cargo indents its own lines; what tests write stands below such a line.
        if line.starts_with(' ') && (trimmed.starts_with("Running ") || trimmed.starts_with("Doc-tests ")) {
            program.take().into_iter().for_each(|p| p.end(&mut tally));
            program = Some(Program::new(trimmed));
        } else if let Some(program) = &mut program {
            program.line(line);
        }
    }
    program.into_iter().for_each(|p| p.end(&mut tally));
    tally
}

/// One test program.
struct Program {
    name: String,
    output: String,
    /// Result lines seen. Doc-tests write more than one.
    results: usize,
    /// As the harness counts, which knows nothing of our skips.
    passed: usize,
    failed: Vec<String>,
    skips: Vec<Skip>,
    /// Skips that the harness counted as passed.
    said_skipped: usize,
    /// The passed test whose output is being read.
    showing: Option<String>,
    in_successes: bool,
    broken: bool,
}

impl Program {
    fn new(line: &str) -> Self {
        Self {
            name: program_name(line),
            output: format!("{line}\n"),
            results: 0,
            passed: 0,
            failed: Vec::new(),
            skips: Vec::new(),
            said_skipped: 0,
            showing: None,
            in_successes: false,
            broken: false,
        }
    }

    fn line(&mut self, line: &str) {
        self.output.push_str(line);
        self.output.push('\n');
        if let Some(result) = line.strip_prefix("test result: ") {
            self.results += 1;
            self.passed += count(result, "passed");
            (self.in_successes, self.showing) = (false, None);
        } else if line == "successes:" {
            (self.in_successes, self.showing) = (true, None);
        } else if line == "failures:" {
            (self.in_successes, self.showing) = (false, None);
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----")) {
            self.showing = self.in_successes.then(|| name.to_owned());
        } else if let Some(reason) = line.strip_prefix("skipped: ") {
            // The first reason of a test counts, once.
            if let Some(name) = self.showing.take() {
                self.skips.push(Skip { name: self.full_name(&name), reason: reason.to_owned() });
                self.said_skipped += 1;
            }
        } else if let Some(test) = line.strip_prefix("test ") {
            self.verdict(test);
        } else if line.starts_with("error: test failed, to rerun pass") || line.starts_with("error: doctest failed") {
            self.broken = true;
        }
    }

    /// The name of a test that is unique over all programs.
    fn full_name(&self, test: &str) -> String {
        format!("{}: {test}", self.name)
    }

    fn verdict(&mut self, test: &str) {
        let Some((name, verdict)) = test.rsplit_once(" ... ") else { return };
        if verdict == "FAILED" {
            self.failed.push(self.full_name(name));
        } else if let Some(reason) = verdict.strip_prefix("ignored") {
            let reason = reason.strip_prefix(", ").unwrap_or("marked as ignored");
            self.skips.push(Skip { name: self.full_name(name), reason: reason.to_owned() });
        }
    }

    fn end(self, tally: &mut Tally) {
        tally.passed += self.passed.saturating_sub(self.said_skipped);
        tally.skips.extend(self.skips);
        let died = self.results == 0 || self.broken && self.failed.is_empty();
        if died {
            tally.failures.push(Failure { name: format!("{} ended without a result", self.name), output: self.output });
        } else if !self.failed.is_empty() {
            // The output is shown once, with the first of them.
            let mut output = Some(self.output);
            for name in self.failed {
                tally.failures.push(Failure { name, output: output.take().unwrap_or_default() });
            }
        }
    }
}

/// `polyvirt_lease` of `Running unittests src/lib.rs (target/debug/deps/polyvirt_lease-0123456789abcdef)` and `Doc-tests polyvirt_lease`.
fn program_name(line: &str) -> String {
    let Some((_, path)) = line.strip_suffix(')').and_then(|l| l.rsplit_once('(')) else { return line.to_owned() };
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned()
}

/// The number before `what` in `ok. 3 passed; 0 failed; …`.
fn count(result: &str, what: &str) -> usize {
    let words: Vec<&str> = result.split_whitespace().collect();
    let place = words.iter().position(|word| word.trim_end_matches(';') == what);
    place.and_then(|p| words.get(p.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
     Running unittests src/lib.rs (target/debug/deps/a-c-1)

running 3 tests
test boots ... ok
test waits ... ignored, needs a moon
test adds ... ok

successes:

---- boots stdout ----
some text
skipped: no /dev/kvm
skipped: a second reason


successes:
    adds
    boots

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests a

running 1 test
test src/lib.rs - f (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn passes_and_both_kinds_of_skips_are_told_apart() {
        let tally = read(GOOD);
        assert_eq!((tally.passed, tally.failures.len()), (2, 0));
        let skips: Vec<_> = tally.skips.iter().map(|s| (s.name.as_str(), s.reason.as_str())).collect();
        assert_eq!(skips, [("a-c: waits", "needs a moon"), ("a-c: boots", "no /dev/kvm")]);
    }

    #[test]
    fn a_failed_test_is_named_and_its_skip_line_does_not_hide_it() {
        let output = "     Running tests/x.rs (t)\ntest x ... FAILED\ntest y ... ok\n\nfailures:\n\n---- x stdout ----\nskipped: no\n\n\
                      failures:\n    x\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\nerror: test failed, to rerun pass `--test x`\n";
        let tally = read(output);
        assert_eq!((tally.passed, tally.skips.len()), (1, 0));
        assert_eq!(tally.failures.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["t: x"]);
        assert!(tally.failures[0].output.contains("skipped: no"));
    }

    #[test]
    fn a_test_program_that_dies_is_a_failure() {
        let output = "     Running tests/x.rs (t)\n\nrunning 1 test\nerror: test failed, to rerun pass `--test x`\n\n\
                      Caused by:\n  process didn't exit successfully (signal: 6, SIGABRT)\n";
        let tally = read(output);
        assert_eq!(tally.failures.len(), 1);
        assert!(tally.failures[0].name.contains("without a result"), "{}", tally.failures[0].name);
    }

    #[test]
    fn what_tests_print_is_not_taken_for_cargo() {
        let output =
            "     Running a (t)\ntest a ... ok\nRunning away\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
        assert_eq!(read(output).passed, 1);
    }
}
