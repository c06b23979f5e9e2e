//! What QEMU reports on its own.

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::broadcast;

/// One event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Its name, such as `SHUTDOWN`.
    pub name: String,
    /// Its data; null if it has none.
    pub data: Value,
    /// When it happened, by the host's clock.
    pub timestamp: Timestamp,
}

impl Event {
    /// An event without a time, as nobody sends it: for those who read events and want to be tested.
    #[must_use]
    pub fn new(name: impl Into<String>, data: Value) -> Self {
        Self { name: name.into(), data, timestamp: Timestamp::default() }
    }
}

/// Time of an event since 1970. Negative if QEMU could not read the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// Microseconds of the second.
    pub microseconds: i64,
}

/// Why there is no next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The listener was too slow; so many were dropped. The next call goes on with the oldest kept.
    #[error("missed {0} events")]
    Lagged(u64),
    /// The connection is over, and all events were delivered.
    #[error("the monitor is closed")]
    Closed,
}

/// A listener. It keeps nothing alive.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event, in QEMU's order. Dropping the future loses none.
    ///
    /// # Errors
    /// [`EventError::Lagged`] once per gap; [`EventError::Closed`] at the end.
    pub async fn next(&mut self) -> Result<Event, EventError> {
        self.0.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(count) => EventError::Lagged(count),
            broadcast::error::RecvError::Closed => EventError::Closed,
        })
    }
}
