//! Guests that are saved and restored, and what Ctrl+C leaves of that.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use polyvirt_tests::{
    counting::{counting_guest, next_number},
    processes_with,
};

use crate::{Commands, said};

/// Generous: the machine may be busy. Nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(120);
/// How often a job that was over before it was interrupted is begun again.
const TRIES: usize = 10;

impl Commands {
    /// What the guest counts to now.
    async fn number(&self) -> u32 {
        let connection = self.connection().await;
        next_number(&connection.lookup_by_name("guest").await.expect("found")).await
    }

    /// Whether something is on its way to a file of that name.
    fn writes(&self, name: &str) -> bool {
        let entries = std::fs::read_dir(self.root.path()).expect("the root");
        let names = entries.filter_map(|it| it.ok()?.file_name().into_string().ok());
        names.into_iter().any(|it| it != name && it.starts_with(name))
    }

    /// Begins something, presses Ctrl+C as soon as it is under way, and gives its first line on stderr. What was over before is taken
    /// back and begun again.
    fn interrupted(&self, args: &[&str], under_way: impl Fn() -> bool, back: impl Fn()) -> String {
        for _ in 0..TRIES {
            let mut child = self.begin(args);
            let began = Instant::now();
            while !under_way() && child.try_wait().expect("a child").is_none() {
                assert!(began.elapsed() < WITHIN, "{args:?} does not begin");
                std::thread::sleep(Duration::from_millis(1));
            }
            // It may be over.
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).ok();
            let (status, out, err) = said(&child.wait_with_output().expect("it ends"));
            if status == 0 {
                back();
                continue;
            }
            assert_eq!(status, 1, "{args:?}: {out}{err}");
            return err.lines().next().unwrap_or_default().to_owned();
        }
        panic!("{args:?} is always over before it is interrupted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_goes_into_a_file_and_comes_out_of_it() {
    let Some(it) = Commands::new() else { return };
    it.ok(&["define", &it.file("guest.in", &counting_guest("guest", it.root.path()))]);
    it.ok(&["start", "guest"]);
    let before = it.number().await;
    let file = it.path("vm.save");
    assert!(it.ok(&["save", "guest", &file]).contains("saved to"));
    assert_eq!(it.ok(&["domstate", "guest", "--reason"]).trim(), "shut off (saved)");
    assert!(it.ok(&["save-image-dumpxml", &file]).contains("<name>guest</name>"));
    assert!(it.refused(&["save", "guest", &file]).contains("not run"));
    it.ok(&["restore", &file]);
    let restored = it.number().await;
    assert!(restored >= before, "it counted to {before}, and goes on at {restored}");
    assert!(it.refused(&["restore", &file]).contains("already"));

    it.ok(&["suspend", "guest"]);
    it.ok(&["managedsave", "guest"]);
    assert!(
        it.ok(&["dominfo", "guest"]).lines().any(|line| line.starts_with("Managed save:") && line.ends_with("yes"))
    );
    assert!(it.ok(&["domjobinfo", "guest", "--completed"]).contains("Operation:        Save"));
    assert!(it.ok(&["managedsave-dumpxml", "guest"]).contains("<name>guest</name>"));
    assert!(it.refused(&["undefine", "guest"]).contains("managed save"));
    it.ok(&["start", "guest"]);
    assert_eq!(it.ok(&["domstate", "guest"]).trim(), "paused", "as it was when it was saved");
    assert!(it.ok(&["dominfo", "guest"]).lines().any(|line| line.starts_with("Managed save:") && line.ends_with("no")));
    it.ok(&["resume", "guest"]);
    let last = it.number().await;
    assert!(last >= restored, "it counted to {restored}, and goes on at {last}");

    it.ok(&["managedsave", "guest", "--paused"]);
    it.ok(&["managedsave-remove", "guest"]);
    it.ok(&["start", "guest"]);
    assert_eq!(it.ok(&["domstate", "guest", "--reason"]).trim(), "running (booted)");
    it.ok(&["destroy", "guest"]);
    it.ok(&["undefine", "guest"]);
}

/// Nothing of it takes time but its size.
const LARGE: &str = "<domain type='qemu'><name>guest</name><memory unit='GiB'>3</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><serial type='pty'/></devices></domain>";

#[test]
fn ctrl_c_says_what_it_left() {
    let Some(it) = Commands::new() else { return };
    it.ok(&["define", &it.file("guest.in", LARGE)]);
    it.ok(&["start", "guest"]);
    let file = it.path("vm.save");
    let said = it.interrupted(&["save", "guest", &file], || it.writes("vm.save"), || drop(it.ok(&["restore", &file])));
    assert!(said.contains("cancelled") && said.contains("running, as before"), "{said}");
    assert_eq!(it.ok(&["domstate", "guest", "--reason"]).trim(), "running (save canceled)");
    assert!(!it.writes("vm.save"), "what was written is gone");
    assert!(it.ok(&["domjobinfo", "guest", "--completed", "--anystats"]).starts_with("Job type:         Cancelled"));

    let core = it.path("vm.core");
    let said =
        it.interrupted(&["dump", "guest", &core], || it.writes("vm.core"), || std::fs::remove_file(&core).unwrap());
    assert!(said.contains("cancelled") && said.contains("as before"), "{said}");
    assert_eq!(it.ok(&["domstate", "guest"]).trim(), "running");
    assert!(!it.writes("vm.core") && !std::path::Path::new(&core).exists(), "what was written is gone");

    std::fs::remove_file(&file).ok();
    let uuid = it.ok(&["domuuid", "guest"]);
    let qemu = || !processes_with(&["qemu-system", uuid.trim()]).is_empty();
    it.ok(&["save", "guest", &file]);
    let before = std::fs::read(&file).expect("the file");
    let said = it.interrupted(&["restore", &file], qemu, || drop(it.ok(&["destroy", "guest"])));
    assert!(said.contains("interrupted: 'guest' does not run, and") && said.contains("is as it was"), "{said}");
    assert!(it.ok(&["domstate", "guest"]).starts_with("shut off") && !qemu());
    assert!(std::fs::read(&file).expect("the file") == before, "the file is as it was");
    it.ok(&["restore", &file]);
    assert_eq!(it.ok(&["domstate", "guest"]).trim(), "running");
    it.ok(&["destroy", "guest"]);
}
