//! What happened on one root, by whichever process: one JSON line an event.
//!
//! Lines are appended whole under a lock of this process; a line is shorter than what the kernel appends in one go, so
//! lines of several processes do not mix. At [`SIZE_LIMIT`] the file becomes `history.1.jsonl` and a new one begins.

use std::{
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use polyvirt_core::{Event, EventKind, GuestRef, Result, io_error};
use tokio::sync::broadcast;

/// At this size the file is set aside.
const SIZE_LIMIT: u64 = 4 << 20;
/// Events that a slow subscriber may be behind.
const BACKLOG: usize = 1024;

/// Numbers, keeps and tells events. Clones share the numbering.
#[derive(Clone)]
pub(crate) struct History {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    epoch: u64,
    sequence: Mutex<u64>,
    told: broadcast::Sender<Event>,
}

impl History {
    pub(crate) fn new(run: &Path) -> Self {
        // Two processes never share an epoch: the clock and the process id, mixed.
        let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX));
        let epoch = now.wrapping_mul(1 << 12) ^ u64::from(std::process::id());
        let inner = Inner {
            path: run.join("history.jsonl"),
            epoch,
            sequence: Mutex::new(0),
            told: broadcast::Sender::new(BACKLOG),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The epoch of this process.
    pub(crate) fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// Events of this process from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.told.subscribe()
    }

    /// Numbers an event, tells it to the subscribers, and keeps it. That it cannot be kept is logged and no error: the thing has happened.
    pub(crate) fn tell(&self, guest: GuestRef, kind: EventKind) {
        let mut sequence = self.inner.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        *sequence += 1;
        let event = Event::new(self.inner.epoch, *sequence, guest, kind);
        if let Err(error) = self.keep(&event) {
            tracing::warn!(%error, "an event could not be kept");
        }
        // No subscriber is no error.
        let _ = self.inner.told.send(event);
    }

    fn keep(&self, event: &Event) -> Result<()> {
        let path = &self.inner.path;
        let mut line = serde_json::to_vec(event).map_err(|e| io_error("write an event to", path, e.into()))?;
        line.push(b'\n');
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|e| io_error("open", path, e))?;
        file.write_all(&line).map_err(|e| io_error("write an event to", path, e))?;
        if file.metadata().is_ok_and(|m| m.len() > SIZE_LIMIT) {
            std::fs::rename(path, path.with_extension("1.jsonl")).map_err(|e| io_error("set aside", path, e))?;
        }
        Ok(())
    }

    /// Where a reader that wants only what comes begins.
    pub(crate) fn end(&self) -> u64 {
        std::fs::metadata(&self.inner.path).map_or(0, |m| m.len())
    }

    /// Events of all processes that were kept after `from`, and where the next reading begins. Lines that are no events are passed over.
    pub(crate) fn read(&self, from: u64) -> Result<(Vec<Event>, u64)> {
        let path = &self.inner.path;
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(e) => return Err(io_error("read", path, e)),
        };
        let size = file.metadata().map_err(|e| io_error("read", path, e))?.len();
        // A shorter file is a new one.
        let from = if size < from { 0 } else { from };
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(from))
            .and_then(|_| file.take(SIZE_LIMIT * 2).read_to_end(&mut text))
            .map_err(|e| io_error("read", path, e))?;
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let events =
            text[..whole].split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        Ok((events, from + u64::try_from(whole).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_without_holes_and_read_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (History::new(dir.path()), History::new(dir.path()));
        let guest = GuestRef::new("g", "u", None);
        let mut told = one.subscribe();
        one.tell(guest.clone(), EventKind::Defined { updated: false });
        let (first, at) = two.read(0).unwrap();
        one.tell(guest.clone(), EventKind::Undefined);
        two.tell(guest, EventKind::Suspended);
        let (rest, end) = two.read(at).unwrap();
        assert_eq!(first.iter().chain(&rest).map(|e| e.sequence).collect::<Vec<_>>(), [1, 2, 1]);
        assert_eq!(told.try_recv().unwrap(), first[0]);
        assert_eq!(end, two.end());
    }

    #[test]
    fn half_a_line_waits_and_garbage_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path());
        std::fs::write(dir.path().join("history.jsonl"), "garbage\n{\"half").unwrap();
        assert_eq!(history.read(0).unwrap(), (vec![], 8));
    }
}
