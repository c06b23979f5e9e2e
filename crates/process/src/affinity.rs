//! CPU affinity of single threads.

use std::io;

use crate::{CpuMask, sys};

/// Lets the thread `tid` run on these CPUs only.
///
/// The kernel takes the intersection with the thread's cpuset and with the CPUs that exist.
///
/// # Errors
/// `EINVAL` if that intersection is empty, `ESRCH` if there is no such thread, `EPERM` if it is another user's.
pub fn set_affinity(tid: u32, cpus: &CpuMask) -> io::Result<()> {
    sys::sched_setaffinity(tid, cpus)
}

/// The CPUs on which the thread `tid` may run. Works for any number of CPUs the host may have.
///
/// # Errors
/// `ESRCH` if there is no such thread.
pub fn get_affinity(tid: u32) -> io::Result<CpuMask> {
    sys::sched_getaffinity(tid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_put() {
        let before = get_affinity(0).unwrap();
        let first = CpuMask::new(before.iter().take(1)).unwrap();
        set_affinity(0, &first).unwrap();
        assert_eq!(get_affinity(0).unwrap(), first);
        set_affinity(0, &before).unwrap();
        assert_eq!(get_affinity(0).unwrap(), before);
    }

    #[test]
    fn no_cpu_at_all_is_refused() {
        assert_eq!(set_affinity(0, &CpuMask::default()).unwrap_err().raw_os_error(), Some(nix::libc::EINVAL));
        assert_eq!(get_affinity(0x3fff_ffff).unwrap_err().raw_os_error(), Some(nix::libc::ESRCH));
    }
}
