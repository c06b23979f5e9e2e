//! Who waits for an actor, and what for.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use polyvirt_core::{Error, ErrorKind};

const WAITING: u8 = 0;
const SERVED: u8 = 1;
const LEFT: u8 = 2;

/// A place in the line before an actor. Either the actor serves it or its holder leaves, never both.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Arc<AtomicU8>);

impl Place {
    /// Whether who waits here is still there; it cannot leave any more then.
    pub(super) fn serve(&self) -> bool {
        self.0.compare_exchange(WAITING, SERVED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Whether the line was left in time; else it is being served.
    pub(super) fn leave(&self) -> bool {
        self.0.compare_exchange(WAITING, LEFT, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// What an actor is doing, for those who wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Current(Arc<Mutex<Option<(&'static str, Instant)>>>);

impl Current {
    fn set(&self, to: Option<(&'static str, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// Says what is being done until the guard is dropped.
    pub(super) fn begin(&self, what: &'static str) -> Doing {
        self.set(Some((what, Instant::now())));
        Doing(self.clone())
    }

    /// Whether nothing is being changed: who waits is about to be served.
    pub(super) fn is_idle(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The answer to who waited long enough.
    pub(super) fn busy(&self, guest: &str, wanted: &'static str) -> Error {
        let current = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |message: String| Error::new(ErrorKind::Busy, message).operation(wanted);
        let Some((what, since)) = current else {
            return error(format!("the guest '{guest}' is busy")).hint("try again in a moment");
        };
        let age = since.elapsed().as_secs();
        error(format!("the guest '{guest}' is busy: '{what}' of this process has been under way for {age} s"))
            .with("job", what)
            .with("owner", format!("pid {}", std::process::id()))
            .hint("wait until it is done; destroying the guest comes before it")
    }
}

/// Until dropped, an actor is doing something.
#[derive(Debug)]
pub(super) struct Doing(Current);

impl Drop for Doing {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_served_or_left() {
        let (served, left) = (Place::default(), Place::default());
        assert!(served.serve() && !served.leave());
        assert!(left.leave() && !left.serve());
    }

    #[test]
    fn who_waited_learns_what_for() {
        let current = Current::default();
        let doing = current.begin("save");
        let error = current.busy("web", "attach-device");
        assert_eq!((error.kind(), error.fact("job")), (ErrorKind::Busy, Some("save")));
        assert!(error.to_string().contains("'save' of this process has been under way for 0 s"), "{error}");
        drop(doing);
        assert_eq!(current.busy("web", "start").fact("job"), None);
    }
}
