//! What a guest can cause again and again is told at a bounded pace, so that it cannot flood history or keep others from being heard.
//!
//! Of each kind, and of each device of a kind, [`BURST`] are told at once and one more every [`EVERY`]. What comes faster is merged: the
//! last one is told when its time has come, with the number of those before it that were not. Pure but for the clock it is handed.

use std::{collections::HashMap, time::Duration};

use polyvirt_core::Signal;
use tokio::time::Instant;

/// How many are told without delay.
const BURST: u32 = 8;

/// After how long there may be one more.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Kinds and devices that are told apart; those beyond share one.
const KEYS: usize = 256;

/// What is paced together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    kind: &'static str,
    subject: String,
}

impl Key {
    pub(super) fn new(kind: &'static str, subject: String) -> Self {
        Self { kind, subject }
    }
}

#[derive(Debug)]
struct Bucket {
    left: u32,
    since: Instant,
    waiting: Option<Signal>,
    merged: u32,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_secs() / EVERY.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if periods >= BURST - self.left {
            (self.left, self.since) = (BURST, now);
        } else {
            self.left += periods;
            self.since += EVERY * periods;
        }
    }

    fn take(&mut self) -> Option<Signal> {
        let merged = std::mem::take(&mut self.merged);
        match self.waiting.take()? {
            Signal::Noticed(mut noticed) => {
                noticed.merged = merged;
                Some(Signal::Noticed(noticed))
            }
            other => Some(other),
        }
    }
}

/// Paces the signals of one guest.
#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<Key, Bucket>);

impl Pace {
    /// The signal if it may be told now; else it waits, instead of the one that waited.
    pub(super) fn admit(&mut self, key: Key, signal: Signal, now: Instant) -> Option<Signal> {
        let full = self.0.len() >= KEYS && !self.0.contains_key(&key);
        let key = if full { Key::new("others", String::new()) } else { key };
        let bucket = self.0.entry(key).or_insert_with(|| Bucket { left: BURST, since: now, waiting: None, merged: 0 });
        bucket.refill(now);
        if bucket.waiting.is_none() && bucket.left > 0 {
            bucket.left -= 1;
            return Some(signal);
        }
        if bucket.waiting.replace(signal).is_some() {
            bucket.merged = bucket.merged.saturating_add(1);
        }
        None
    }

    /// When the next one that waits may be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().filter(|it| it.waiting.is_some()).map(|it| it.since + EVERY).min()
    }

    /// Those whose time has come.
    pub(super) fn ripe(&mut self, now: Instant) -> Vec<Signal> {
        let mut ripe = Vec::new();
        for bucket in self.0.values_mut().filter(|it| it.waiting.is_some()) {
            bucket.refill(now);
            if bucket.left > 0 {
                bucket.left -= 1;
                ripe.extend(bucket.take());
            }
        }
        ripe
    }

    /// All that wait; the guest has ended.
    pub(super) fn rest(&mut self) -> Vec<Signal> {
        self.0.values_mut().filter_map(Bucket::take).collect()
    }
}

#[cfg(test)]
mod tests {
    use polyvirt_core::{Notice, Noticed};

    use super::*;

    fn clock(offset: i64) -> Signal {
        Signal::Noticed(Notice::ClockChanged { offset }.into())
    }

    fn key() -> Key {
        Key::new("RTC_CHANGE", String::new())
    }

    #[test]
    fn a_flood_is_merged_and_its_last_word_is_told() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let told = (0..100).filter_map(|it| pace.admit(key(), clock(it), start)).count();
        assert_eq!(told, 8);
        assert_eq!(pace.due(), Some(start + EVERY));
        assert!(pace.ripe(start + EVERY / 2).is_empty());
        let last = Signal::Noticed(Noticed::new(Notice::ClockChanged { offset: 99 }, 91));
        assert_eq!(pace.ripe(start + EVERY), [last]);
        assert_eq!((pace.due(), pace.rest()), (None, vec![]));
        // The next has to wait for its turn, and is told at the end of the guest at the latest.
        assert_eq!(pace.admit(key(), clock(100), start + EVERY), None);
        assert_eq!(pace.due(), Some(start + EVERY * 2));
        assert_eq!(pace.rest(), [clock(100)]);
    }

    #[test]
    fn over_an_hour_no_more_than_one_in_each_period() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut told = 0;
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            told += pace.ripe(now).len() + usize::from(pace.admit(key(), Signal::Reset, now).is_some());
        }
        assert!((360..=368).contains(&told), "{told}");
        // After a rest there is a burst again.
        let later = start + Duration::from_secs(7200);
        pace.ripe(later);
        assert_eq!((0..100).filter_map(|it| pace.admit(key(), clock(it), later)).count(), 7);
    }

    #[test]
    fn devices_do_not_wait_for_each_other_until_there_are_too_many() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let told = |at: usize, pace: &mut Pace| {
            pace.admit(Key::new("DEVICE_TRAY_MOVED", at.to_string()), Signal::Reset, now).is_some()
        };
        assert!((0..KEYS).all(|at| told(at, &mut pace)));
        assert_eq!((KEYS..10 * KEYS).filter(|at| told(*at, &mut pace)).count(), 8);
        assert_eq!(pace.0.len(), KEYS + 1);
    }
}
