//! Runs another program: its output is shown as it comes, kept, and bounded in time.
//!
//! Standard output and standard error share one pipe, so that they stay in order. Standard input is empty.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, PipeReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::progress::Progress;

/// How long output may stay open after the program itself has ended.
const GRACE: Duration = Duration::from_secs(5);

/// What a program did.
pub(crate) struct Outcome {
    /// Everything it wrote.
    pub(crate) output: String,
    /// Its exit status, none after a signal.
    pub(crate) code: Option<i32>,
    /// Why it counts as failed.
    pub(crate) failure: Option<String>,
}

/// Runs `command` for at most `limit`; what it started is ended with it when the time is over.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run(command: &mut Command, limit: Duration, progress: &Progress) -> Result<Outcome, String> {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let (reader, writer) = std::io::pipe().map_err(|e| format!("no pipe for {name}: {e}"))?;
    let second = writer.try_clone().map_err(|e| format!("no pipe for {name}: {e}"))?;
    command.stdin(Stdio::null()).stdout(second).stderr(writer);
    let mut child = command.spawn().map_err(|e| format!("{name} does not start: {e}"))?;
    // The command keeps our write ends until it is given others; without this the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let lines = read_lines(reader);
    let (output, status, trouble) = follow(&mut child, &lines, limit, progress)?;
    let failure = trouble.or_else(|| (!status.success()).then(|| format!("{name}: {status}")));
    Ok(Outcome { output, code: status.code(), failure })
}

fn read_lines(reader: PipeReader) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receive
}

fn follow(
    child: &mut Child,
    lines: &Receiver<String>,
    limit: Duration,
    progress: &Progress,
) -> Result<(String, ExitStatus, Option<String>), String> {
    let started = Instant::now();
    let (mut output, mut ended, mut trouble) = (String::new(), None::<(ExitStatus, Instant)>, None);
    loop {
        let open = match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => {
                progress.tell(&line);
                output.push_str(&line);
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        if ended.is_none() {
            let status = if open { child.try_wait() } else { child.wait().map(Some) }
                .map_err(|e| format!("cannot wait for {}: {e}", child.id()))?;
            ended = status.map(|s| (s, Instant::now()));
        }
        match ended {
            Some((status, _)) if !open => return Ok((output, status, trouble)),
            Some((status, at)) if at.elapsed() > GRACE => {
                let left = "it ended, but left a process behind that holds its output open".to_owned();
                return Ok((output, status, trouble.or(Some(left))));
            }
            None if trouble.is_none() && started.elapsed() > limit => {
                trouble =
                    Some(format!("did not end within {} s and was killed with all it had started", limit.as_secs()));
                kill_tree(child.id());
            }
            _ => {}
        }
    }
}

/// Kills a process and all that descend from it.
fn kill_tree(root: u32) {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        // The name in parentheses may hold anything; the parent is the second field after it (proc(5)).
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).and_then(|p| p.parse().ok())
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut doomed = vec![root];
    let mut next = 0;
    while let Some(&pid) = doomed.get(next) {
        doomed.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    let pids = doomed.iter().map(u32::to_string);
    if let Err(error) = Command::new("kill").arg("-KILL").args(pids).stderr(Stdio::null()).status() {
        eprintln!("cannot run kill: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Outcome {
        run(Command::new("sh").args(["-c", script]), limit, &Progress::begin("test", "")).unwrap()
    }

    #[test]
    fn both_streams_are_kept_in_order() {
        let outcome = sh("echo one; echo two >&2; echo three", Duration::from_secs(60));
        assert_eq!(outcome.output, "one\ntwo\nthree\n");
        assert!(outcome.failure.is_none());
    }

    #[test]
    fn a_status_is_a_failure_and_told() {
        let outcome = sh("exit 3", Duration::from_secs(60));
        assert_eq!(outcome.code, Some(3));
        assert!(outcome.failure.unwrap().contains('3'));
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let outcome = sh("sleep 1000 & sleep 1000", Duration::from_millis(200));
        assert!(outcome.failure.unwrap().contains("did not end within"));
    }

    #[test]
    fn input_is_empty() {
        assert_eq!(sh("cat; echo end", Duration::from_secs(60)).output, "end\n");
    }
}
