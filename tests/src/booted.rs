//! A guest that runs Linux and does what it is told on its console: the tiny one that `cargo xtask guest-image` makes.

use std::{path::PathBuf, time::Duration};

use polyvirt::{ByteStream, Connection, Guest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Generous: the machine may be busy. Nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(180);

/// The kernel and the initramfs, or why they are not there, unless `POLYVIRT_REQUIRE` demands them.
///
/// # Errors
/// Why not.
pub fn image() -> Result<(PathBuf, PathBuf), String> {
    // This program is in target/debug/deps.
    let built = std::env::current_exe().ok().and_then(|it| Some(it.ancestors().nth(3)?.join("guest")));
    let find = |variable: &str, name: &str| {
        let given = std::env::var_os(variable).map(PathBuf::from);
        given.or_else(|| Some(built.as_ref()?.join(name))).filter(|it| it.is_file())
    };
    let found = find("POLYVIRT_GUEST_KERNEL", "vmlinuz").zip(find("POLYVIRT_GUEST_INITRAMFS", "initramfs.cpio"));
    found.ok_or_else(|| "there is no guest image; `cargo xtask guest-image` makes it".to_owned())
}

/// Says why there is no image, and whether that is all right.
#[must_use]
pub fn no_image() -> Option<String> {
    let reason = image().err()?;
    polyvirt_driver_testkit::require("guest-image", &reason).then_some(reason)
}

/// The definition of a guest that boots it, with more devices.
///
/// # Panics
/// When there is no image.
#[must_use]
pub fn definition(name: &str, machine: &str, devices: &str) -> String {
    let (kernel, initramfs) = image().expect("an image");
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
         <os><type arch='x86_64' machine='{machine}'>hvm</type><kernel>{}</kernel><initrd>{}</initrd>
         <cmdline>console=ttyS0 quiet</cmdline></os><features><acpi/></features>
         <devices><serial type='pty'/><memballoon model='none'/>{devices}</devices></domain>",
        kernel.display(),
        initramfs.display()
    )
}

/// A guest that has booted.
pub struct Booted {
    /// The guest.
    pub guest: Guest,
    console: ByteStream,
}

impl std::fmt::Debug for Booted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Booted").field("guest", &self.guest).finish_non_exhaustive()
    }
}

impl Booted {
    /// Defines and starts it, and waits until it is ready.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start(connection: &Connection, xml: &str) -> Self {
        let guest = connection.define(xml).await.unwrap_or_else(|error| panic!("{error}")).guest;
        guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
        // Opened before it speaks, so that nothing is missed.
        let mut booted = Self::open(guest).await;
        booted.guest.resume().await.expect("resumed");
        booted.expect("polyvirt-guest end").await;
        booted
    }

    /// Opens the console of one that has booted.
    ///
    /// # Panics
    /// When it has none.
    pub async fn open(guest: Guest) -> Self {
        let console = guest.console(None).await.expect("a console");
        Self { guest, console }
    }

    /// Reads until a line of the guest has this text; gives all that was read.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn expect(&mut self, text: &str) -> String {
        let mut said = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&said).contains(text) {
                said.push(self.console.read_u8().await.expect("the console ended"));
            }
        };
        let came = tokio::time::timeout(WITHIN, reading).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(came.is_ok(), "{said:?} lacks {text:?}");
        said
    }

    /// Has the guest begin a command, whatever becomes of it.
    ///
    /// # Panics
    /// When nobody reads.
    pub async fn begin(&mut self, command: &str) {
        self.console.write_all(format!("sh {command}\n").as_bytes()).await.expect("the console takes it");
    }

    /// Runs a command in the guest; gives its output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run(&mut self, command: &str) -> String {
        self.begin(command).await;
        let said = self.expect("polyvirt-guest status ").await;
        let status = self.expect("\n").await;
        assert_eq!(status.trim(), "0", "{command}: {said}");
        said.trim_end_matches("polyvirt-guest status ").trim().replace("\r\n", "\n")
    }

    /// Runs a command again and again until its output has this text: what is plugged in takes the guest a moment.
    ///
    /// # Panics
    /// When it never has.
    pub async fn until(&mut self, command: &str, has: impl Fn(&str) -> bool) -> String {
        let began = std::time::Instant::now();
        loop {
            let said = self.run(command).await;
            if has(&said) {
                return said;
            }
            assert!(began.elapsed() < WITHIN, "{command} never said it, but: {said}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
