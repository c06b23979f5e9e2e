//! What processes and threads have used, as the kernel counts it.

use std::{fs, io, io::Read, time::Duration};

use crate::id::Stat;

/// CPU time of a process and of all threads it ever had, in user and in kernel mode, to the clock tick (usually 10 ms).
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn process_times(pid: u32) -> io::Result<(Duration, Duration)> {
    Stat::read(pid)?.times()
}

/// Bytes of a process that are in the host's memory (field 2 of `/proc/PID/statm`, proc(5)).
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn resident(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/statm");
    let pages: u64 = field(&short(&path)?, 1).ok_or_else(|| strange(&path))?;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.and_then(|it| u64::try_from(it).ok());
    Ok(pages.saturating_mul(size.unwrap_or(4096)))
}

/// How long a thread ran, and how long it could have and waited for a CPU, to the nanosecond (kernel,
/// Documentation/scheduler/sched-stats: `/proc/PID/task/TID/schedstat`).
///
/// # Errors
/// `NotFound` if there is no such thread, or the kernel was built without that account.
pub fn scheduled(pid: u32, tid: u32) -> io::Result<(Duration, Duration)> {
    let path = format!("/proc/{pid}/task/{tid}/schedstat");
    let text = short(&path)?;
    let time = |at| field(&text, at).map(Duration::from_nanos).ok_or_else(|| strange(&path));
    Ok((time(0)?, time(1)?))
}

/// A file of some numbers.
fn short(path: &str) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(4096).read_to_string(&mut text)?;
    Ok(text)
}

fn field(text: &str, at: usize) -> Option<u64> {
    text.split_ascii_whitespace().nth(at)?.parse().ok()
}

fn strange(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not what proc(5) describes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let (pid, tid) = (std::process::id(), nix::unistd::gettid().as_raw().try_into().unwrap());
        let sum = || process_times(pid).map(|(user, system)| user + system).unwrap();
        let (before, ran) = (sum(), scheduled(pid, tid).unwrap().0);
        while sum() == before || scheduled(pid, tid).unwrap().0 == ran {}
        let held = resident(pid).unwrap();
        let more = vec![1_u8; 32 << 20];
        assert!(resident(pid).unwrap() >= held + (16 << 20), "{held}, {}", more.len());
    }

    #[test]
    fn who_is_gone_is_not_found() {
        for error in [process_times(u32::MAX).map(drop), resident(u32::MAX).map(drop), scheduled(u32::MAX, 1).map(drop)]
        {
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
