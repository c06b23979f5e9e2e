//! How busy running guests are, from two looks at the CPU time of their processes.
//!
//! A look is the CPU time of all threads of a process (`/proc/PID/stat`, utime and stime, see `proc(5)`) at a time since the boot. The
//! ledger keeps the last look of every lease with what it said, and looks again when it is changed at least [`WINDOW`]
//! later: so a guest is as busy as it was since the last start of any guest that is a minute ago. Before there are two looks the
//! average since the start of the process counts, for a process that is older than [`YOUNG`]; of others nothing is known.
//!
//! The emulator's own work is in it: it is load of the same cores.

use std::fs::File;
use std::io::Read;

use serde::{Deserialize, Serialize};

/// Time between two looks that are compared.
const WINDOW: u64 = 60_000;
/// A process younger than this boots a guest or preallocates its memory, which says nothing about later.
const YOUNG: u64 = 10_000;
/// Milliseconds of a tick: the kernel tells all times to programs in hundredths of a second (`USER_HZ`).
const TICK: u64 = 10;

/// A look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Look {
    /// Milliseconds since the boot.
    pub at_ms: u64,
    /// Milliseconds of CPU time until then.
    pub cpu_ms: u64,
    /// Thousandths of a CPU that it kept busy between the look before and this one.
    pub busy_milli: Option<u64>,
}

/// A process at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Milliseconds since the boot.
    pub(super) now: u64,
    /// Its CPU time in milliseconds.
    pub(super) cpu: u64,
    /// When it began, in milliseconds since the boot.
    pub(super) began: u64,
}

impl Clock {
    /// Reads it. `None` if the process is gone, or anything is not in the kernel's form.
    pub(super) fn read(pid: u32, now: u64) -> Option<Clock> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The name in parentheses may contain anything, parentheses too.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok()?.checked_mul(TICK);
        Some(Clock { now, cpu: ticks(14)?.checked_add(ticks(15)?)?, began: ticks(22)? })
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self, last: Option<&Look>) -> bool {
        last.is_none_or(|look| self.now.checked_sub(look.at_ms).is_none_or(|passed| passed >= WINDOW))
    }

    /// This moment, to be kept.
    pub(super) fn look(&self, last: Option<&Look>) -> Look {
        Look { at_ms: self.now, cpu_ms: self.cpu, busy_milli: self.busy(last) }
    }

    /// Thousandths of a CPU that the process keeps busy; `None` if that is not known.
    pub(super) fn busy(&self, last: Option<&Look>) -> Option<u64> {
        let since = |at: u64, cpu: u64| {
            let passed = self.now.checked_sub(at).filter(|passed| *passed > 0)?;
            Some((passed, self.cpu.checked_sub(cpu)?.saturating_mul(1000) / passed))
        };
        let window = last.and_then(|look| since(look.at_ms, look.cpu_ms)).filter(|(passed, _)| *passed >= WINDOW);
        let life = || since(self.began, 0).filter(|(passed, _)| *passed >= YOUNG).map(|(_, busy)| busy);
        window.map(|(_, busy)| busy).or(last.and_then(|look| look.busy_milli)).or_else(life)
    }
}

/// Milliseconds since the boot (`/proc/uptime`).
pub(super) fn uptime() -> Option<u64> {
    let text = read("/proc/uptime")?;
    let (seconds, rest) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = rest.get(..2)?.parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(hundredths * 10)
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(4096).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: u64, cpu: u64) -> Clock {
        Clock { now, cpu, began: 1_000 }
    }

    #[test]
    fn a_window_counts_before_the_last_look_and_that_before_the_life() {
        assert_eq!(at(5_000, 4_000).busy(None), None, "too young");
        assert_eq!(at(21_000, 5_000).busy(None), Some(250), "since its start");
        let first = at(21_000, 5_000).look(None);
        assert_eq!(at(22_000, 6_000).busy(Some(&first)), Some(250), "too soon to look again");
        assert!(!at(22_000, 6_000).is_due(Some(&first)) && at(81_000, 6_000).is_due(Some(&first)));
        assert_eq!(at(121_000, 205_000).busy(Some(&first)), Some(2_000), "two CPUs since then");
    }

    #[test]
    fn clocks_that_go_backwards_say_nothing() {
        let later = at(500_000, 90_000).look(None);
        assert_eq!(at(100_000, 9_900).busy(Some(&later)), later.busy_milli);
        assert!(at(100_000, 9_900).is_due(Some(&later)));
        let unknown = Look { busy_milli: None, ..later };
        assert_eq!(at(700_000, 10).busy(Some(&unknown)), Some(0), "another process's figures are not its own");
        assert_eq!(Clock { now: 5, cpu: 1, began: 9 }.busy(None), None);
    }

    #[test]
    fn this_process_is_read() {
        let now = uptime().unwrap();
        let clock = Clock::read(std::process::id(), now).unwrap();
        assert!(clock.began <= now, "{clock:?}");
        assert!(Clock::read(u32::MAX, now).is_none());
    }
}
