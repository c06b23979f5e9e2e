//! Putting the threads of a running QEMU where the plan wants them.
//!
//! Each thread gets its CPU affinity and, where the host has cpuset cgroups and the plan has need of them, a group of its own:
//! the group keeps it there, whatever the guest's process does.

use polyvirt_core::placement::{CpuSet, MemMode, MemPolicy, NodeSet, Origin, Plan, ThreadPlan, VcpuPlan, Weakening};
use polyvirt_process::{
    CpuMask, IdTooLarge, MemoryPolicy, NodeMask, PolicyMode,
    cgroup::{Cgroup, Part, PartGroup},
    set_affinity, threads,
};

/// The threads of a QEMU that have a name in the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Threads {
    pub(crate) pid: u32,
    /// Number of the vCPU and thread, ascending.
    pub(crate) vcpus: Vec<(u32, u32)>,
    /// Number of the I/O thread and thread.
    pub(crate) io: Vec<(u32, u32)>,
}

/// Whether a plan confines anything, so that a cgroup is worth its while: moving a process into one waits for the kernel's
/// RCU, some 15 ms. A set of all CPUs or of all nodes with memory keeps nobody from anything.
pub(crate) fn confines(plan: &Plan) -> bool {
    let all_cpus = listed("/sys/devices/system/cpu/online", CpuSet::from_kernel_list);
    let narrow = |origin: Origin, cpus: &CpuSet, mems: Option<&NodeSet>| {
        let some_cpus = origin != Origin::AllHost && all_cpus.as_ref().is_none_or(|all| !all.is_subset(cpus));
        some_cpus || mems.is_some_and(leaves_nodes_out)
    };
    let process = |it: &ThreadPlan| narrow(it.origin, &it.cpus, it.mems.as_ref());
    process(&plan.process)
        || plan.io_threads.iter().any(|(_, it)| process(it))
        || plan.cells.iter().flat_map(|it| &it.vcpus).any(|it| narrow(it.origin, &it.hard, it.mems.as_ref()))
}

/// Whether there is a node with memory that is not in the set.
fn leaves_nodes_out(mems: &NodeSet) -> bool {
    let all = listed("/sys/devices/system/node/has_memory", NodeSet::from_kernel_list);
    all.is_none_or(|all| !all.is_subset(mems))
}

/// A list of the kernel's (`cpu/online`, `node/has_memory`: Documentation/ABI/stable/sysfs-devices-node); `None` if it cannot be read.
fn listed<T, E>(path: &str, read: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    read(std::fs::read_to_string(path).ok()?.trim()).ok()
}

pub(crate) fn cpus(set: &CpuSet) -> Result<CpuMask, IdTooLarge> {
    CpuMask::new(set.iter().map(u32::from))
}

pub(crate) fn nodes(set: &NodeSet) -> Result<NodeMask, IdTooLarge> {
    NodeMask::new(set.iter().map(u32::from))
}

/// A plan's policy as the kernel takes it; `None` if there is none to set.
pub(crate) fn policy(policy: &MemPolicy) -> Result<Option<MemoryPolicy>, IdTooLarge> {
    let mask = nodes(&policy.nodes)?;
    let mode = match policy.mode {
        Some(MemMode::Strict) => PolicyMode::Bind,
        Some(MemMode::Preferred) if mask.len() > 1 => PolicyMode::PreferredMany,
        Some(MemMode::Preferred) => PolicyMode::Preferred,
        Some(MemMode::Interleave) if policy.weighted => PolicyMode::WeightedInterleave,
        Some(MemMode::Interleave) => PolicyMode::Interleave,
        _ => return Ok(None),
    };
    Ok((!mask.is_empty()).then(|| MemoryPolicy::new(mode, mask)))
}

/// Puts threads in their places. Blocks for milliseconds: moving a thread makes the kernel wait for all CPUs.
#[derive(Debug)]
pub(crate) struct Placer<'a> {
    pub(crate) threads: &'a Threads,
    pub(crate) group: Option<&'a Cgroup>,
}

impl Placer<'_> {
    /// Everything the plan says; what cannot be done is told.
    pub(crate) fn place(&self, plan: &Plan) -> Vec<Weakening> {
        let mut weakened = Vec::new();
        let shared = self.threads.vcpus.windows(2).any(|pair| pair[0].1 == pair[1].1);
        if shared {
            let why = "this QEMU runs all of them in one thread";
            weakened.push(Weakening::new("host", "separate places for vCPUs", why));
        }
        for (number, tid) in &self.threads.vcpus {
            if let Some(vcpu) = plan.vcpu((*number).into()) {
                self.vcpu(vcpu, *tid, &mut weakened);
            }
        }
        for (number, tid) in &self.threads.io {
            if let Some((_, thread)) = plan.io_threads.iter().find(|(id, _)| id.0 == *number) {
                self.io_thread(*number, *tid, thread, &mut weakened);
            }
        }
        self.process(&plan.process, &mut weakened);
        weakened
    }

    /// One vCPU.
    pub(crate) fn vcpu(&self, vcpu: &VcpuPlan, tid: u32, weakened: &mut Vec<Weakening>) {
        self.thread(Part::Vcpu(vcpu.vcpu.0), &[tid], &vcpu.hard, vcpu.mems.as_ref(), weakened);
    }

    /// One I/O thread.
    pub(crate) fn io_thread(&self, number: u32, tid: u32, plan: &ThreadPlan, weakened: &mut Vec<Weakening>) {
        self.thread(Part::IoThread(number), &[tid], &plan.cpus, plan.mems.as_ref(), weakened);
    }

    /// The emulator's threads: all that have no other name. They are in their part from the start.
    pub(crate) fn process(&self, plan: &ThreadPlan, weakened: &mut Vec<Weakening>) {
        let named = |tid: u32| self.threads.vcpus.iter().chain(&self.threads.io).any(|(_, it)| *it == tid);
        let listed = threads(self.threads.pid).unwrap_or_default();
        let own: Vec<u32> = listed.into_iter().map(|it| it.tid).filter(|tid| !named(*tid)).collect();
        self.thread(Part::Emulator, &own, &plan.cpus, plan.mems.as_ref(), weakened);
    }

    /// Where there is a group every thread has a part: one without would stay in the emulator's and be held where that is.
    fn thread(&self, part: Part, tids: &[u32], set: &CpuSet, mems: Option<&NodeSet>, weakened: &mut Vec<Weakening>) {
        let mut give_up = |what: String, why: String| weakened.push(Weakening::new("host", what, why));
        if let Some(group) = self.group {
            let moved =
                group.part(part).map_err(|error| error.to_string()).and_then(|it| confine(&it, part, tids, set, mems));
            if let Err(why) = moved {
                give_up(format!("a cpuset for {part}"), why);
            }
        } else if let Some(mems) = mems.filter(|mems| leaves_nodes_out(mems)) {
            give_up(format!("memory of {part} from nodes {mems} only"), "there is no cpuset cgroup".into());
        }
        for tid in tids {
            let pinned = cpus(set).map_err(|error| error.to_string()).and_then(|mask| {
                match set_affinity(*tid, &mask) {
                    // A worker that ended meanwhile.
                    Err(error) if part == Part::Emulator && error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
                    other => other.map_err(|error| error.to_string()),
                }
            });
            if let Err(why) = pinned {
                give_up(format!("{part} on CPUs {set}"), why);
            }
        }
    }
}

/// Sets up one part and moves its threads there; the emulator's are there from the start.
fn confine(group: &PartGroup, part: Part, tids: &[u32], set: &CpuSet, mems: Option<&NodeSet>) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    group.set_cpus(&cpus(set).map_err(|it| text(&it))?).map_err(|it| text(&it))?;
    if let Some(mems) = mems {
        group.set_mems(&nodes(mems).map_err(|it| text(&it))?).map_err(|it| text(&it))?;
    }
    if part != Part::Emulator {
        for tid in tids {
            group.attach(*tid).map_err(|it| text(&it))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_as_the_kernel_takes_them() {
        let on = |mode, last| policy(&MemPolicy::new(mode, NodeSet::of_range(0, last))).unwrap().map(|it| it.mode);
        assert_eq!(on(MemMode::Strict, 1), Some(PolicyMode::Bind));
        assert_eq!(on(MemMode::Preferred, 0), Some(PolicyMode::Preferred));
        assert_eq!(on(MemMode::Preferred, 1), Some(PolicyMode::PreferredMany));
        assert_eq!(on(MemMode::Interleave, 1), Some(PolicyMode::Interleave));
        assert_eq!(on(MemMode::Restrictive, 1), None);
        assert_eq!(policy(&MemPolicy::none()).unwrap(), None);
    }
}
