//! Runs the command on a root of its own.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses a part of it")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// A root of its own, gone at the end of the test.
pub struct Root(tempfile::TempDir);

impl Root {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polyvirt"));
        command.env_clear().env("HOME", self.path()).env("PATH", "/usr/bin:/bin");
        command.arg("-c").arg(format!("mock:///embed?root={}", self.path().display())).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        text(&self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs what must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!(status, 0, "{args:?}: {err}");
        out
    }

    /// Runs what must be refused with status 1; the first line of stderr.
    pub fn refused(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!(status, 1, "{args:?}: {out}{err}");
        let first = err.lines().next().unwrap_or_default().to_owned();
        assert!(first.starts_with("error: "), "{args:?}: {err}");
        first
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn guest(&self, name: &str) -> String {
        self.file(&format!("{name}.in"), &guest(name))
    }
}

pub fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

pub fn guest(name: &str) -> String {
    format!(
        "<domain type='test'>\n  <name>{name}</name>\n  <memory unit='MiB'>64</memory>\n  <vcpu placement='auto'>2</vcpu>\n  <os><type arch='x86_64'>hvm</type></os>\n  <devices><serial type='pty'/></devices>\n</domain>\n"
    )
}
