//! Writing a guest's memory as a core.
//!
//! QEMU cannot be told to end a dump. So it writes into a pipe, and what comes out of it goes into the file: who closes the pipe, or dies,
//! ends the dump, and QEMU lets the guest go on. The guest's CPUs stand as long as QEMU writes.

use std::{fs::File, io::Write as _, os::fd::OwnedFd, sync::Arc, time::Duration};

use polyvirt_core::{CoreDump, DumpFormat, Error, ErrorKind, JobContext, JobProgress, JobStep, Result, async_trait};
use polyvirt_qmp::{CloseFd, DumpGuestMemory, DumpStatus, Event, EventError, Events, GetFd, QueryDump};
use tokio::{io::AsyncReadExt as _, net::unix::pipe};

use super::{ANSWER, QemuDomain};
use crate::failure::monitor_error;

/// What QEMU calls the descriptor.
const CORE: &str = "polyvirt-core";

/// How often QEMU is asked how far it is; its end is an event.
const TICK: Duration = Duration::from_millis(250);

/// How long QEMU may take to notice that nobody reads any more.
const ENDED: Duration = Duration::from_secs(30);

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

#[async_trait]
impl CoreDump for QemuDomain {
    async fn dump(&self, job: &JobContext, into: &Arc<File>, format: DumpFormat) -> Result<()> {
        job.cancel.check()?;
        let monitor = &self.shared.parts.monitor;
        let mut events = monitor.subscribe().map_err(|error| monitor_error(&error))?;
        let (ours, theirs) = pipe_pair()?;
        let handed = monitor.execute_with(&GetFd { fdname: CORE }, theirs, ANSWER).await;
        handed.map_err(|error| monitor_error(&error))?;
        let protocol = format!("fd:{CORE}");
        let begin = DumpGuestMemory { paging: false, protocol: &protocol, detach: true, format: Some(format.name()) };
        if let Err(error) = self.shared.execute(&begin).await {
            self.shared.execute(&CloseFd { fdname: CORE }).await.ok();
            let unsupported = error.message().contains("not supported") || error.message().contains("not available");
            let kind = if unsupported { ErrorKind::Unsupported } else { error.kind() };
            return Err(Error::new(kind, error.message().to_owned()).with("format", format.name()));
        }
        let written = async {
            job.reached(JobStep::Streaming).await?;
            let copied = copy(ours, into.clone());
            job.cancel.guard(self.until_whole(job, &mut events, copied)).await?
        };
        let written = written.await;
        if written.is_err()
            && let Err(error) = CoreDump::abandon(self).await
        {
            tracing::warn!(guest = self.shared.parts.live.config.name, %error, "QEMU does not end its dump");
        }
        written
    }

    async fn abandon(&self) -> Result<()> {
        let ended = async {
            while self.shared.execute(&QueryDump {}).await?.status == DumpStatus::Active {
                tokio::time::sleep(TICK / 10).await;
            }
            Ok(())
        };
        let late = |_| Error::new(ErrorKind::Timeout, format!("QEMU does not end its dump within {ENDED:?}"));
        tokio::time::timeout(ENDED, ended).await.map_err(late)?
    }
}

impl QemuDomain {
    /// Waits until all is copied and QEMU says that it wrote all.
    async fn until_whole(
        &self,
        job: &JobContext,
        events: &mut Events,
        copied: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let telling = async {
            loop {
                tokio::time::sleep(TICK).await;
                if let Ok(info) = self.shared.execute(&QueryDump {}).await {
                    let bytes = |it: i64| u64::try_from(it).unwrap_or(0);
                    job.progress(JobProgress::of(bytes(info.completed), bytes(info.total)));
                }
            }
        };
        let over = async {
            // What came through the pipe may be a part: what QEMU says of the end counts. If we could not write, that is the reason of both.
            let (said, copied) = tokio::join!(outcome(events), copied);
            copied.and(said)
        };
        tokio::select! {
            biased;
            done = over => done?,
            () = telling => {}
        }
        let info = self.shared.execute(&QueryDump {}).await?;
        let total = u64::try_from(info.total).unwrap_or(0);
        job.progress(JobProgress::of(total, total));
        Ok(())
    }
}

/// How QEMU says that a dump ended.
async fn outcome(events: &mut Events) -> Result<()> {
    loop {
        match events.next().await {
            Ok(event) if event.name == "DUMP_COMPLETED" => return read(&event),
            Ok(_) | Err(EventError::Lagged(_)) => {}
            Err(_) => return Err(Error::new(ErrorKind::Hypervisor, "QEMU ended before its dump did")),
        }
    }
}

fn read(event: &Event) -> Result<()> {
    match event.data["error"].as_str() {
        None if event.data["result"]["status"] == "completed" => Ok(()),
        why => {
            let why: String = why.unwrap_or("it does not say why").chars().take(200).collect();
            Err(Error::new(ErrorKind::Hypervisor, format!("QEMU could not write the core: {why}")))
        }
    }
}

fn pipe_pair() -> Result<(pipe::Receiver, OwnedFd)> {
    let failed = |error: std::io::Error| Error::new(ErrorKind::Internal, "cannot make a pipe").source(error);
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|error| failed(error.into()))?;
    // Larger steps are quicker; where a user may not have them, smaller ones do.
    let size = i32::try_from(CHUNK).unwrap_or(i32::MAX);
    nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETPIPE_SZ(size)).ok();
    Ok((pipe::Receiver::from_owned_fd(read).map_err(failed)?, write))
}

/// Copies until the other end is closed. Dropped, it closes the pipe.
async fn copy(mut from: pipe::Receiver, into: Arc<File>) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::new(ErrorKind::Storage, format!("cannot write the core: {error}")).source(error);
    let mut bytes = Vec::with_capacity(CHUNK);
    loop {
        let end = from.read_buf(&mut bytes).await.map_err(failed)? == 0;
        if bytes.len() == CHUNK || end {
            let file = into.clone();
            let written = tokio::task::spawn_blocking(move || (&*file).write_all(&bytes).map(|()| bytes)).await;
            let written =
                written.map_err(|error| Error::new(ErrorKind::Internal, "writing a core failed").source(error))?;
            bytes = written.map_err(failed)?;
            bytes.clear();
        }
        if end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_ends_as_qemu_says() {
        let event = |text: &str| Event::new("DUMP_COMPLETED", serde_json::from_str(text).unwrap());
        let whole = event(r#"{"result": {"total": 9, "status": "completed", "completed": 9}}"#);
        assert!(read(&whole).is_ok());
        let failed = event(
            r#"{"result": {"total": 9, "status": "failed", "completed": 3}, "error": "dump: failed to save memory"}"#,
        );
        assert!(read(&failed).unwrap_err().to_string().contains("failed to save memory"));
        assert!(read(&event("{}")).is_err());
    }
}
