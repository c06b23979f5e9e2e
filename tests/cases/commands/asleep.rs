//! A guest that sleeps, and is woken.

use std::time::{Duration, Instant};

use polyvirt::{Connection, Event, EventKind, GuestState};
use polyvirt_tests::{
    booted::{Booted, definition, no_image},
    connect,
};

use crate::Commands;

/// Generous: the machine may be busy. Nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(120);

const SLEEP: &str = "echo mem >/sys/power/state; echo up again";

impl Commands {
    /// Tries until the guest sleeps: nobody attends it who would hear of that.
    async fn wake(&self) {
        let began = Instant::now();
        loop {
            let (status, _, err) = self.run(&["dompmwakeup", "guest"]);
            if status == 0 {
                return;
            }
            assert!(err.contains("does not sleep, it is running"), "{err}");
            assert!(began.elapsed() < WITHIN, "it never sleeps");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn heard(events: &mut tokio::sync::broadcast::Receiver<Event>, wanted: &EventKind) {
    let hearing = async { while events.recv().await.expect("an event").kind != *wanted {} };
    tokio::time::timeout(WITHIN, hearing).await.unwrap_or_else(|_| panic!("{wanted:?} is not told"));
}

/// A Linux that can sleep. `None`, with the reason printed, where there is none.
async fn linux(connection: &Connection) -> Option<Booted> {
    if let Some(reason) = no_image() {
        println!("skipped: {reason}");
        return None;
    }
    let mut linux = Booted::start(connection, &definition("guest", "q35", "")).await;
    let can = linux.run("cat /sys/power/state").await;
    let sleeps = can.contains("mem");
    if !sleeps {
        println!("skipped: this kernel cannot sleep: {can:?}");
    }
    sleeps.then_some(linux)
}

// Each sleeps once: with QEMU 7.2 the reason for which a guest woke stays, so that the next sleep is over before it begins.

#[tokio::test(flavor = "multi_thread")]
async fn it_is_woken_by_whoever_comes() {
    let Some(it) = Commands::new() else { return };
    let connection = it.connection().await;
    let Some(mut linux) = linux(&connection).await else { return };
    assert!(it.refused(&["dompmwakeup", "guest"]).contains("does not sleep"));
    linux.begin(SLEEP).await;
    it.wake().await;
    linux.expect("up again").await;
    assert_eq!(it.ok(&["domstate", "guest"]).trim(), "running");
    it.ok(&["destroy", "guest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_attends_it_hears_of_its_sleep() {
    let Some(it) = Commands::new() else { return };
    let connection = connect("qemu", it.root.path(), |_| {}).await;
    let Some(mut linux) = linux(&connection).await else { return };
    let (guest, mut events) = (linux.guest.clone(), connection.events());
    linux.begin(SLEEP).await;
    heard(&mut events, &EventKind::Asleep).await;
    assert_eq!(guest.state().await.expect("a state"), GuestState::PmSuspended);
    assert_eq!(it.ok(&["domstate", "guest"]).trim(), "pmsuspended");
    guest.wake().await.expect("woken");
    heard(&mut events, &EventKind::Woken).await;
    linux.expect("up again").await;
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
}
