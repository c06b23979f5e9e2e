//! The tiny Linux guest (`cargo xtask guest-image`), and talking with it.

use std::{path::PathBuf, time::Duration};

use polyvirt::{ByteStream, Connection, Destroy, Guest};
use polyvirt_tests::{Root, connect, no_qemu, root};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Generous: under TCG on a busy machine. Nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(180);

/// A Linux that runs, and its console.
pub(crate) struct Linux {
    pub(crate) root: Root,
    pub(crate) connection: Connection,
    pub(crate) guest: Guest,
    console: ByteStream,
}

fn image(variable: &str, file: &str) -> Option<PathBuf> {
    let found = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("../target"), PathBuf::from);
            target.join("guest").join(file)
        }
    };
    found.is_file().then_some(found)
}

/// Kernel and initramfs, or why there are none.
fn images() -> Option<(PathBuf, PathBuf)> {
    let kernel = image("POLYVIRT_GUEST_KERNEL", "vmlinuz");
    let found = kernel.zip(image("POLYVIRT_GUEST_INITRAMFS", "initramfs.cpio"));
    if found.is_none() {
        let reason = "there is no guest image; `cargo xtask guest-image` makes it";
        if polyvirt_driver_testkit::require("qemu", reason) {
            println!("skipped: {reason}");
        }
    }
    found
}

/// A connection of its own to a root.
pub(crate) async fn open(root: &Root) -> Connection {
    // A guest of these tests loses a vCPU once and gets none afterwards: this QEMU bears it that long.
    connect("qemu", root.path(), |options| options.settings.set("unplug_emulated", true)).await
}

impl Linux {
    /// Boots one with these elements and devices, and waits until it has said what it sees. `None`, with the reason printed, where
    /// that cannot be.
    pub(crate) async fn boot(name: &str, elements: &str, devices: &str) -> Option<Self> {
        if let Some(reason) = no_qemu() {
            println!("skipped: {reason}");
            return None;
        }
        let (kernel, initrd) = images()?;
        let root = root();
        let connection = open(&root).await;
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>160</memory>{elements}
             <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{}</kernel><initrd>{}</initrd>
             <cmdline>console=ttyS0 quiet</cmdline></os><features><acpi/></features>
             <devices><serial type='pty'/>{devices}</devices></domain>",
            kernel.display(),
            initrd.display()
        );
        let guest = connection.define(&xml).await.expect("defined").guest;
        guest.start(true).await.unwrap_or_else(|error| panic!("{error:?}"));
        let console = guest.console(None).await.expect("a console");
        guest.resume().await.expect("resumed");
        let mut linux = Self { root, connection, guest, console };
        linux.hear("polyvirt-guest end").await;
        Some(linux)
    }

    /// Reads the console up to the end of a line that has this in it.
    pub(crate) async fn hear(&mut self, text: &str) -> String {
        let mut said = Vec::new();
        let reading = async {
            loop {
                let byte = self.console.read_u8().await.expect("the console goes on");
                said.push(byte);
                if byte != b'\n' {
                    continue;
                }
                let heard = String::from_utf8_lossy(&said).into_owned();
                if let Some(line) = heard.lines().find(|line| line.contains(text)) {
                    return line.trim().to_owned();
                }
            }
        };
        match tokio::time::timeout(WITHIN, reading).await {
            Ok(line) => line,
            Err(_) => panic!("the guest never said {text:?}: {}", String::from_utf8_lossy(&said)),
        }
    }

    /// Says a line and hears the answer.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.console.write_all(format!("{line}\n").as_bytes()).await.expect("it listens");
        self.hear(&format!("polyvirt-guest {line} ")).await
    }

    /// Asks again until the answer is as wanted: the guest does in its own time what its hardware tells it.
    pub(crate) async fn ask_until(&mut self, line: &str, wanted: impl Fn(&str) -> bool) -> String {
        let asking = async {
            loop {
                let answer = self.ask(line).await;
                if wanted(&answer) {
                    return answer;
                }
            }
        };
        tokio::time::timeout(WITHIN, asking)
            .await
            .unwrap_or_else(|_| panic!("the guest never said what was wanted of {line:?}"))
    }

    pub(crate) async fn end(self) {
        self.guest.destroy(Destroy::default()).await.expect("destroyed");
    }
}
