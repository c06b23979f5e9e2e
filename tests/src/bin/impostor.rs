//! A bad QEMU. What it does wrong is in the name it is called by, `WHEN-HOW`.
//!
//! `probe-HOW` is bad from the first question on; `start-HOW` lets the real QEMU answer the driver's probe and is bad when a guest
//! is to be started. HOW is one of `hangs`, `dies`, `babbles` (speaks garbage over the monitor), `floods` (speaks without end).

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, exit},
};

use nix::sys::socket::{MsgFlags, accept, send};

/// Where the driver puts the monitor: a connected socket for a probe, a listening one for a guest.
const MONITOR: i32 = 3;

fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    let name = args.first().and_then(|name| name.to_str()).and_then(|name| name.rsplit('/').next()).unwrap_or_default();
    let (when, how) = name.split_once('-').expect("called WHEN-HOW");
    let probe = args.iter().any(|arg| arg.to_string_lossy().starts_with("none,accel"));
    if probe && when == "start" {
        let error = Command::new("qemu-system-x86_64").args(&args[1..]).exec();
        eprintln!("no real QEMU: {error}");
        exit(1);
    }
    match how {
        "dies" => {
            eprintln!("this build is broken");
            exit(1);
        }
        "babbles" => say(probe, b"\x00\xff{not json}\r\n", false),
        "floods" => say(probe, &[b'x'; 4096], true),
        _ => {}
    }
    loop {
        std::thread::park();
    }
}

fn say(connected: bool, what: &[u8], without_end: bool) {
    let to = if connected { MONITOR } else { accept(MONITOR).expect("a connection") };
    while send(to, what, MsgFlags::MSG_NOSIGNAL).is_ok() && without_end {}
}
