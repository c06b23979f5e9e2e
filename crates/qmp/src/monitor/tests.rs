//! A scripted peer for what goes wrong on the wire, and a real QEMU for what goes right.

use std::process::Stdio;

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, Lines},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

use super::*;
use crate::*;

const WITHIN: Duration = Duration::from_secs(20);
const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

/// The other end of the socket, doing what a test tells it.
struct Peer {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Peer {
    async fn say(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).await.unwrap();
        self.writer.write_all(b"\r\n").await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().expect("the monitor hung up")).unwrap()
    }

    async fn answer(&mut self, expected: &str, reply: Value) {
        let request = self.hear().await;
        assert_eq!(request["execute"], expected);
        self.say(&json!({"return": reply, "id": request["id"]}).to_string()).await;
    }
}

fn peer() -> (UnixStream, Peer) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (reader, writer) = theirs.into_split();
    (ours, Peer { lines: BufReader::new(reader).lines(), writer })
}

async fn connected_with(options: Options) -> (Monitor, Events, Peer) {
    let (ours, mut peer) = peer();
    let shake = async {
        peer.say(GREETING).await;
        peer.answer("qmp_capabilities", json!({})).await;
    };
    let (monitor, ()) = tokio::join!(Monitor::over(ours, options, WITHIN), shake);
    let (monitor, events) = monitor.unwrap();
    (monitor, events, peer)
}

async fn connected() -> (Monitor, Events, Peer) {
    connected_with(Options::default()).await
}

#[tokio::test]
async fn replies_find_their_commands_in_any_order() {
    let (monitor, _events, mut peer) = connected().await;
    let reversed = async {
        let first = peer.hear().await;
        let second = peer.hear().await;
        for (request, running) in [(second, true), (first, false)] {
            let reply = json!({"return": {"running": running, "status": "whatever-2040"}, "id": request["id"]});
            peer.say(&reply.to_string()).await;
        }
    };
    let (first, second, ()) =
        tokio::join!(monitor.execute(&QueryStatus {}, WITHIN), monitor.execute(&QueryStatus {}, WITHIN), reversed);
    assert!(!first.unwrap().running);
    let second = second.unwrap();
    assert!(second.running);
    assert_eq!(second.status, RunState::Other("whatever-2040".into()));
}

#[tokio::test]
async fn arguments_are_sent_and_refusals_keep_their_words() {
    let (monitor, _events, mut peer) = connected().await;
    let refuse = async {
        let request = peer.hear().await;
        assert_eq!(request["execute"], "qom-get");
        assert_eq!(request["arguments"], json!({"path": "/machine", "property": "x"}));
        let error = json!({"error": {"class": "GenericError", "desc": "Property 'x' not found"}, "id": request["id"]});
        peer.say(&error.to_string()).await;
        let request = peer.hear().await;
        assert!(request.get("arguments").is_none(), "{request}");
        peer.say(&json!({"return": [], "id": request["id"]}).to_string()).await;
    };
    let ask = async {
        let error = monitor.execute(&QomGet { path: "/machine", property: "x" }, WITHIN).await.unwrap_err();
        assert!(matches!(error, QmpError::Refused { class: ErrorClass::Generic, .. }));
        assert_eq!(error.to_string(), "'qom-get' was refused: Property 'x' not found");
        let error = monitor.execute(&QueryStatus {}, WITHIN).await.unwrap_err();
        assert!(matches!(error, QmpError::Unexpected { .. }), "{error}");
    };
    tokio::join!(refuse, ask);
}

#[tokio::test]
async fn events_come_in_order_and_gaps_are_told() {
    let (monitor, mut events, mut peer) = connected_with(Options { events: 4, ..Options::default() }).await;
    for number in 0..10 {
        let event = json!({"event": "E", "data": number, "timestamp": {"seconds": 1, "microseconds": number}});
        peer.say(&event.to_string()).await;
    }
    // A reply after the events: they all have arrived then.
    let (reply, ()) = tokio::join!(monitor.execute(&Stop {}, WITHIN), peer.answer("stop", json!({})));
    reply.unwrap();
    assert_eq!(events.next().await, Err(EventError::Lagged(6)));
    for number in 6..10 {
        assert_eq!(events.next().await.unwrap().data, json!(number));
    }
    let mut later = monitor.subscribe().unwrap();
    drop(peer);
    assert_eq!(events.next().await, Err(EventError::Closed));
    assert_eq!(later.next().await, Err(EventError::Closed));
}

#[tokio::test(start_paused = true)]
async fn silence_costs_only_the_deadline() {
    let (monitor, _events, mut peer) = connected().await;
    let error = monitor.execute(&Stop {}, Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to 'stop' within 5s; the hypervisor may be stopped or stuck");
    // The late reply harms nobody.
    let late = peer.hear().await;
    peer.say(&json!({"return": {}, "id": late["id"]}).to_string()).await;
    let (reply, ()) = tokio::join!(monitor.execute(&Cont {}, WITHIN), peer.answer("cont", json!({})));
    reply.unwrap();
}

#[tokio::test]
async fn what_was_given_up_in_the_queue_is_never_sent() {
    let (monitor, _events, mut peer) = connected().await;
    // More than the socket holds, so the writer is stuck in it until the peer reads.
    let big = json!({"x": "y".repeat(8 << 20)});
    let stuck = monitor.execute_raw("big", &big, WITHIN);
    let impatient = async {
        let error = monitor.execute(&SystemReset {}, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, QmpError::Timeout { .. }), "{error}");
        let answers = async {
            peer.answer("big", json!(null)).await;
            peer.answer("stop", json!({})).await;
        };
        let (stop, ()) = tokio::join!(monitor.execute(&Stop {}, WITHIN), answers);
        stop.unwrap();
    };
    let (big, ()) = tokio::join!(stuck, impatient);
    big.unwrap();
}

#[tokio::test]
async fn the_end_of_the_hypervisor_is_told_to_all() {
    let (monitor, _events, mut peer) = connected().await;
    let end = async {
        peer.hear().await;
        peer.hear().await;
        drop(peer);
    };
    let (one, two, ()) = tokio::join!(monitor.execute(&Stop {}, WITHIN), monitor.execute(&QueryStatus {}, WITHIN), end);
    for error in [one.unwrap_err(), two.unwrap_err(), monitor.execute(&Cont {}, WITHIN).await.unwrap_err()] {
        assert_eq!(error.to_string(), "the monitor is closed: the hypervisor closed the connection");
        assert!(error.is_closed());
    }
    assert!(monitor.subscribe().is_err());
    for task in &monitor.tasks {
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn replies_before_the_end_still_count() {
    let (monitor, _events, mut peer) = connected().await;
    let quit = async {
        peer.answer("quit", json!({})).await;
        drop(peer);
    };
    let (reply, ()) = tokio::join!(monitor.execute(&Quit {}, WITHIN), quit);
    reply.unwrap();
}

#[tokio::test]
async fn garbage_ends_the_connection_and_is_shown() {
    for (garbage, expected) in [
        ("qemu: oops\u{1b}[2J", "in 'qemu: oops [2J'"),
        (GREETING, "a second greeting"),
        (r#"{"return": {}}"#, "a reply to nothing we asked"),
        (r#"{"return": {}, "id": -1}"#, "an id that we never gave"),
        ("0123456789012345678901234567890123456789012345678901234567890123456789", "exceeds 200 bytes"),
    ] {
        let text = if expected.starts_with("exceeds") { garbage.repeat(10) } else { garbage.to_owned() };
        let (monitor, mut events, mut peer) = connected_with(Options { max_line: 200, ..Options::default() }).await;
        peer.say(&text).await;
        assert_eq!(events.next().await, Err(EventError::Closed));
        let error = monitor.execute(&Stop {}, WITHIN).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        assert!(monitor.close_reason().is_some());
    }
}

#[tokio::test]
async fn an_event_that_is_too_large_is_no_event() {
    let (monitor, mut events, mut peer) = connected_with(Options { max_event: 100, ..Options::default() }).await;
    peer.say(&json!({"event": "E", "data": "x".repeat(100)}).to_string()).await;
    assert_eq!(events.next().await, Err(EventError::Closed));
    assert!(monitor.close_reason().unwrap().to_string().contains("an event exceeds 100 bytes"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_greet_is_given_up() {
    let (ours, _peer) = peer();
    let error = Monitor::over(ours, Options::default(), Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to 'greeting' within 3s; the hypervisor may be stopped or stuck");

    let (ours, mut peer) = peer_that_says("{\"event\": \"X\"}").await;
    let error = Monitor::over(ours, Options::default(), WITHIN).await.unwrap_err().to_string();
    assert!(error.contains("the first line is no greeting"), "{error}");
    assert!(peer.lines.next_line().await.unwrap().is_none(), "the connection stays open");
}

async fn peer_that_says(text: &str) -> (UnixStream, Peer) {
    let (ours, mut peer) = peer();
    peer.say(text).await;
    (ours, peer)
}

#[tokio::test]
async fn dropping_the_monitor_hangs_up() {
    let (monitor, mut events, mut peer) = connected().await;
    drop(monitor);
    assert!(peer.lines.next_line().await.unwrap().is_none());
    assert_eq!(events.next().await, Err(EventError::Closed));
}

#[tokio::test]
async fn nobody_behind_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let error = Monitor::connect(&path, WITHIN).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to the monitor '"), "{error}");
    assert!(error.is_closed());
}

/// A QEMU without a machine, killed when dropped. `None`, with the reason printed, if there is none here.
async fn qemu(directory: &Path) -> Option<(tokio::process::Child, std::path::PathBuf)> {
    let path = directory.join("monitor");
    let mut command = tokio::process::Command::new("qemu-system-x86_64");
    command.args(["-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp"]);
    command.arg(format!("unix:{},server=on,wait=off", path.display()));
    // It prints nothing; the end of its output is its end.
    let child = match command.kill_on_drop(true).stdin(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            let required = std::env::var("POLYVIRT_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|it| it == "qemu"), "qemu-system-x86_64: {error}");
            println!("skipped: qemu-system-x86_64: {error}");
            return None;
        }
    };
    let listening = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, listening).await.expect("QEMU made no socket");
    Some((child, path))
}

/// The socket file exists a moment before somebody listens on it.
async fn connect(path: &Path) -> (Monitor, Events) {
    loop {
        match Monitor::connect(path, WITHIN).await {
            Err(QmpError::Connect { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_real_qemu_answers_all_commands() {
    let directory = tempfile::tempdir().unwrap();
    let Some((mut child, path)) = qemu(directory.path()).await else { return };
    let (monitor, mut events) = connect(&path).await;
    let status = monitor.execute(&QueryStatus {}, WITHIN).await.unwrap();
    assert_eq!(status, Status { running: false, status: RunState::Prelaunch });
    assert_eq!(&monitor.execute(&QueryVersion {}, WITHIN).await.unwrap(), monitor.version());
    assert!(monitor.version().at_least(5, 2), "{}", monitor.version());
    assert_eq!(monitor.execute(&QueryTarget {}, WITHIN).await.unwrap().arch, "x86_64");
    assert!(monitor.execute(&QueryUuid {}, WITHIN).await.unwrap().uuid.starts_with("00000000-"));
    let machines = monitor.execute(&QueryMachines {}, WITHIN).await.unwrap();
    assert!(machines.iter().any(|it| it.alias.as_deref() == Some("q35") && it.default_ram_id.is_some()));
    assert_eq!(machines.iter().filter(|it| it.is_default).count(), 1);
    let cpus = monitor.execute(&QueryCpuDefinitions {}, WITHIN).await.unwrap();
    assert!(cpus.iter().any(|it| it.name == "qemu64"));
    assert!(!monitor.execute(&QueryKvm {}, WITHIN).await.unwrap().enabled);
    assert!(monitor.execute(&QueryCpusFast {}, WITHIN).await.unwrap().is_empty());
    let commands = monitor.execute(&QueryCommands {}, WITHIN).await.unwrap();
    assert!(commands.iter().any(|it| it.name == "set-action"));
    assert!(monitor.execute(&QueryQmpSchema {}, WITHIN).await.unwrap().len() > 500);
    assert!(monitor.execute(&QueryIoThreads {}, WITHIN).await.unwrap().is_empty());
    assert_eq!(monitor.execute(&QueryChardev {}, WITHIN).await.unwrap().len(), 1);
    assert!(monitor.execute(&QueryMemdev {}, WITHIN).await.unwrap().is_empty());
    monitor.execute(&SetAction { panic: Some("pause"), ..SetAction::default() }, WITHIN).await.unwrap();
    let types = monitor.execute(&QomListTypes { implements: "device" }, WITHIN).await.unwrap();
    assert!(types.iter().any(|it| it.name == "virtio-blk-pci"));

    let size = json!({"size": 1 << 20});
    let add = ObjectAdd { qom_type: "memory-backend-ram", id: "ram0", properties: size.as_object().unwrap() };
    monitor.execute(&add, WITHIN).await.unwrap();
    let memory = monitor.execute(&QueryMemdev {}, WITHIN).await.unwrap();
    assert_eq!(
        (memory[0].id.as_deref(), memory[0].size, memory[0].policy.as_str()),
        (Some("ram0"), 1 << 20, "default")
    );
    let property = QomGet { path: "/objects/ram0", property: "size" };
    assert_eq!(monitor.execute(&property, WITHIN).await.unwrap(), json!(1 << 20));
    assert!(!monitor.execute(&QomList { path: "/objects" }, WITHIN).await.unwrap().is_empty());
    monitor.execute(&ObjectDel { id: "ram0" }, WITHIN).await.unwrap();

    let error = monitor.execute(&QueryBalloon {}, WITHIN).await.unwrap_err();
    assert!(matches!(error, QmpError::Refused { class: ErrorClass::DeviceNotActive, .. }), "{error}");
    let error = monitor.execute_raw("no-such-command", &Value::Null, WITHIN).await.unwrap_err();
    assert!(matches!(error, QmpError::Refused { class: ErrorClass::CommandNotFound, .. }), "{error}");

    monitor.execute(&Quit {}, WITHIN).await.unwrap();
    assert_eq!(events.next().await.unwrap().name, "SHUTDOWN");
    assert_eq!(events.next().await, Err(EventError::Closed));
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_second_client_gets_its_turn_when_the_first_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_child, path)) = qemu(directory.path()).await else { return };
    let (first, _events) = connect(&path).await;
    let error = Monitor::connect(&path, Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, QmpError::Timeout { .. }), "{error}");
    drop(first);
    let (second, _events) = connect(&path).await;
    second.execute(&QueryStatus {}, WITHIN).await.unwrap();
}

#[tokio::test]
async fn a_stopped_qemu_times_out_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let Some((child, path)) = qemu(directory.path()).await else { return };
    let (monitor, _events) = connect(&path).await;
    let signal = |name: &'static str| {
        let pid = child.id().unwrap().to_string();
        async move { tokio::process::Command::new("kill").args([name, &pid]).status().await.unwrap() }
    };
    assert!(signal("-STOP").await.success());
    let error = monitor.execute(&QueryStatus {}, Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, QmpError::Timeout { .. }), "{error}");
    assert!(signal("-CONT").await.success());
    monitor.execute(&QueryStatus {}, WITHIN).await.unwrap();
}
