//! Running the emulator for a moment to learn something from it, and its last words if that fails.

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use polyvirt_process::{Child, Credentials, KeptFd, Limit, Resource, SpawnError, SpawnSpec, Stdio, spawn};
use tokio::{io::AsyncReadExt, net::unix::pipe, task::JoinHandle, time::timeout};

/// What is kept of a program's error output: its end.
const WORDS: usize = 4096;

/// A program that runs for a moment. Killed and reaped by [`Brief::end`].
pub(crate) struct Brief {
    pub(crate) child: Child,
    words: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Brief {
    /// Starts it. Descriptors get the numbers that the arguments mention.
    pub(crate) async fn start(
        program: &Path,
        args: Vec<OsString>,
        keep: Vec<(OwnedFd, i32)>,
        user: Option<&Credentials>,
        within: Duration,
    ) -> Result<Self, SpawnError> {
        let refused = |source| SpawnError::Parent { program: program.to_owned(), action: "making a pipe", source };
        let (output, input) = std::io::pipe().map_err(refused)?;
        let mut output = pipe::Receiver::from_owned_fd(output.into()).map_err(refused)?;
        let mut spec = SpawnSpec::new(program);
        spec.args = args;
        spec.env = environment();
        spec.stdout = Stdio::Fd(input.try_clone().map_err(refused)?.into());
        spec.stderr = Stdio::Fd(input.into());
        spec.keep = keep.into_iter().map(|(fd, number)| KeptFd::new(fd, number)).collect();
        spec.credentials = user.cloned();
        // A QEMU that aborts on a KVM that is none is no reason to fill a disk.
        spec.limits = vec![(Resource::CoreFile, Limit::exactly(0))];
        let child = spawn(&spec)?.open_gate(within).await?;
        drop(spec);
        let words = Arc::new(Mutex::new(Vec::new()));
        let kept = words.clone();
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..count]);
                let surplus = kept.len().saturating_sub(WORDS);
                kept.drain(..surplus);
            }
        });
        Ok(Self { child, words, reader })
    }

    /// Kills it if it still runs, waits for it, and returns the last it said.
    pub(crate) async fn end(mut self) -> String {
        self.child.kill(polyvirt_process::Signal::SIGKILL).ok();
        let reaped = async {
            self.child.wait().await.ok();
            // Its output ends with it, unless it left a child of its own behind.
            (&mut self.reader).await.ok();
        };
        timeout(Duration::from_millis(500), reaped).await.ok();
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        last_lines(&words, 3)
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        self.reader.abort();
        self.child.kill(polyvirt_process::Signal::SIGKILL).ok();
    }
}

/// The environment of every QEMU of ours: messages in English, no configuration of a user.
pub(crate) fn environment() -> Vec<(OsString, OsString)> {
    [("LC_ALL", "C"), ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/")]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec()
}

/// The last lines of a program's output that say anything, without control characters.
pub(crate) fn last_lines(output: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = said[said.len().saturating_sub(count)..].join("; ");
    last.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_the_last_that_say_something() {
        assert_eq!(last_lines(b"one\n\ntwo\x1b[2J\nthree\n\n", 2), "two [2J; three");
        assert_eq!(last_lines(b"", 2), "");
    }

    #[tokio::test]
    async fn a_program_leaves_its_last_words_even_if_its_children_live() {
        let args = ["-c".into(), "echo first; echo last >&2; sleep 2 & exit 3".into()].to_vec();
        let brief = Brief::start(Path::new("/bin/sh"), args, Vec::new(), None, Duration::from_secs(20)).await.unwrap();
        assert_eq!(brief.child.wait().await.unwrap(), polyvirt_process::ExitStatus::Code(3));
        assert_eq!(brief.end().await, "first; last");
    }
}
