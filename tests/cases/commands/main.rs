//! What a person does with the command, on real QEMU.

mod asleep;
mod saved;

use std::process::{Child, Command, Output, Stdio};

use polyvirt::Connection;
use polyvirt_tests::{Root, connect, no_qemu, root};

/// The command on a root of its own. No process attends its guests between two commands.
struct Commands {
    root: Root,
}

impl Commands {
    /// `None`, with the reason printed, where that cannot be.
    fn new() -> Option<Self> {
        if let Some(reason) = no_qemu() {
            println!("skipped: {reason}");
            return None;
        }
        let it = Self { root: root() };
        it.file("settings.toml", "[drivers.qemu]\nuser = \"root\"\n");
        Some(it)
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("a file");
        self.path(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_command"));
        command.env_clear().env("HOME", self.root.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["--settings", &self.path("settings.toml"), "-c"]);
        command.arg(format!("qemu:///embed?root={}", self.root.path().display())).args(args);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        said(&self.command(args).output().expect("the command runs"))
    }

    /// Runs what must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!(status, 0, "{args:?}: {err}");
        out
    }

    /// Runs what must be refused; the first line of stderr.
    fn refused(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!(status, 1, "{args:?}: {out}{err}");
        err.lines().next().unwrap_or_default().to_owned()
    }

    /// Runs it, and goes on.
    fn begin(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs")
    }

    /// A connection that holds no guest longer than it has to.
    async fn connection(&self) -> Connection {
        connect("qemu", self.root.path(), |options| options.ownership = polyvirt::Ownership::WhileBusy).await
    }
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
