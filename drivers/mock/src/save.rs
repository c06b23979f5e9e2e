//! A simulated guest in a file: its name, and a page of nothing for each of its pages.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    sync::Arc,
};

use polyvirt_core::{
    CoreDump, DumpFormat, Error, ErrorKind, GuestState, JobContext, JobProgress, JobStep, Result, SaveState,
    SavedStream, async_trait,
};

use crate::domain::MockDomain;

/// What a stream begins with.
const BEGIN: &str = "mock guest ";
/// Pages of any guest, and bytes of a page.
const PAGES: u64 = 16;
const PAGE: [u8; 4096] = [0; 4096];

#[async_trait]
impl SaveState for MockDomain {
    async fn save(&self, job: &JobContext, into: &SavedStream) -> Result<()> {
        self.alive()?;
        if self.guest.state() != GuestState::Paused {
            return Err(Error::new(ErrorKind::InvalidState, "a guest is saved while its CPUs stand"));
        }
        job.cancel.check()?;
        job.reached(JobStep::Streaming).await?;
        let begin = format!("{BEGIN}{}\n", self.guest.name);
        self.write(job, into.file(), &begin).await
    }

    async fn abandon(&self) -> Result<()> {
        // What a simulated guest writes ends with the call.
        self.alive()
    }
}

impl MockDomain {
    async fn write(&self, job: &JobContext, into: &File, begin: &str) -> Result<()> {
        let failed = |error| Error::new(ErrorKind::Storage, "cannot write the simulated guest").source(error);
        let mut file = into;
        file.write_all(begin.as_bytes()).map_err(failed)?;
        let size = PAGE.len() as u64;
        for page in 1..=PAGES {
            job.cancel.check()?;
            file.write_all(&PAGE).map_err(failed)?;
            job.progress(JobProgress::of(page * size, PAGES * size));
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[async_trait]
impl CoreDump for MockDomain {
    async fn dump(&self, job: &JobContext, into: &Arc<File>, format: DumpFormat) -> Result<()> {
        self.alive()?;
        if format != DumpFormat::Elf {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the mock hypervisor writes elf, not {}", format.name()),
            ));
        }
        job.cancel.check()?;
        job.reached(JobStep::Streaming).await?;
        self.write(job, into, "\x7fELF").await
    }

    async fn abandon(&self) -> Result<()> {
        self.alive()
    }
}

/// Reads what was saved of the guest of this name.
pub(crate) fn load(stream: &SavedStream, name: &str) -> Result<()> {
    let mut bytes = Vec::new();
    let read = (&**stream.file()).take(stream.length().min(1 << 20)).read_to_end(&mut bytes);
    read.map_err(|error| Error::new(ErrorKind::Storage, "cannot read the simulated guest").source(error))?;
    let begin = format!("{BEGIN}{name}\n");
    let whole = begin.len() as u64 + PAGES * PAGE.len() as u64;
    if !bytes.starts_with(begin.as_bytes()) || bytes.len() as u64 != whole {
        return Err(Error::new(ErrorKind::Hypervisor, format!("this is no stream of the simulated guest '{name}'")));
    }
    Ok(())
}
