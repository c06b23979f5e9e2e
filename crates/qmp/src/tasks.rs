//! The two tasks of a connection and what they share with the handle.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::AsyncBufRead,
    sync::{Notify, broadcast, mpsc, oneshot},
};

use crate::{
    CloseReason, Event, QmpError,
    codec::{Message, Outcome, parse, protocol, read_line},
    descriptor::Outgoing,
};

/// A command on its way to the writer.
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) line: Vec<u8>,
    /// What goes with it.
    pub(crate) descriptor: Option<OwnedFd>,
}

/// Who waits for which reply, and whether the connection stands.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told once, when the connection ends.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
    closed: Option<Arc<CloseReason>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave half a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a number in the queue.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Ticket, QmpError> {
        let mut state = self.state();
        if let Some(reason) = &state.closed {
            return Err(QmpError::Closed(reason.clone()));
        }
        state.last_id += 1;
        let id = state.last_id;
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(id, sender);
        Ok(Ticket { id, receiver, shared: self.clone() })
    }

    pub(crate) fn close_reason(&self) -> Option<Arc<CloseReason>> {
        self.state().closed.clone()
    }

    fn is_waiting(&self, id: u64) -> bool {
        self.state().waiting.contains_key(&id)
    }

    fn answer(&self, id: u64, outcome: Outcome) {
        let Some(waiting) = self.state().waiting.remove(&id) else {
            tracing::debug!(id, "reply to an abandoned command");
            return;
        };
        waiting.send(outcome).ok();
    }

    /// Ends the connection for everybody. The first reason stays.
    fn close(&self, reason: CloseReason) {
        let mut state = self.state();
        state.closed.get_or_insert_with(|| Arc::new(reason));
        // Those who wait learn it from their sender's end.
        state.waiting.clear();
        drop(state);
        self.ended.notify_one();
    }
}

/// The right to one reply. Dropping it abandons the wait.
pub(crate) struct Ticket {
    pub(crate) id: u64,
    receiver: oneshot::Receiver<Outcome>,
    shared: Arc<Shared>,
}

impl Ticket {
    /// `None` if the connection ended.
    pub(crate) async fn wait(mut self) -> Option<Outcome> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.state().waiting.remove(&self.id);
    }
}

/// The reading side. Its end, however it comes, ends the connection.
pub(crate) struct Reading {
    pub(crate) max_line: usize,
    pub(crate) max_event: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: broadcast::Sender<Event>,
}

impl Reading {
    pub(crate) async fn run(self, mut reader: impl AsyncBufRead + Unpin) {
        let mut line = Vec::new();
        let reason = loop {
            match read_line(&mut reader, &mut line, self.max_line).await {
                Ok(true) => {}
                Ok(false) => break CloseReason::EndOfFile,
                Err(reason) => break reason,
            }
            if let Err(reason) = self.understand(&line) {
                break reason;
            }
            // One huge reply shall not keep its memory for the connection's life.
            line.shrink_to(1 << 20);
        };
        tracing::debug!(%reason, "monitor ended");
        self.shared.close(reason);
    }

    fn understand(&self, line: &[u8]) -> Result<(), CloseReason> {
        match parse(line)? {
            Message::Greeting(_) => Err(protocol("a second greeting", line)),
            Message::Reply { id: Some(id), outcome } => {
                self.shared.answer(id, outcome);
                Ok(())
            }
            Message::Reply { id: None, .. } => Err(protocol("a reply to nothing we asked", line)),
            // What is kept for slow listeners is bounded in number, so each must be bounded too.
            Message::Event(_) if line.len() > self.max_event => {
                Err(protocol(&format!("an event exceeds {} bytes", self.max_event), line))
            }
            Message::Event(event) => {
                // That nobody listens is no error.
                self.events.send(event).ok();
                Ok(())
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.shared.close(CloseReason::Shutdown);
    }
}

/// Writes whole lines until the connection ends.
pub(crate) async fn write(mut writer: Outgoing, mut queue: mpsc::Receiver<Request>, shared: Arc<Shared>) {
    let work = async {
        while let Some(request) = queue.recv().await {
            // Given up while a stuck QEMU kept it in the queue: it shall not be executed late.
            if !shared.is_waiting(request.id) {
                continue;
            }
            if let Err(error) = writer.send(&request.line, request.descriptor.as_ref()).await {
                match error.kind() {
                    // The reader may still find replies and events in the socket, and then the end.
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => std::future::pending().await,
                    _ => return shared.close(CloseReason::Io(error)),
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = shared.ended.notified() => {}
    }
}
