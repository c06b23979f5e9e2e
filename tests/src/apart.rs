//! A network of a test's own: nothing of the host's is touched.

use std::{path::Path, process::Command};

use polyvirt_netdev::{Link, Links};

use crate::no_qemu;

/// Runs `test` on a thread with a network of its own, in which there is a bridge `br0`. The threads and processes that it
/// starts are in that network too.
///
/// # Panics
/// When the test does.
pub fn apart<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    let thread = std::thread::spawn(move || {
        if let Err(reason) = enter() {
            if polyvirt_driver_testkit::require("net", &reason) {
                println!("skipped: {reason}");
            }
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn enter() -> Result<(), String> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("no network namespace of its own: {error}"))?;
    ip("link add br0 type bridge")?;
    ip("link set br0 up")
}

/// Runs `ip` with these words.
///
/// # Errors
/// Why it could not be done.
pub fn ip(words: &str) -> Result<(), String> {
    let status = Command::new("ip").args(words.split(' ')).status().map_err(|error| format!("no ip: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("ip {words}: {status}")) }
}

/// The ports of a bridge of this network.
///
/// # Panics
/// When there is no such bridge.
#[must_use]
pub fn ports(bridge: &str) -> Vec<Link> {
    let mut links = Links::open().expect("rtnetlink");
    let bridge = links.bridge(bridge).expect("the bridge");
    links.ports(&bridge).expect("its ports")
}

/// Every tap of this network: ports, and what is none.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn taps() -> Vec<String> {
    let all = Links::open().expect("rtnetlink").all().expect("devices");
    all.into_iter().filter(|it| it.kind.as_deref() == Some("tun")).map(|it| it.name).collect()
}

/// A card on `br0`.
#[must_use]
pub fn on_bridge(mac: &str, more: &str) -> String {
    format!(
        "<interface type='bridge'><mac address='{mac}'/><source bridge='br0'/><model type='virtio'/>{more}</interface>"
    )
}

/// The queues of taps that this very process has open.
///
/// # Panics
/// Without procfs.
#[must_use]
pub fn queues_of_ours() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("procfs");
    open.filter(|it| {
        let target = it.as_ref().ok().and_then(|it| std::fs::read_link(it.path()).ok());
        target.is_some_and(|it| it == Path::new("/dev/net/tun"))
    })
    .count()
}
