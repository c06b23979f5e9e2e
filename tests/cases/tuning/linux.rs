//! A Linux that boots with what a test wants to change, and tells what it sees.

use polyvirt::{Connection, Destroy, Guest};
use polyvirt_tests::{
    Root,
    booted::{Booted, image, no_image},
    connect, no_qemu, root,
};

/// Brings every CPU online that is there.
const ONLINE: &str =
    "for it in /sys/devices/system/cpu/cpu[0-9]*/online; do [ \"$(cat $it)\" = 1 ] || echo 1 >$it; done";

/// A Linux that runs.
pub(crate) struct Linux {
    pub(crate) root: Root,
    pub(crate) connection: Connection,
    pub(crate) guest: Guest,
    booted: Booted,
}

/// A connection of its own to a root.
pub(crate) async fn open(root: &Root) -> Connection {
    // A guest of these tests loses a vCPU once and gets none afterwards: this QEMU bears it that long.
    connect("qemu", root.path(), |options| options.settings.set("unplug_emulated", true)).await
}

impl Linux {
    /// Boots one with these elements and devices, and waits until it is ready. `None`, with the reason printed, where that cannot be.
    pub(crate) async fn boot(name: &str, elements: &str, devices: &str) -> Option<Self> {
        if let Some(reason) = no_qemu().or_else(no_image) {
            println!("skipped: {reason}");
            return None;
        }
        let (kernel, initrd) = image().expect("an image");
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
        let booted = Booted::start(&connection, &xml).await;
        let guest = booted.guest.clone();
        Some(Self { root, connection, guest, booted })
    }

    /// The CPUs that are there, once there are these.
    pub(crate) async fn has_cpus(&mut self, wanted: &str) {
        let command = format!("{ONLINE}; cat /sys/devices/system/cpu/online");
        self.booted.until(&command, |said| said.lines().any(|line| line.trim() == wanted)).await;
    }

    /// KiB that its system says it has, once that is as wanted.
    pub(crate) async fn memory(&mut self, wanted: impl Fn(u64) -> bool) -> u64 {
        let number = |said: &str| said.split_whitespace().find_map(|it| it.parse().ok());
        let command = "awk '/^MemTotal/ { print $2 }' /proc/meminfo";
        let said = self.booted.until(command, |said| number(said).is_some_and(&wanted)).await;
        number(&said).expect("a number")
    }

    pub(crate) async fn end(self) {
        self.guest.destroy(Destroy::default()).await.expect("destroyed");
    }
}
