//! Cancelling on request, and deadlines.
//!
//! Dropping a future undoes nothing (drop cannot await), so cancelling is a token that is looked at at every wait.

use std::{future::Future, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{Error, ErrorKind, Result};

/// Given to a call, which looks at it at every wait, undoes, and returns `Cancelled`.
#[derive(Clone, Debug)]
pub struct CancelToken(watch::Receiver<bool>);

/// Cancels all its tokens.
#[derive(Debug)]
pub struct CancelSource(watch::Sender<bool>);

impl Default for CancelSource {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl CancelSource {
    /// A token of this source.
    #[must_use]
    pub fn token(&self) -> CancelToken {
        CancelToken(self.0.subscribe())
    }

    /// Asks everyone who holds a token to stop.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl CancelToken {
    /// A token that is never cancelled.
    #[must_use]
    pub fn never() -> Self {
        CancelSource::default().token()
    }

    /// Whether stopping was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// `Err(Cancelled)` when stopping was asked for.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(cancelled()) } else { Ok(()) }
    }

    /// Waits until stopping is asked for; forever if the source is gone without.
    pub async fn cancelled(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for `work`, but no longer than until stopping is asked for.
    ///
    /// # Errors
    /// `Cancelled`; `work` is dropped then, so it must be safe to drop.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancelled() => Err(cancelled()),
            done = work => Ok(done),
        }
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled on request")
}

/// The time by which a call must be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// That long from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits for `work` until the deadline.
    ///
    /// # Errors
    /// `Timeout` naming `what` was waited for.
    pub async fn wait<T>(self, what: &str, work: impl Future<Output = T>) -> Result<T> {
        let allowed = self.left();
        tokio::time::timeout_at(self.0, work).await.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                format!("{what} took longer than the {:.1} s that were left", allowed.as_secs_f64()),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn guard_ends_at_cancel_and_not_before() {
        let source = CancelSource::default();
        let token = source.token();
        assert_eq!(token.guard(async { 7 }).await.unwrap(), 7);
        source.cancel();
        let error = token.guard(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(token.check().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_names_what_was_late() {
        let deadline = Deadline::after(Duration::from_secs(2));
        let error = deadline.wait("the greeting", std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("the greeting"), "{error}");
    }
}
