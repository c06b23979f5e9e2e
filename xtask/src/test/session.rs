//! QEMU without root: the driver's own tests and the command on `qemu:///session`, as an ordinary user.
//!
//! Run as root, the tests have to be run again as somebody else, from copies that this user can read. Run as an ordinary user
//! the step `test` has done so already.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    debian,
    test::{Context, LONG, libtest, tally::Tally},
};

/// Everywhere, and without rights.
const USER: &str = "nobody";

/// What the user sees instead of a home.
struct Session {
    dir: PathBuf,
    uid: u32,
    gid: u32,
}

pub(super) fn run(cx: &Context<'_>) -> Result<Tally, String> {
    if !is_root() {
        return Ok(Tally::default().note("not root: the step 'test' ran them as an ordinary user"));
    }
    let missing = ["setpriv", "qemu-system-x86_64"].into_iter().find(|it| debian::find_program(it).is_none());
    if let Some(program) = missing {
        return Ok(cx.cannot("session", "session", format!("{program} is not installed")));
    }
    let tests = driver_tests(cx)?;
    let polyvirt = command(cx)?;
    let session = Session::new()?;
    let mut tally = Tally::default();
    for test in &tests {
        tally.add(session.run_tests(cx, test)?);
    }
    tally.add(session.run_command(cx, &polyvirt)?);
    Ok(tally)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

/// The test programs of the QEMU driver that start guests, built.
pub(super) fn driver_tests(cx: &Context<'_>) -> Result<Vec<PathBuf>, String> {
    let mut cargo = cx.checkout.cargo();
    cargo.args(["test", "--package", "polyvirt-driver-qemu", "--tests", "--no-run", "--message-format=json"]);
    let outcome = cx.run(&mut cargo, LONG)?;
    if let Some(why) = outcome.failure {
        return Err(format!("the driver's tests do not build ({why}):\n{}", outcome.output));
    }
    let found = programs(&outcome.output);
    if found.is_empty() { Err("the QEMU driver has no tests that start guests".to_owned()) } else { Ok(found) }
}

/// The command, as the tests have it built.
fn command(cx: &Context<'_>) -> Result<PathBuf, String> {
    let mut cargo = cx.checkout.cargo();
    cargo.args(["build", "--package", "polyvirt-cli", "--bin", "polyvirt"]);
    let outcome = cx.run(&mut cargo, LONG)?;
    match outcome.failure {
        None => Ok(cx.checkout.target.join("debug/polyvirt")),
        Some(why) => Err(format!("the command does not build ({why}):\n{}", outcome.output)),
    }
}

/// Integration tests in Cargo's messages.
fn programs(messages: &str) -> Vec<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = messages.filter(|it| it["target"]["kind"][0] == "test");
    tests.filter_map(|it| Some(PathBuf::from(it["executable"].as_str()?))).collect()
}

impl Session {
    fn new() -> Result<Self, String> {
        // Short: sockets are below it.
        let dir = env::temp_dir().join(format!("pvs{}", std::process::id()));
        let id = |option| {
            let output = Command::new("id").args([option, USER]).output().map_err(|e| format!("id: {e}"))?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.trim().parse::<u32>().map_err(|e| format!("id {option} {USER}: {e}"))
        };
        let session = Self { uid: id("-u")?, gid: id("-g")?, dir };
        let made = |path: &Path, mode| {
            fs::create_dir(path)?;
            chown(path, Some(session.uid), Some(session.gid))?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        };
        let folders = [(session.dir.clone(), 0o755), (session.home(), 0o700), (session.run(), 0o700)];
        for (path, mode) in folders {
            made(&path, mode).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        }
        Ok(session)
    }

    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A copy of a program that the user can read, wherever the checkout is.
    fn copy(&self, program: &Path) -> Result<PathBuf, String> {
        let copy = self.dir.join(program.file_name().unwrap_or_default());
        let copied =
            fs::copy(program, &copy).and_then(|_| fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)));
        copied.map(|()| copy).map_err(|e| format!("cannot copy {}: {e}", program.display()))
    }

    /// The program as the user, in an environment of the user's.
    fn as_user(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.env_clear().envs(env::vars_os().filter(|(name, _)| name == "PATH" || name == "POLYVIRT_REQUIRE"));
        command.env("HOME", self.home()).env("XDG_RUNTIME_DIR", self.run()).env("TMPDIR", self.run());
        command.current_dir(&self.dir);
        command.args([format!("--reuid={}", self.uid), format!("--regid={}", self.gid)]);
        command.args(["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]).arg(program);
        command
    }

    fn run_tests(&self, cx: &Context<'_>, test: &Path) -> Result<Tally, String> {
        let mut command = self.as_user(&self.copy(test)?);
        let outcome = cx.run(command.arg("--show-output"), LONG)?;
        let name = test.file_name().unwrap_or_default().to_string_lossy();
        let tally = libtest::of_program(&format!("as {USER}, {name}"), outcome);
        let count = tally.passed;
        Ok(tally.note(format!("{count} tests of {name} as {USER}")))
    }

    /// A guest's life by the command, and what is left of it.
    fn run_command(&self, cx: &Context<'_>, polyvirt: &Path) -> Result<Tally, String> {
        const NAME: &str = "polyvirt on qemu:///session";
        let program = self.copy(polyvirt)?;
        let xml = self.dir.join("guest.xml");
        fs::write(&xml, GUEST).map_err(|e| format!("{}: {e}", xml.display()))?;
        let xml = xml.display().to_string();
        let steps: &[(&[&str], &str)] = &[
            (&["define", &xml], "defined"),
            (&["start", "--paused", "session"], "started"),
            (&["list"], "paused"),
            (&["domstate", "session"], "paused"),
            (&["dominfo", "session"], "session"),
            (&["destroy", "session"], "destroyed"),
            (&["undefine", "session"], "undefined"),
        ];
        for (arguments, said) in steps {
            let mut command = self.as_user(&program);
            let outcome = cx.run(command.args(["-c", "qemu:///session"]).args(*arguments), LONG)?;
            let step = arguments.join(" ");
            if let Some(why) = outcome.failure {
                return Ok(Tally::failed(format!("{NAME}: {step}: {why}"), outcome.output));
            }
            if !outcome.output.contains(said) {
                return Ok(Tally::failed(format!("{NAME}: {step}: no '{said}' in the answer"), outcome.output));
            }
        }
        let left = files(&self.home().join(".config")).into_iter().chain(files(&self.run()));
        let left: Vec<_> = left.filter(|path| path.to_string_lossy().contains("session.")).collect();
        Ok(if left.is_empty() {
            Tally::passed(1)
        } else {
            Tally::failed(format!("{NAME}: left behind"), format!("{left:?}\n"))
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("{} stays: {error}", self.dir.display());
        }
    }
}

/// Files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

const GUEST: &str = "<domain type='qemu'>
  <name>session</name>
  <memory unit='MiB'>32</memory>
  <vcpu placement='auto'>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><serial type='pty'/></devices>
</domain>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integration_tests_are_found_and_unit_tests_are_not() {
        let messages = r#"   Compiling x
{"reason":"compiler-artifact","target":{"kind":["lib"]},"executable":"/t/unit"}
{"reason":"compiler-artifact","target":{"kind":["test"]},"executable":"/t/guest"}
{"reason":"compiler-artifact","target":{"kind":["test"]},"executable":null}
"#;
        assert_eq!(programs(messages), [PathBuf::from("/t/guest")]);
    }
}
