//! End-to-end scripts inside `numa-lab`: a throw-away Linux with several real NUMA nodes.
//!
//! A script is `tests/lab/NAME.sh`. Each of its lines `# lab: OPTIONS` is one run with those options of numa-lab; without such a line
//! there is one run with none. It runs in the root of the checkout, as root of the lab, with `POLYVIRT` (our program) and
//! `POLYVIRT_TARGET` (the target directory) in its environment. Exit status 0 passes; the line `skipped: REASON` makes it a skip.
//!
//! numa-lab lies beside the checkout (`POLYVIRT_LAB` names another place).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::test::{Context, tally::Tally};

/// One run, boot included. The first may have to build the lab's cache.
const LIMIT: Duration = Duration::from_secs(900);
/// numa-lab's own exit status for packages it misses.
const PACKAGES_MISSING: i32 = 127;

pub(super) fn run(cx: &Context<'_>) -> Result<Tally, String> {
    let scripts = scripts(&cx.root().join("tests/lab"));
    if scripts.is_empty() {
        return Ok(cx.cannot("lab", "lab", "tests/lab has no scripts yet".to_owned()));
    }
    let lab = match cx.beside("POLYVIRT_LAB", "shared/lab") {
        Ok(dir) => dir.join("numa-lab"),
        Err(why) => return Ok(cx.cannot("lab", "lab", why)),
    };
    let Some(program) = cx.polyvirt()? else {
        return Ok(cx.cannot("lab", "lab", "the workspace builds no program polyvirt yet".to_owned()));
    };
    let mut tally = Tally::default();
    for script in &scripts {
        let text = fs::read_to_string(script).map_err(|e| format!("cannot read {}: {e}", script.display()))?;
        for options in runs(&text) {
            tally.add(run_script(cx, &lab, &program, script, &options)?);
        }
    }
    Ok(tally)
}

fn scripts(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "sh"));
    found.sort();
    found
}

/// The options of each run that a script asks for.
fn runs(script: &str) -> Vec<Vec<String>> {
    let lines = script.lines().filter_map(|line| line.strip_prefix("# lab:"));
    let found: Vec<Vec<String>> = lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    if found.is_empty() { vec![Vec::new()] } else { found }
}

fn run_script(
    cx: &Context<'_>,
    lab: &Path,
    program: &Path,
    script: &Path,
    options: &[String],
) -> Result<Tally, String> {
    let short = script.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format!("lab {short} {}", options.join(" ")).trim_end().to_owned();
    let mut command = Command::new(lab);
    command.current_dir(cx.root()).args(options).arg("--share").arg(&cx.checkout.target);
    command.args(["--env", &format!("POLYVIRT={}", program.display())]);
    command.args(["--env", &format!("POLYVIRT_TARGET={}", cx.checkout.target.display())]);
    command.args(["--", "bash"]).arg(script);
    let outcome = cx.run(&mut command, LIMIT)?;
    let skipped = outcome.output.lines().find_map(|line| line.strip_prefix("skipped: "));
    Ok(match (outcome.code, outcome.failure) {
        (Some(0), None) => {
            skipped.map_or_else(|| Tally::passed(1), |reason| cx.cannot(&name, "lab", reason.to_owned()))
        }
        (Some(PACKAGES_MISSING), _) if outcome.output.contains("numa-lab: missing") => {
            cx.cannot(&name, "lab", outcome.output.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        (_, why) => Tally::failed(format!("{name} ({})", why.unwrap_or_default()), outcome.output),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lab_line_is_a_run() {
        let script = "#!/bin/bash\n# lab: --nodes 4\n# lab: --memless 1 --memless-first\necho\n";
        assert_eq!(runs(script), [vec!["--nodes", "4"], vec!["--memless", "1", "--memless-first"]]);
        assert_eq!(runs("echo\n"), [Vec::<String>::new()]);
    }
}
