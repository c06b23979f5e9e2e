//! A QEMU whose monitor misbehaves: somebody sits between it and us, and meddles with what it says.

use std::{path::PathBuf, time::Duration};

use polyvirt::{Connection, Destroy, ErrorKind, Guest, GuestState, Ownership, StatsGroups, StatsQuery};
use polyvirt_tests::{Root, connect, monitor_of, no_qemu, root, small_guest};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

/// Two guests that run, of which nobody holds the monitors between two calls.
async fn guests() -> Option<(Root, Connection, Guest, Guest)> {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return None;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |options| options.ownership = Ownership::WhileBusy).await;
    let mut guests = Vec::new();
    for name in ["victim", "bystander"] {
        let guest = connection.define(&small_guest("qemu", name)).await.expect("defined").guest;
        guest.start(true).await.expect("started");
        guests.push(guest);
    }
    let bystander = guests.pop()?;
    Some((root, connection, guests.pop()?, bystander))
}

/// What is done to what QEMU says.
#[derive(Clone, Copy)]
enum Meddling {
    /// Events that nobody knows come before every line.
    UnknownEvents,
    /// Replies that arrive together leave the last first.
    Backwards,
    /// A line of so many bytes comes before the first reply.
    Large(usize),
    /// A reply to a question that nobody asked comes before every line.
    Unasked,
}

/// Sits at the place of a guest's monitor until it is dropped.
struct Meddler {
    path: PathBuf,
    real: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Meddler {
    fn at(path: PathBuf, how: Meddling) -> Self {
        let real = path.with_extension("real");
        std::fs::rename(&path, &real).expect("moved aside");
        let listener = UnixListener::bind(&path).expect("in its place");
        let to = real.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let qemu = UnixStream::connect(&to).await.expect("the real monitor");
                // QEMU has one client at a time, and so has this.
                meddle(client, qemu, how).await.ok();
            }
        });
        Self { path, real, task }
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.task.abort();
        std::fs::rename(&self.real, &self.path).expect("back in its place");
    }
}

async fn meddle(client: UnixStream, qemu: UnixStream, how: Meddling) -> std::io::Result<()> {
    let (mut asks, mut hears) = client.into_split();
    let (says, mut listens) = qemu.into_split();
    let forward = async {
        tokio::io::copy(&mut asks, &mut listens).await?;
        listens.shutdown().await
    };
    let back = async {
        let mut lines = BufReader::new(says).lines();
        let mut large = Some(how);
        while let Some(line) = lines.next_line().await? {
            let mut together = vec![line];
            match how {
                // Nothing comes before the greeting.
                _ if together[0].contains("\"QMP\"") => {}
                Meddling::UnknownEvents => {
                    let event = r#"{"event": "FROM_ANOTHER_AGE", "data": {"deep": [[[[{"er": null}]]]]}, "timestamp": {"seconds": 1, "microseconds": 2}}"#;
                    together.insert(0, event.to_owned());
                }
                Meddling::Unasked => together.insert(0, r#"{"return": {}, "id": "of nobody"}"#.to_owned()),
                Meddling::Large(bytes) if together[0].contains("\"id\"") && large.take().is_some() => {
                    let event =
                        r#"{"event": "LARGE", "timestamp": {"seconds": 1, "microseconds": 2}, "data": {"text": ""#;
                    together.insert(0, format!("{event}{}\"}}}}", "x".repeat(bytes)));
                }
                Meddling::Large(_) => {}
                Meddling::Backwards => {
                    // What comes within a moment comes together.
                    while let Ok(Ok(Some(line))) =
                        tokio::time::timeout(Duration::from_millis(30), lines.next_line()).await
                    {
                        together.push(line);
                    }
                    // The greeting and events keep their places.
                    let (mut replies, rest): (Vec<_>, Vec<_>) =
                        together.into_iter().partition(|line| line.contains("\"return\""));
                    replies.reverse();
                    together = rest.into_iter().chain(replies).collect();
                }
            }
            for line in together {
                hears.write_all(line.as_bytes()).await?;
                hears.write_all(b"\r\n").await?;
            }
        }
        hears.shutdown().await
    };
    tokio::select! {
        done = forward => done,
        done = back => done,
    }
}

/// Everything of the guest still works.
async fn works(guest: &Guest) {
    let told = guest.statistics(&StatsQuery::new(StatsGroups::all())).await.expect("numbers").numbers;
    assert!(told.missing.is_empty(), "{:?}", told.missing);
    guest.resume().await.unwrap_or_else(|error| panic!("{error}"));
    guest.suspend().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(guest.state().await.expect("a state"), GuestState::Paused);
}

async fn shrugs_off(how: Meddling) {
    let Some((root, _connection, victim, bystander)) = guests().await else { return };
    let meddler = Meddler::at(monitor_of(root.path(), "victim"), how);
    works(&victim).await;
    drop(meddler);
    works(&bystander).await;
    for guest in [victim, bystander] {
        guest.destroy(Destroy::default()).await.expect("destroyed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_events_are_passed_over() {
    shrugs_off(Meddling::UnknownEvents).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_may_come_in_any_order() {
    shrugs_off(Meddling::Backwards).await;
}

/// What cannot be QEMU's costs the call that met it, says so, and no guest.
async fn costs_a_call(how: Meddling, said: &str) {
    let Some((root, connection, victim, bystander)) = guests().await else { return };
    let meddler = Meddler::at(monitor_of(root.path(), "victim"), how);
    let error = victim.resume().await.expect_err("what it says cannot be read");
    println!("{error} {:?} | hint: {:?}", error.causes(), error.remedy());
    assert!(format!("{error} {:?}", error.causes()).contains(said), "{error}");
    assert!(error.remedy().is_some(), "{error}");
    works(&bystander).await;
    assert!(connection.list().await.expect("a list").iter().all(|it| it.state.is_active()));
    drop(meddler);
    works(&victim).await;
    for guest in [victim, bystander] {
        guest.destroy(Destroy::default()).await.expect("destroyed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_asked_for() {
    costs_a_call(Meddling::Unasked, "an id that we never gave").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_mebibyte() {
    costs_a_call(Meddling::Large(1 << 20), "exceeds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_65_mebibytes() {
    costs_a_call(Meddling::Large(65 << 20), "exceeds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_monitor_was_deleted_lives_and_can_be_ended() {
    let Some((root, connection, victim, bystander)) = guests().await else { return };
    std::fs::remove_file(monitor_of(root.path(), "victim")).expect("deleted");
    let error = victim.resume().await.expect_err("nobody can reach it");
    println!("{error} {:?} | hint: {:?}", error.causes(), error.remedy());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.remedy().is_some(), "{error}");
    let view = victim.view().await.expect("a view");
    assert!(view.live.is_some() && view.entry.state.is_active(), "{:?}", view.entry);
    // The kernel still knows it.
    let told = victim.statistics(&StatsQuery::new(StatsGroups::all())).await.expect("numbers").numbers;
    assert!(told.cpu.is_some(), "{told:?}");
    works(&bystander).await;
    victim.destroy(Destroy::default()).await.expect("destroyed");
    assert!(!victim.state().await.expect("a state").is_active());
    victim.start(true).await.expect("it starts again");
    works(&victim).await;
    for guest in [victim, bystander] {
        guest.destroy(Destroy::default()).await.expect("destroyed");
    }
    assert!(connection.list().await.expect("a list").iter().all(|it| !it.state.is_active()));
}
