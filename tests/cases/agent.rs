//! Debian's guest agent in a real guest: asked, kept waiting, cut off, and told to power off.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use polyvirt::{
    Affect, Connection, Destroy, ErrorKind, EventKind, Guest, GuestInfoKind, Shutdown, SleepTarget, StatsGroup,
    StatsQuery,
};
use polyvirt_tests::{Root, connect, no_qemu, root};
use tokio::io::AsyncReadExt as _;

/// Generous: a kernel boots without KVM. Nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(120);

/// What a port and a balloon need, in the order in which they need each other.
const MODULES: [&str; 7] = [
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci",
    "char/virtio_console",
    "virtio/virtio_balloon",
];

/// The guest's first program. An agent that ends is started again, as a service would be.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /var/run
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
dmesg -n 1
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_console virtio_balloon; do
    [ ! -e /modules/$module.ko ] || insmod /modules/$module.ko || echo "insmod $module failed"
done
hostname agent-guest
ifconfig lo 127.0.0.1 up
while ! ls /dev/vport*p1 >/dev/null 2>&1; do usleep 20000; done
echo "agent begins"
while :; do qemu-ga -m virtio-serial -p "$(ls /dev/vport*p1)" -t /run; usleep 100000; done
"#;

/// What the agent runs to power off (`-P`) and to reboot (`-r`).
const OFF: &str =
    "#!/bin/busybox sh\ncase \"$*\" in *-r*) exec /bin/busybox reboot -f;; *) exec /bin/busybox poweroff -f;; esac\n";

/// What it runs to carry the time over to the hardware clock.
const CLOCK: &str = "#!/bin/busybox sh\nexec /bin/busybox hwclock \"$@\"\n";

struct Image {
    kernel: PathBuf,
    initramfs: PathBuf,
}

/// Makes the guest from what is installed.
fn image(root: &Root) -> Result<Image, String> {
    let kernel = std::env::var_os("POLYVIRT_GUEST_KERNEL").map(PathBuf::from);
    let kernel = kernel.ok_or("POLYVIRT_GUEST_KERNEL names no kernel; `cargo xtask test` makes one")?;
    let find = |name: &str| {
        let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(Path::new);
        folders.iter().map(|it| it.join(name)).find(|it| it.is_file()).ok_or(format!("{name} is not installed"))
    };
    let (agent, busybox) = (find("qemu-ga")?, find("busybox")?);
    let tree = root.path().join("tree");
    let put = |from: &Path, to: &str| {
        let to = tree.join(to.trim_start_matches('/'));
        let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::copy(from, &to)).map(drop).map_err(|error| format!("{}: {error}", from.display()))
    };
    put(&busybox, "bin/busybox")?;
    put(&agent, "bin/qemu-ga")?;
    let libraries = Command::new("ldd").arg(&agent).output().map_err(|error| format!("ldd: {error}"))?;
    for word in String::from_utf8_lossy(&libraries.stdout).split_whitespace().filter(|it| it.starts_with('/')) {
        put(Path::new(word), word)?;
    }
    let versions = kernel.with_file_name("kernel").join("lib/modules");
    let version = std::fs::read_dir(&versions).ok().and_then(|mut it| it.next()?.ok()).map(|it| it.path());
    if let Some(version) = version {
        for module in MODULES {
            let file = version.join("kernel/drivers").join(format!("{module}.ko"));
            let name = module.rsplit('/').next().unwrap_or(module);
            // One that is not there is built into the kernel.
            if file.is_file() {
                put(&file, &format!("modules/{name}.ko"))?;
            }
        }
    }
    std::fs::create_dir_all(tree.join("sbin")).map_err(|error| error.to_string())?;
    for (name, text) in [("agent-init", INIT), ("sbin/shutdown", OFF), ("sbin/hwclock", CLOCK)] {
        let path = tree.join(name);
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(|e| e.to_string())?;
    }
    let initramfs = root.path().join("agent.cpio");
    let file = std::fs::File::create(&initramfs).map_err(|error| error.to_string())?;
    let mut pack = Command::new("sh");
    pack.args(["-c", "find . | busybox cpio -o -H newc"]).current_dir(&tree).stdout(file).stderr(Stdio::null());
    match pack.status() {
        Ok(status) if status.success() => Ok(Image { kernel, initramfs }),
        other => Err(format!("busybox cpio: {other:?}")),
    }
}

fn definition(name: &str, image: &Image, channel: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>256</memory><vcpu placement='auto'>2</vcpu>
         <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{}</kernel><initrd>{}</initrd>
         <cmdline>console=ttyS0 quiet panic=-1 rdinit=/agent-init</cmdline></os><features><acpi/></features>
         <devices><serial type='pty'/><memballoon model='virtio'/>{channel}</devices></domain>",
        image.kernel.display(),
        image.initramfs.display()
    )
}

const CHANNEL: &str = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";

/// Everything that a test needs, or that it is skipped.
async fn ready(name: &str) -> Option<(Root, Connection, Guest)> {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return None;
    }
    let root = root();
    let image = match image(&root) {
        Ok(image) => image,
        Err(reason) => {
            if polyvirt_driver_testkit::require("agent", &reason) {
                println!("skipped: {reason}");
            }
            return None;
        }
    };
    let connection = connect("qemu", root.path(), |_| {}).await;
    let guest = connection.define(&definition(name, &image, CHANNEL)).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let mut console = guest.console(None).await.expect("a console");
    let early = guest.hostname().await.expect_err("its CPUs stand still");
    assert_eq!(early.kind(), ErrorKind::InvalidState, "{early}");
    guest.resume().await.expect("resumed");
    let mut said = String::new();
    let booted = async {
        while !said.contains("agent begins") {
            said.push(char::from(console.read_u8().await.expect("the console goes on")));
        }
        // It opens the channel a moment later.
        while let Err(error) = guest.hostname().await {
            assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
            tokio::task::yield_now().await;
        }
    };
    let booted = tokio::time::timeout(WITHIN, booted).await;
    assert!(booted.is_ok(), "no agent came: {said}");
    Some((root, connection, guest))
}

#[tokio::test]
async fn a_real_agent_answers_and_powers_off() {
    let Some((_root, connection, guest)) = ready("agent-talks").await else { return };
    assert_eq!(guest.hostname().await.expect("a name"), "agent-guest");
    let cards = guest.addresses().await.expect("cards");
    let local = cards.iter().find(|it| it.name == "lo").expect("lo");
    assert!(local.addresses.contains(&("127.0.0.1".parse().expect("an address"), 8)), "{local:?}");
    assert!(guest.time().await.expect("a time") > Duration::from_secs(1_600_000_000));
    guest.set_time(Some(Duration::from_secs(2_000_000_000))).await.expect("set");
    assert!(guest.time().await.expect("a time") >= Duration::from_secs(2_000_000_000));
    let vcpus = guest.guest_vcpus().await.expect("vCPUs");
    assert_eq!(vcpus.iter().map(|it| (it.id, it.online)).collect::<Vec<_>>(), [(0, true), (1, true)]);
    guest.set_guest_vcpus(&[1], false).await.expect("switched off");
    assert!(!guest.guest_vcpus().await.expect("vCPUs")[1].online);
    assert_eq!(guest.freeze(&[]).await.expect("no file system of a disk"), 0);
    assert_eq!(guest.thaw().await.expect("none"), 0);
    let info = guest.guest_info(GuestInfoKind::ALL).await.expect("facts");
    assert_eq!(info.hostname.as_deref(), Some("agent-guest"));
    assert!(info.os.expect("a system").iter().any(|(name, value)| *name == "kernel-release" && !value.is_empty()));
    let raw = guest.agent_command("{\"execute\": \"guest-ping\"}", WITHIN).await.expect("an answer");
    assert_eq!(raw, "{\"return\":{}}");
    let raw = guest.agent_command("{\"execute\": \"guest-fly\"}", WITHIN).await.expect("a refusal is an answer");
    assert!(raw.contains("CommandNotFound"), "{raw}");
    let refused = guest.ssh_keys("nobody-at-all").await.expect_err("there is no such user");
    assert!(matches!(refused.kind(), ErrorKind::Hypervisor | ErrorKind::Unsupported), "{refused}");

    // Two at once wait for each other; a paused guest keeps its caller alone.
    let both = tokio::join!(guest.hostname(), guest.addresses());
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    guest.suspend().await.expect("suspended");
    let asked = guest.agent_command("{\"execute\": \"guest-ping\"}", Duration::from_millis(500));
    let (late, vcpus) = tokio::join!(asked, guest.vcpus());
    assert_eq!(late.expect_err("it stands still").kind(), ErrorKind::Timeout);
    assert!(vcpus.is_ok(), "{vcpus:?}");
    guest.resume().await.expect("resumed");
    assert_eq!(guest.hostname().await.expect("in step again"), "agent-guest");

    let mut events = connection.events();
    guest.sleep(SleepTarget::Memory).await.expect("it was told");
    let asleep = async { while events.recv().await.expect("an event").kind != EventKind::Asleep {} };
    tokio::time::timeout(WITHIN, asleep).await.expect("it sleeps");
    let late = guest.agent_command("{\"execute\": \"guest-ping\"}", Duration::from_millis(500)).await;
    let late = late.expect_err("it sleeps");
    assert!(matches!(late.kind(), ErrorKind::Timeout | ErrorKind::InvalidState), "{late}");
    guest.wake().await.expect("woken");
    while let Err(error) = guest.hostname().await {
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::InvalidState), "{error}");
    }
    guest.reboot(Shutdown::Agent).await.expect("it was told");
    let rebooted = async { while events.recv().await.expect("an event").kind != EventKind::Rebooted {} };
    tokio::time::timeout(WITHIN, rebooted).await.expect("it reboots");
    let back = async {
        while let Err(error) = guest.hostname().await {
            assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::InvalidState), "{error}");
        }
    };
    tokio::time::timeout(WITHIN, back).await.expect("its agent is back");
    guest.shutdown(Shutdown::Agent).await.expect("it was told");
    let stopped = async { while !matches!(events.recv().await.expect("an event").kind, EventKind::Stopped { .. }) {} };
    tokio::time::timeout(WITHIN, stopped).await.expect("it powered off");
}

#[tokio::test]
async fn a_balloon_tells_of_the_guests_memory() {
    let Some((_root, _connection, guest)) = ready("agent-memory").await else { return };
    let query = StatsQuery::new(StatsGroup::Balloon.into()).within(WITHIN);
    guest.set_memory_polling(Duration::from_secs(1), Affect::Live).await.expect("set");
    let told = async {
        loop {
            let numbers = guest.statistics(&query).await.expect("numbers").numbers;
            let memory = numbers.balloon.expect("memory");
            if memory.last_update.is_some() {
                break memory;
            }
            tokio::task::yield_now().await;
        }
    };
    let memory = tokio::time::timeout(WITHIN, told).await.expect("the guest told");
    let available = memory.available.expect("what it sees").0;
    assert!(available > 100 << 10 && available < 256 << 10, "{memory:?}");
    assert!(memory.unused.expect("what it does not use").0 < available && memory.minor_faults.expect("faults") > 0);
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test]
async fn a_guest_without_a_channel_says_what_to_add() {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    let guest = connection.define(&polyvirt_tests::small_guest("qemu", "agent-none")).await.expect("defined").guest;
    assert_eq!(guest.hostname().await.expect_err("off").kind(), ErrorKind::InvalidState);
    guest.start(true).await.expect("started");
    let error = guest.hostname().await.expect_err("no channel");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.remedy().is_some_and(|it| it.contains("org.qemu.guest_agent.0")), "{error:?}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
