//! Lines of the protocol: reading them within bounds, and what one says.

use std::io;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use crate::{
    Event, Timestamp,
    error::{CloseReason, ErrorClass, excerpt},
};

/// One line QEMU sends.
#[derive(Debug)]
pub(crate) enum Message {
    Greeting(Greeting),
    Reply { id: Option<u64>, outcome: Outcome },
    Event(Event),
}

/// What came of a command: its reply, still as text, or the refusal.
pub(crate) type Outcome = Result<Box<RawValue>, (ErrorClass, String)>;

#[derive(Debug, Deserialize)]
pub(crate) struct Greeting {
    pub(crate) version: crate::QemuVersion,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Greeting>,
    #[serde(rename = "return", default, deserialize_with = "present")]
    reply: Option<Box<RawValue>>,
    error: Option<Refusal>,
    id: Option<Value>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
    timestamp: Option<Timestamp>,
}

/// A reply of null is a reply: some properties have that value.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(from).map(Some)
}

#[derive(Deserialize)]
struct Refusal {
    class: String,
    desc: String,
}

/// Reads the next line into `line`. `false` at the end of the stream.
pub(crate) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    max: usize,
) -> Result<bool, CloseReason> {
    line.clear();
    loop {
        let available = match reader.fill_buf().await {
            // A peer that dies with our bytes unread resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => &[][..],
            other => other.map_err(CloseReason::Io)?,
        };
        let (taken, complete) = match available.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        if taken == 0 {
            return match line.is_empty() {
                true => Ok(false),
                false => Err(protocol("the connection ended within a line", line)),
            };
        }
        if line.len() + taken > max {
            line.extend_from_slice(&available[..taken.min(120)]);
            return Err(protocol(&format!("a line exceeds {max} bytes"), line));
        }
        line.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        if complete {
            return Ok(true);
        }
    }
}

/// What a line says.
pub(crate) fn parse(line: &[u8]) -> Result<Message, CloseReason> {
    let Line { greeting, reply, error, id, event, data, timestamp } =
        serde_json::from_slice(line).map_err(|error| protocol(&format!("a line is no message: {error}"), line))?;
    let id = match id {
        None => None,
        Some(id) => Some(id.as_u64().ok_or_else(|| protocol("an id that we never gave", line))?),
    };
    match (greeting, reply, error, event) {
        (Some(greeting), None, None, None) => Ok(Message::Greeting(greeting)),
        (None, Some(reply), None, None) => Ok(Message::Reply { id, outcome: Ok(reply) }),
        (None, None, Some(error), None) => {
            Ok(Message::Reply { id, outcome: Err((ErrorClass::from(error.class), error.desc)) })
        }
        (None, None, None, Some(name)) => {
            Ok(Message::Event(Event { name, data, timestamp: timestamp.unwrap_or_default() }))
        }
        _ => Err(protocol("a line is neither greeting, reply, error nor event", line)),
    }
}

pub(crate) fn protocol(problem: &str, line: &[u8]) -> CloseReason {
    CloseReason::Protocol { problem: problem.into(), excerpt: excerpt(line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn problem(result: Result<impl std::fmt::Debug, CloseReason>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn tells_the_kinds_of_lines_apart() {
        let greeting = br#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#;
        match parse(greeting).unwrap() {
            Message::Greeting(it) => {
                assert_eq!((it.version.major(), it.version.to_string()), (7, "7.2.22 (Debian)".into()))
            }
            other => panic!("{other:?}"),
        }
        match parse(br#"{"return": {"running": true}, "id": 7}"#).unwrap() {
            Message::Reply { id: Some(7), outcome: Ok(value) } => assert_eq!(value.get(), r#"{"running": true}"#),
            other => panic!("{other:?}"),
        }
        match parse(br#"{"return": null, "id": 7}"#).unwrap() {
            Message::Reply { id: Some(7), outcome: Ok(value) } => assert_eq!(value.get(), "null"),
            other => panic!("{other:?}"),
        }
        match parse(br#"{"id": 8, "error": {"class": "DeviceNotFound", "desc": "no such thing"}}"#).unwrap() {
            Message::Reply { id: Some(8), outcome: Err((ErrorClass::DeviceNotFound, text)) } => {
                assert_eq!(text, "no such thing");
            }
            other => panic!("{other:?}"),
        }
        match parse(br#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#).unwrap() {
            Message::Event(event) => assert_eq!((event.name.as_str(), event.timestamp.seconds), ("STOP", 1)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn garbage_is_named_with_its_beginning() {
        assert!(problem(parse(b"qemu: could not open disk\n")).ends_with("in 'qemu: could not open disk'"));
        for line in [
            &b"[]"[..],
            b"{}",
            br#"{"return": 1, "event": "X"}"#,
            br#"{"return": 1, "id": "x"}"#,
            br#"{"error": "x"}"#,
            br#"{"event": 3}"#,
            b"\xff\xfe",
        ] {
            assert!(!problem(parse(line)).is_empty());
        }
        let deep = [b"{\"return\":".to_vec(), vec![b'['; 5000]].concat();
        assert!(problem(parse(&deep)).len() < 400);
    }

    #[tokio::test]
    async fn lines_are_bounded() {
        let mut line = Vec::new();
        let mut reader = &b"12345\n123456\n"[..];
        assert!(read_line(&mut reader, &mut line, 6).await.unwrap());
        assert_eq!(line, b"12345\n");
        assert!(problem(read_line(&mut reader, &mut line, 6).await).contains("exceeds 6 bytes"));
        let mut reader = &b"123"[..];
        assert!(problem(read_line(&mut reader, &mut line, 6).await).contains("within a line"));
        assert!(!read_line(&mut &b""[..], &mut line, 6).await.unwrap());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes).ok();
        }

        #[test]
        fn never_panics_on_json(text in r#"\{("(return|error|event|id|QMP|data)":(1|"x"|\{\}|null|\[1\]),?){0,4}\}"#) {
            parse(text.as_bytes()).ok();
        }
    }
}
