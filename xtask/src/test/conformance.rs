//! The conformance corpus: what libvirt's own test data says our program must answer.
//!
//! Each suite has a floor: the number of its checks
//! that passed once must pass always. Raise a floor with the commit that earns it.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    corpus,
    test::{Context, LONG, tally::Tally},
};

/// A suite of the corpus.
struct Suite {
    /// `SUITE` or `SUITE/CHECK`, as the runner names it.
    name: &'static str,
    /// How many of its cases must pass.
    floor: u64,
}

const SUITES: &[Suite] = &[
    Suite { name: "generic/backup", floor: 8 },
    Suite { name: "generic/xml", floor: 29 },
    Suite { name: "snapshot", floor: 7 },
    Suite { name: "syntax", floor: 29 },
    Suite { name: "hostcaps", floor: 22 },
    Suite { name: "qemuxmlconf/xml", floor: 764 },
    Suite { name: "qemuxmlconf/argv", floor: 665 },
    Suite { name: "qemuactive", floor: 9 },
    Suite { name: "memlock", floor: 12 },
    Suite { name: "firmware", floor: 6 },
    Suite { name: "cpu", floor: 215 },
    Suite { name: "domcaps", floor: 75 },
];

pub(super) fn run(cx: &Context<'_>) -> Result<Tally, String> {
    let archive = match corpus::archive(cx.checkout) {
        Ok(archive) => archive,
        Err(why) => return Ok(cx.cannot("conformance", "corpus", why)),
    };
    let Some(program) = cx.polyvirt()? else {
        return Ok(cx.cannot("conformance", "corpus", "the workspace builds no program polyvirt yet".to_owned()));
    };
    let mut tally = Tally::default();
    for suite in SUITES {
        tally.add(run_suite(cx, &archive, &program, suite)?);
    }
    Ok(tally)
}

fn run_suite(cx: &Context<'_>, archive: &Path, program: &Path, suite: &Suite) -> Result<Tally, String> {
    let results = cx.checkout.target.join(format!("conformance-{}.json", suite.name.replace('/', "-")));
    // What an earlier run left must not be taken for this one's.
    if let Err(error) = fs::remove_file(&results)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(format!("cannot remove {}: {error}", results.display()));
    }
    let mut runner = Command::new("python3");
    runner.arg(archive.with_file_name("conform.py")).arg(archive);
    runner
        .arg("--impl")
        .arg(shell_quoted(program))
        .args(["--suite", suite.name, "--show-diff", "--json"])
        .arg(&results);
    let outcome = cx.run(&mut runner, LONG)?;
    let name = format!("conformance {}", suite.name);
    if let Some(why) = outcome.failure {
        return Ok(Tally::failed(format!("{name} ({why})"), outcome.output));
    }
    let text = fs::read_to_string(&results).map_err(|e| format!("the runner left no {}: {e}", results.display()))?;
    let (passed, cases) = totals(&text).map_err(|e| format!("{}: {e}", results.display()))?;
    let said = format!("{}: {passed} of {cases} cases pass, the floor is {}", suite.name, suite.floor);
    Ok(match passed.cmp(&suite.floor) {
        std::cmp::Ordering::Less => Tally::failed(format!("{name}: {said}"), outcome.output),
        std::cmp::Ordering::Equal => Tally::passed(1).note(said),
        std::cmp::Ordering::Greater => Tally::passed(1).note(format!("{said}: raise it to {passed}")),
    })
}

/// Cases that passed, and all.
fn totals(json: &str) -> Result<(u64, u64), String> {
    let value: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let total = value.get("total").ok_or("there is no \"total\"")?;
    // The runner leaves out what is zero.
    let number = |key: &str| total.get(key).and_then(Value::as_u64).unwrap_or(0);
    Ok((number("pass"), number("cases")))
}

/// The runner splits its `--impl` as a shell does.
fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_and_what_is_zero_may_be_absent() {
        assert_eq!(totals(r#"{"total": {"cases": 29, "pass": 28, "fail": 1}}"#), Ok((28, 29)));
        assert_eq!(totals(r#"{"total": {"cases": 29}}"#), Ok((0, 29)));
        assert!(totals("{}").is_err() && totals("nonsense").is_err());
    }

    #[test]
    fn a_path_survives_the_shell() {
        assert_eq!(shell_quoted(Path::new("a b/c'd")), r"'a b/c'\''d'");
    }
}
