//! A QEMU without us, for benchmarks: the very argv that a guest of ours has, run by hand, and asked over its monitor.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use polyvirt::Guest;

/// The process.
#[derive(Debug)]
pub struct Bare {
    child: Child,
    stream: UnixStream,
    replies: Lines<BufReader<UnixStream>>,
}

/// The argv of a guest of ours that runs.
///
/// # Panics
/// When it has no process.
#[must_use]
pub fn argv_of(guest: &Guest) -> Vec<String> {
    let uuid = guest.uuid().to_string();
    let (pid, _) = crate::processes_with(&["qemu-system", &uuid]).into_iter().next().expect("its process");
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).expect("its command line");
    String::from_utf8(line).expect("text").trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// The argv with the monitor's descriptor replaced by another.
fn with_descriptor(argv: &[String], fd: i32) -> Vec<String> {
    let replace = |word: &String| match word.split_once("fd=") {
        Some((before, after)) if word.starts_with("socket,") => {
            let rest = after.find(',').map_or("", |at| &after[at..]);
            format!("{before}fd={fd}{rest}")
        }
        _ => word.clone(),
    };
    argv.iter().map(replace).collect()
}

impl Bare {
    /// Runs it, and returns when it has answered `query-status`. Its monitor listens on this socket.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn start(argv: &[String], socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).expect("a socket");
        fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).expect("inheritable");
        let argv = with_descriptor(argv, listener.as_raw_fd());
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("bare QEMU");
        let stream = UnixStream::connect(socket).expect("the monitor");
        let replies = BufReader::new(stream.try_clone().expect("a copy")).lines();
        let mut bare = Self { child, stream, replies };
        bare.ask("qmp_capabilities", "{}");
        bare.ask("query-status", "{}");
        bare
    }

    /// Sends a command with these arguments, JSON, and waits for the answer.
    ///
    /// # Panics
    /// When it is refused.
    pub fn ask(&mut self, command: &str, arguments: &str) -> String {
        writeln!(self.stream, "{{\"execute\":\"{command}\",\"arguments\":{arguments}}}").expect("asked");
        let mut lines = self.replies.by_ref().map(|line| line.expect("a line"));
        let answer = lines.find(|line| line.starts_with("{\"return\"") || line.starts_with("{\"error\""));
        let answer = answer.expect("an answer");
        assert!(answer.starts_with("{\"return\""), "{command}: {answer}");
        answer
    }

    /// Ends it, and returns when it is reaped.
    ///
    /// # Panics
    /// When it does not end.
    pub fn quit(mut self) {
        self.ask("quit", "{}");
        self.child.wait().expect("reaped");
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
