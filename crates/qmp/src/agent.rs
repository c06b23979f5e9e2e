//! The protocol of QEMU's guest agent (QGA): one command and one answer at a time, as lines of JSON.
//!
//! ```text
//! connect ─> 0xFF {guest-sync-delimited, id} ─> … 0xFF {return: id} ─> {command} ─> {return} | {error}
//! ```
//!
//! There is no greeting, and an answer carries no id. So every command is preceded by a synchronisation with a number that was
//! never used before: what is left of former callers, or of an agent that died half-way, is skipped up to the answer to it (QEMU Guest
//! Agent Protocol Reference, `guest-sync-delimited`). A connection is made for one command and closed behind it, because QEMU serves
//! one client per channel: who comes meanwhile waits in the socket's queue.
//!
//! The agent is a program of the guest, and the guest is not trusted: what is read is bounded in all ([`MAX_ANSWER`], [`MAX_SKIPPED`]) and
//! every step has the call's deadline.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::Instant,
};

use crate::{Command, error::excerpt};

/// Bytes of the longest answer that is taken.
pub const MAX_ANSWER: usize = 10 << 20;

/// Bytes that are skipped at most before the agent is in step: the longest answer that nobody took, and a little.
pub const MAX_SKIPPED: usize = MAX_ANSWER + (64 << 10);

/// Stands before what both sides can find again, and in no JSON.
const DELIMITER: u8 = 0xff;

/// Why a command to a guest's agent failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The channel's socket cannot be reached.
    #[error("cannot connect to the channel of the guest agent '{path}': {source}", path = path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The channel closed before there was an answer.
    #[error("the channel of the guest agent closed before it answered '{command}'")]
    Closed {
        /// The command.
        command: String,
    },
    /// No answer in time. The agent may still execute the command.
    #[error("no answer of the guest agent to '{command}' within {after:?}")]
    Timeout {
        /// The command; `guest-sync-delimited` if it does not even get in step.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The agent refused the command.
    #[error("the guest agent refused '{command}': {description}")]
    Refused {
        /// The command.
        command: String,
        /// The class of the refusal, such as `CommandNotFound`.
        class: String,
        /// The agent's own words.
        description: String,
    },
    /// What came is no answer.
    #[error("the guest agent answers '{command}' with what is no answer: {problem}")]
    Nonsense {
        /// The command.
        command: String,
        /// What is wrong.
        problem: String,
    },
    /// The command cannot be written down.
    #[error("cannot encode '{command}': {problem}")]
    Encode {
        /// The command.
        command: String,
        /// Why.
        problem: String,
    },
}

/// What an agent sends.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "return", default, deserialize_with = "present")]
    reply: Option<Box<RawValue>>,
    error: Option<Refusal>,
}

/// A reply of null is a reply.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(from).map(Some)
}

#[derive(Deserialize)]
struct Refusal {
    class: String,
    desc: String,
}

#[derive(Serialize)]
struct Wire<'a, T> {
    execute: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<T>,
}

/// What comes of a command that the agent does not answer if it works (`success-response: false`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The channel closed: the guest went away.
    Closed,
    /// Nothing came in the time that a refusal may take.
    Silent,
}

/// Executes a command over the socket at `path` and waits for its answer, at most for `deadline`.
///
/// Dropping the future abandons the wait and the connection; the agent may execute the command.
///
/// # Errors
/// Any of [`AgentError`].
pub async fn execute<C: Command>(path: &Path, command: &C, deadline: Duration) -> Result<C::Reply, AgentError> {
    let line = encode(C::NAME, command)?;
    let reply = within(deadline, C::NAME, connect_and_call(path, C::NAME, &line)).await?;
    serde_json::from_str(reply.get()).map_err(|error| nonsense(C::NAME, error))
}

/// Executes a whole command as it was written, `{"execute": …}`, and gives what the agent returns, its error included.
///
/// # Errors
/// `Encode` for what is no JSON object with `execute`; else as [`execute`], but `Refused`.
pub async fn execute_text(path: &Path, text: &str, deadline: Duration) -> Result<Value, AgentError> {
    let encode = |problem: &str| AgentError::Encode { command: "the command".into(), problem: problem.into() };
    let command: Value = serde_json::from_str(text).map_err(|error| encode(&error.to_string()))?;
    let name = command["execute"].as_str().ok_or_else(|| encode("it has no 'execute'"))?.to_owned();
    // On one line, whatever it was on.
    let mut line = command.to_string().into_bytes();
    line.push(b'\n');
    match within(deadline, &name, connect_and_call(path, &name, &line)).await {
        Ok(reply) => Ok(serde_json::json!({ "return": reply })),
        Err(AgentError::Refused { class, description, .. }) => {
            Ok(serde_json::json!({ "error": { "class": class, "desc": description } }))
        }
        Err(error) => Err(error),
    }
}

/// Executes a command that is not answered if it works. Once it is sent a refusal may take `patience`.
///
/// # Errors
/// As [`execute`]; `Timeout` only until it is sent.
pub async fn execute_unanswered<C: Command>(
    path: &Path,
    command: &C,
    deadline: Duration,
    patience: Duration,
) -> Result<Unanswered, AgentError> {
    let line = encode(C::NAME, command)?;
    let mut stream = within(deadline, C::NAME, async {
        let mut stream = connect(path).await?;
        synchronise(&mut stream).await?;
        send(&mut stream, C::NAME, &line).await?;
        Ok(stream)
    })
    .await?;
    match tokio::time::timeout(patience, answer(&mut stream, C::NAME)).await {
        Err(_) => Ok(Unanswered::Silent),
        Ok(Err(AgentError::Closed { .. })) => Ok(Unanswered::Closed),
        Ok(Err(error)) => Err(error),
        // A friendlier agent than the reference.
        Ok(Ok(_)) => Ok(Unanswered::Silent),
    }
}

type Stream<S> = BufReader<S>;

async fn connect(path: &Path) -> Result<Stream<UnixStream>, AgentError> {
    let failed = |source| AgentError::Connect { path: path.into(), source: Arc::new(source) };
    Ok(BufReader::with_capacity(64 << 10, UnixStream::connect(path).await.map_err(failed)?))
}

async fn connect_and_call(path: &Path, name: &str, line: &[u8]) -> Result<Box<RawValue>, AgentError> {
    call(&mut connect(path).await?, name, line).await
}

/// One command over a connection.
async fn call<S>(stream: &mut Stream<S>, name: &str, line: &[u8]) -> Result<Box<RawValue>, AgentError>
where
    S: tokio::io::AsyncRead + AsyncWrite + Unpin,
{
    synchronise(stream).await?;
    send(stream, name, line).await?;
    answer(stream, name).await
}

async fn within<T>(
    deadline: Duration,
    name: &str,
    work: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    let began = Instant::now();
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(AgentError::Timeout { command: name.into(), after: began.elapsed().min(deadline) }))
}

const SYNC: &str = "guest-sync-delimited";

/// Gets in step: skips what is old up to the answer to a number that is new.
async fn synchronise<S>(stream: &mut Stream<S>) -> Result<(), AgentError>
where
    S: tokio::io::AsyncRead + AsyncWrite + Unpin,
{
    let id = new_number();
    let mut line = vec![DELIMITER];
    line.extend(encode(SYNC, &serde_json::json!({ "id": id }))?);
    send(stream, SYNC, &line).await?;
    let mut skipped = 0;
    loop {
        skipped += skip_past_delimiter(stream, MAX_SKIPPED.saturating_sub(skipped)).await?;
        // Its own answers are short; a longer line is of something else.
        let (line, whole) = read_line(stream, SYNC, 4096).await?;
        skipped += line.len();
        if skipped > MAX_SKIPPED {
            return Err(nonsense(SYNC, format!("{skipped} bytes, and not the answer")));
        }
        if !whole {
            continue;
        }
        let answer: Option<Answer> = serde_json::from_slice(&line).ok();
        if answer.and_then(|it| it.reply).is_some_and(|it| it.get().trim() == id.to_string()) {
            return Ok(());
        }
    }
}

/// A number that no former caller had: below 2⁵³, because some agents calculate with floating point.
fn new_number() -> u64 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let number = bytes.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    number & ((1 << 53) - 1)
}

async fn skip_past_delimiter(stream: &mut (impl AsyncBufRead + Unpin), most: usize) -> Result<usize, AgentError> {
    let mut skipped = 0;
    loop {
        let available = stream.fill_buf().await.map_err(|error| nonsense(SYNC, error))?;
        if available.is_empty() {
            return Err(AgentError::Closed { command: SYNC.into() });
        }
        let found = available.iter().position(|byte| *byte == DELIMITER);
        let taken = found.map_or(available.len(), |at| at + 1);
        stream.consume(taken);
        skipped += taken;
        if found.is_some() {
            return Ok(skipped);
        }
        if skipped > most {
            return Err(nonsense(SYNC, format!("{most} bytes and no end of it")));
        }
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), name: &str, line: &[u8]) -> Result<(), AgentError> {
    let sent = async {
        stream.write_all(line).await?;
        stream.flush().await
    };
    sent.await.map_err(|_| AgentError::Closed { command: name.into() })
}

/// The answer to a command that was sent.
async fn answer(stream: &mut (impl AsyncBufRead + Unpin), name: &str) -> Result<Box<RawValue>, AgentError> {
    let (line, whole) = read_line(stream, name, MAX_ANSWER).await?;
    if !whole {
        return Err(nonsense(name, format!("it exceeds {MAX_ANSWER} bytes, and begins {}", excerpt(&line))));
    }
    let answer: Answer = serde_json::from_slice(&line).map_err(|error| nonsense(name, error))?;
    match answer {
        Answer { reply: Some(reply), error: None } => Ok(reply),
        Answer { reply: None, error: Some(Refusal { class, desc }) } => {
            Err(AgentError::Refused { command: name.into(), class, description: desc })
        }
        _ => Err(nonsense(name, format!("neither return nor error in {}", excerpt(&line)))),
    }
}

/// A line without its end, and whether it came whole within `most` bytes.
async fn read_line(
    stream: &mut (impl AsyncBufRead + Unpin),
    name: &str,
    most: usize,
) -> Result<(Vec<u8>, bool), AgentError> {
    let mut line = Vec::new();
    let mut bounded = stream.take(most as u64 + 1);
    bounded.read_until(b'\n', &mut line).await.map_err(|error| nonsense(name, error))?;
    match line.pop() {
        Some(b'\n') => Ok((line, true)),
        Some(last) if line.len() >= most => {
            line.push(last);
            Ok((line, false))
        }
        _ => Err(AgentError::Closed { command: name.into() }),
    }
}

fn encode(name: &str, arguments: &impl Serialize) -> Result<Vec<u8>, AgentError> {
    let encode = || {
        let arguments = serde_json::value::to_raw_value(arguments)?;
        let arguments = Some(arguments).filter(|it| !matches!(it.get(), "{}" | "null"));
        serde_json::to_vec(&Wire { execute: name, arguments })
    };
    let mut line: Vec<u8> =
        encode().map_err(|error| AgentError::Encode { command: name.into(), problem: error.to_string() })?;
    line.push(b'\n');
    Ok(line)
}

fn nonsense(name: &str, problem: impl std::fmt::Display) -> AgentError {
    AgentError::Nonsense { command: name.into(), problem: problem.to_string() }
}

pub mod commands;
#[cfg(test)]
mod tests;
