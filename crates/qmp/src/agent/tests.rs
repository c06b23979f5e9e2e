//! Against a stand-in for an agent: a socket on which this test answers, truly or not.

use tokio::net::UnixListener;

use super::*;

const WITHIN: Duration = Duration::from_secs(30);

/// What the stand-in does with the connection once it has read the synchronisation.
type Answers = fn(&str) -> Vec<Step>;

enum Step {
    /// Sends this.
    Say(Vec<u8>),
    /// Reads the next command.
    Hear,
    /// Says nothing more and keeps the connection.
    Hang,
}

fn say(text: &str) -> Step {
    Step::Say(text.as_bytes().to_vec())
}

/// The true answer to a synchronisation.
fn in_step(id: &str) -> Step {
    let mut bytes = vec![DELIMITER];
    bytes.extend(format!("{{\"return\": {id}}}\n").into_bytes());
    Step::Say(bytes)
}

struct StandIn {
    directory: tempfile::TempDir,
}

impl StandIn {
    fn new(answers: Answers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent")).unwrap();
        tokio::spawn(async move {
            // One client at a time, as QEMU serves them.
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let mut line = Vec::new();
                if stream.read_until(b'\n', &mut line).await.is_err() || line.first() != Some(&DELIMITER) {
                    continue;
                }
                let sync: Value = serde_json::from_slice(&line[1..]).unwrap();
                assert_eq!(sync["execute"], SYNC);
                for step in answers(&sync["arguments"]["id"].to_string()) {
                    match step {
                        Step::Say(bytes) => drop(stream.write_all(&bytes).await),
                        Step::Hear => drop(stream.read_until(b'\n', &mut line).await),
                        Step::Hang => drop(stream.read_to_end(&mut line).await),
                    }
                }
            }
        });
        Self { directory }
    }

    async fn name(&self, within: Duration) -> Result<String, AgentError> {
        let asked = execute(&self.directory.path().join("agent"), &commands::GetHostName {}, within).await;
        asked.map(|it| it.host_name)
    }
}

const NAMED: &str = "{\"return\": {\"host-name\": \"guest\"}}\n";

#[tokio::test]
async fn an_honest_agent_is_heard_again_and_again() {
    let agent = StandIn::new(|id| vec![in_step(id), Step::Hear, say(NAMED)]);
    for _ in 0..3 {
        assert_eq!(agent.name(WITHIN).await.unwrap(), "guest");
    }
    let path = agent.directory.path().join("agent");
    let told = execute_text(&path, "{\"execute\":\n\"guest-get-host-name\"}", WITHIN).await.unwrap();
    assert_eq!(told["return"]["host-name"], "guest");
    for text in ["", "[]", "{\"x\": 1}", "{\"execute\": 3}"] {
        assert!(matches!(execute_text(&path, text, WITHIN).await, Err(AgentError::Encode { .. })), "{text}");
    }
}

#[tokio::test]
async fn what_others_left_is_skipped() {
    let agent = StandIn::new(|id| {
        let old = [DELIMITER].iter().chain(b"{\"return\": 1}\n").copied().collect();
        let cut = [DELIMITER].iter().chain(b"{\"return\": {\"hos").copied().collect();
        vec![say("{\"return\": {}}\n{\"error\": "), Step::Say(old), Step::Say(cut), in_step(id), Step::Hear, say(NAMED)]
    });
    // The half answer has no end of its own: it ends with the line of the true one, and the next delimiter is waited for.
    let error = agent.name(Duration::from_millis(300)).await;
    assert!(error.is_ok() || matches!(error, Err(AgentError::Timeout { .. })), "{error:?}");
    let agent = StandIn::new(|id| {
        let old = [DELIMITER].iter().chain(b"{\"return\": 1}\n").copied().collect();
        vec![say("{\"return\": {}}\n{\"error\": "), Step::Say(old), in_step(id), Step::Hear, say(NAMED)]
    });
    assert_eq!(agent.name(WITHIN).await.unwrap(), "guest");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_agents_words() {
    let agent = StandIn::new(|id| {
        vec![
            in_step(id),
            Step::Hear,
            say("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no such thing\"}}\n"),
        ]
    });
    match agent.name(WITHIN).await {
        Err(AgentError::Refused { class, description, .. }) => {
            assert_eq!((class.as_str(), description.as_str()), ("CommandNotFound", "no such thing"));
        }
        other => panic!("{other:?}"),
    }
    let path = agent.directory.path().join("agent");
    let told = execute_text(&path, "{\"execute\": \"x\"}", WITHIN).await.unwrap();
    assert_eq!(told["error"]["desc"], "no such thing");
}

#[tokio::test]
async fn silent_agents_cost_their_caller_the_deadline() {
    let short = Duration::from_millis(50);
    for answers in [
        (|_| vec![Step::Hang]) as Answers,
        |_| vec![say("{\"return\": 1}\n"), Step::Hang],
        |id| vec![in_step(&format!("1{id}")), Step::Hang],
        |id| vec![in_step(id), Step::Hear, Step::Hang],
        |id| vec![in_step(id), Step::Hear, say("{\"return\": {\"host"), Step::Hang],
    ] {
        let error = StandIn::new(answers).name(short).await;
        assert!(matches!(error, Err(AgentError::Timeout { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn liars_are_found_out() {
    for (answers, problem) in [
        ((|id| vec![in_step(id), Step::Hear, say("hello\n")]) as Answers, "expected value"),
        (|id| vec![in_step(id), Step::Hear, say("{\"return\": 7}\n")], "invalid type"),
        (|id| vec![in_step(id), Step::Hear, say("{}\n")], "neither return nor error"),
        (
            |id| vec![in_step(id), Step::Hear, say("{\"return\": 1, \"error\": {\"class\": \"\", \"desc\": \"\"}}\n")],
            "neither",
        ),
        (|id| vec![in_step(id), Step::Hear, say(&("[".repeat(5000) + "\n"))], "EOF"),
        (|id| vec![in_step(id), Step::Hear, Step::Say(vec![b'x'; 64 << 20])], "exceeds 10485760 bytes"),
        (|_| vec![Step::Say(vec![b'x'; 64 << 20])], "no end of it"),
        (|_| vec![Step::Say(b"\xff{\"return\": 1}\n".repeat(2 << 20))], "not the answer"),
        (|id| vec![in_step(id), Step::Hear, say("{\"return\": {\"host-name\": \"\\ud800\"}}\n")], ""),
    ] {
        match StandIn::new(answers).name(WITHIN).await {
            Err(AgentError::Nonsense { problem: told, .. }) => assert!(told.contains(problem), "{told}"),
            other => panic!("{problem}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_end_is_an_end() {
    for answers in [
        (|_| vec![]) as Answers,
        |id| vec![in_step(id)],
        |id| vec![in_step(id), Step::Hear, say("{\"return\": {\"host")],
    ] {
        let error = StandIn::new(answers).name(WITHIN).await;
        assert!(matches!(error, Err(AgentError::Closed { .. } | AgentError::Nonsense { .. })), "{error:?}");
    }
    let nobody = execute(Path::new("/nonexistent/agent"), &commands::GetHostName {}, WITHIN).await;
    assert!(matches!(nobody, Err(AgentError::Connect { .. })), "{nobody:?}");
}

#[tokio::test]
async fn a_command_without_an_answer() {
    let off = commands::Shutdown { mode: "powerdown" };
    let gone = StandIn::new(|id| vec![in_step(id), Step::Hear]);
    let path = gone.directory.path().join("agent");
    assert_eq!(execute_unanswered(&path, &off, WITHIN, WITHIN).await.unwrap(), Unanswered::Closed);
    let quiet = StandIn::new(|id| vec![in_step(id), Step::Hear, Step::Hang]);
    let path = quiet.directory.path().join("agent");
    let done = execute_unanswered(&path, &off, WITHIN, Duration::from_millis(20)).await;
    assert_eq!(done.unwrap(), Unanswered::Silent);
    let refuses = StandIn::new(|id| {
        vec![in_step(id), Step::Hear, say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n")]
    });
    let path = refuses.directory.path().join("agent");
    assert!(matches!(execute_unanswered(&path, &off, WITHIN, WITHIN).await, Err(AgentError::Refused { .. })));
}
