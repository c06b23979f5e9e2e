//! `batch`: many ordinary commands in one process.
//!
//! A line in: `{"id": 17, "argv": ["uri", "parse", "--json", "…"]}`. A line out: `{"id": 17, "exit": 0, "stdout": "…", "stderr": ""}`.
//! A command that fails ends nothing and leaves nothing for the next.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{Done, Recordings};
use crate::output::Output;

/// The longest line that is read, in bytes.
const LINE_LIMIT: usize = 64 << 20;

#[derive(Deserialize)]
struct Request {
    id: serde_json::Value,
    argv: Vec<String>,
}

#[derive(Serialize)]
struct Reply {
    id: serde_json::Value,
    exit: u8,
    stdout: String,
    stderr: String,
}

pub(super) async fn batch(recordings: &Arc<Recordings>, out: &mut Output) -> Done {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    loop {
        line.clear();
        if read_line(&mut input, &mut line).await? == 0 {
            return Ok(());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let reply = answer(&line, recordings).await;
        out.line(&serde_json::to_string(&reply).map_err(std::io::Error::from)?);
        out.flush()?;
    }
}

/// Reads a line, but keeps no more than [`LINE_LIMIT`] of it.
async fn read_line(input: &mut BufReader<tokio::io::Stdin>, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut read = 0;
    loop {
        let part = input.fill_buf().await?;
        if part.is_empty() {
            return Ok(read);
        }
        let end = part.iter().position(|b| *b == b'\n');
        let taken = end.map_or(part.len(), |at| at + 1);
        let room = LINE_LIMIT.saturating_sub(line.len()).min(taken);
        line.extend_from_slice(&part[..room]);
        input.consume(taken);
        read += taken;
        if end.is_some() {
            return Ok(read);
        }
    }
}

async fn answer(line: &[u8], recordings: &Arc<Recordings>) -> Reply {
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => {
            let stderr = format!("error: not a command: {error}; write {{\"id\": 1, \"argv\": [\"uri\"]}}\n");
            return Reply { id: serde_json::Value::Null, exit: 2, stdout: String::new(), stderr };
        }
    };
    let mut inner = Output::buffers();
    if request.argv.first().is_some_and(|first| first == "batch") {
        let stderr = "error: a batch cannot hold a batch\n".to_owned();
        return Reply { id: request.id, exit: 2, stdout: String::new(), stderr };
    }
    let argv = std::iter::once("polyvirt".to_owned()).chain(request.argv).map(Into::into).collect();
    let exit = crate::run(argv, &mut inner, recordings.clone()).await;
    let (stdout, stderr) = inner.take();
    Reply { id: request.id, exit, stdout, stderr }
}
