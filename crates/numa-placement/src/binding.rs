//! Who is bound where, once the advice is known: libvirt's rules for a starting guest, as pure functions.
//!
//! | question | answer |
//! |---|---|
//! | which policy governs a cell | its own, else the general one; its nodes are the advice if the general placement is automatic |
//! | memory policy between fork and exec | the general one, unless a cpuset cgroup confines the guest anyway |
//! | CPU affinity between fork and exec | CPUs of the general nodes (strict, at most one cell), else `emulatorpin`, else all |
//! | `cpuset.mems` of the emulator | strict: all nodes of the guest; restrictive: the general nodes; otherwise untouched |
//! | `cpuset.mems` of a vCPU | the emulator's, or its cell's nodes if that cell is restrictive |
//! | CPUs of a thread | its pin, else the advice if vCPUs are automatic, else `<vcpu cpuset>`, else all |
//!
//! A pin always wins over advice, and pins never change where memory goes.

use crate::plan::{Advice, Origin};
use crate::policy::{MemMode, MemPolicy};
use crate::request::KernelSupport;
use crate::rules::{GeneralNodes, GeneralPolicy, Stored, VcpuPlacement};
use crate::set::{CpuSet, NodeSet};
use crate::topology::HostTopology;
use crate::units::GuestCell;

/// The general policy with its nodes; none if nothing is specified or the advice is not known.
#[must_use]
pub fn general_policy(stored: &Stored, advice: Option<&Advice>) -> MemPolicy {
    match &stored.memory {
        None => MemPolicy::none(),
        Some(GeneralPolicy { mode, nodes: GeneralNodes::Named(nodes) }) => MemPolicy::new(*mode, nodes.clone()),
        Some(GeneralPolicy { mode, nodes: GeneralNodes::Auto }) => {
            advice.map_or(MemPolicy::none(), |advice| MemPolicy::new(*mode, advice.nodeset.clone()))
        }
    }
}

/// The policy that governs a cell.
#[must_use]
pub fn cell_policy(stored: &Stored, advice: Option<&Advice>, cell: GuestCell) -> MemPolicy {
    let general = general_policy(stored, advice);
    match stored.memnode(cell) {
        // M1 keeps this from happening in a definition; should it come from elsewhere, the advice holds for everything.
        Some(own) if !own.fixed && stored.memory.as_ref().is_some_and(GeneralPolicy::is_auto) => {
            MemPolicy::new(own.mode, general.nodes)
        }
        Some(own) => MemPolicy::new(own.mode, own.nodes.clone()),
        None => general,
    }
}

/// The memory policy to set between fork and exec.
#[must_use]
pub fn launch_policy(stored: &Stored, advice: Option<&Advice>, kernel: KernelSupport) -> Option<MemPolicy> {
    let general = general_policy(stored, advice);
    match general.mode? {
        MemMode::Restrictive => None,
        MemMode::Strict if kernel.cpuset => None,
        _ => Some(general),
    }
}

/// The CPU affinity between fork and exec, so that early allocations are local.
#[must_use]
pub fn launch_cpus(
    stored: &Stored,
    advice: Option<&Advice>,
    emulator_pin: Option<&CpuSet>,
    cells: usize,
    host: &HostTopology,
) -> CpuSet {
    let general = general_policy(stored, advice);
    if cells <= 1 && general.mode == Some(MemMode::Strict) {
        // A node without CPUs gives none; then there is nothing to be near to.
        let near = host.cpus_of(&general.nodes);
        if !near.is_empty() {
            return near;
        }
    }
    let pin = emulator_pin.map(|pin| pin.intersection(host.online_cpus())).filter(|pin| !pin.is_empty());
    pin.unwrap_or_else(|| host.online_cpus().clone())
}

/// `cpuset.mems` of the emulator and I/O threads; `None`: untouched.
///
/// With cells of which some are bound and some are not, nothing is confined: the union of the bound ones would bind
/// the others too.
#[must_use]
pub fn process_mems(stored: &Stored, advice: Option<&Advice>, cells: &[GuestCell]) -> Option<NodeSet> {
    let general = general_policy(stored, advice);
    match general.mode {
        Some(MemMode::Restrictive) => Some(general.nodes),
        Some(MemMode::Preferred | MemMode::Interleave) => None,
        Some(MemMode::Strict) => {
            let all = cells.iter().map(|cell| cell_policy(stored, advice, *cell).nodes);
            Some(all.fold(general.nodes, |all, nodes| all.union(&nodes)))
        }
        None => {
            let policies: Vec<_> = cells.iter().map(|cell| cell_policy(stored, advice, *cell)).collect();
            let bound = !policies.is_empty() && policies.iter().all(|policy| policy.mode.is_some());
            bound.then(|| policies.iter().fold(NodeSet::new(), |all, policy| all.union(&policy.nodes)))
        }
    }
}

/// `cpuset.mems` of a vCPU of this cell; `None`: untouched.
#[must_use]
pub fn vcpu_mems(
    stored: &Stored,
    advice: Option<&Advice>,
    cell: GuestCell,
    process: Option<&NodeSet>,
) -> Option<NodeSet> {
    let policy = cell_policy(stored, advice, cell);
    if policy.mode == Some(MemMode::Restrictive) { Some(policy.nodes) } else { process.cloned() }
}

/// The CPUs of a thread, and where they come from. CPUs that are not online are left out; a set of which none is left
/// is passed over, so the caller reports those first.
#[must_use]
pub fn thread_cpus(
    pin: Option<&CpuSet>,
    stored: &Stored,
    advice: Option<&Advice>,
    host: &HostTopology,
) -> (CpuSet, Origin) {
    let auto = stored.vcpu_placement == VcpuPlacement::Auto;
    let candidates = [
        (pin, Origin::Pin),
        (advice.filter(|_| auto).map(|advice| &advice.cpuset), Origin::Advice),
        (stored.vcpu_cpuset.as_ref().filter(|_| !auto), Origin::VcpuCpuset),
    ];
    for (set, origin) in candidates {
        if let Some(cpus) = set.map(|set| set.intersection(host.online_cpus())).filter(|cpus| !cpus.is_empty()) {
            return (cpus, origin);
        }
    }
    (host.online_cpus().clone(), Origin::AllHost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::CellPolicy;
    use crate::units::Kib;

    fn host() -> HostTopology {
        HostTopology::uniform(4, 2, Kib::from_gib(4)).build().unwrap()
    }

    fn nodes(text: &str) -> NodeSet {
        text.parse().unwrap()
    }

    fn cpus(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    fn advice() -> Advice {
        Advice::new(nodes("2"), cpus("4-5"))
    }

    fn general(mode: MemMode) -> Stored {
        Stored::default().with_memory(GeneralPolicy::named(mode, nodes("0-1")))
    }

    const CELLS: [GuestCell; 2] = [GuestCell(0), GuestCell(1)];
    const WITH_CPUSET: KernelSupport = KernelSupport { cpuset: true, preferred_many: true, weighted_interleave: false };

    #[test]
    fn the_own_policy_governs_a_cell_before_the_general_one() {
        let stored =
            general(MemMode::Preferred).with_memnode(CellPolicy::new(GuestCell(1), MemMode::Strict, nodes("3")));
        assert_eq!(cell_policy(&stored, None, GuestCell(0)), MemPolicy::new(MemMode::Preferred, nodes("0-1")));
        assert_eq!(cell_policy(&stored, None, GuestCell(1)), MemPolicy::new(MemMode::Strict, nodes("3")));
        assert_eq!(cell_policy(&Stored::default(), None, GuestCell(0)), MemPolicy::none());
    }

    #[test]
    fn the_advice_holds_for_everything() {
        let stored = Stored::auto().with_memnode(CellPolicy::new(GuestCell(1), MemMode::Interleave, nodes("3")));
        assert_eq!(cell_policy(&stored, Some(&advice()), GuestCell(0)).nodes, nodes("2"));
        assert_eq!(cell_policy(&stored, Some(&advice()), GuestCell(1)).nodes, nodes("2"));
    }

    #[test]
    fn launch_policy_is_left_to_the_cgroup_for_strict_and_never_set_for_restrictive() {
        let without = KernelSupport::default();
        for (mode, with_cpuset, without_cpuset) in [
            (MemMode::Strict, false, true),
            (MemMode::Restrictive, false, false),
            (MemMode::Preferred, true, true),
            (MemMode::Interleave, true, true),
        ] {
            let stored = general(mode);
            assert_eq!(launch_policy(&stored, None, WITH_CPUSET).is_some(), with_cpuset, "{mode}");
            assert_eq!(launch_policy(&stored, None, without).is_some(), without_cpuset, "{mode}");
        }
        assert_eq!(launch_policy(&Stored::default(), None, without), None);
    }

    #[test]
    fn launch_cpus_are_near_strict_memory_of_a_guest_with_one_cell_at_most() {
        let (host, pin) = (host(), cpus("7"));
        let strict = general(MemMode::Strict);
        assert_eq!(launch_cpus(&strict, None, Some(&pin), 1, &host), cpus("0-3"));
        assert_eq!(launch_cpus(&strict, None, Some(&pin), 2, &host), pin);
        assert_eq!(launch_cpus(&general(MemMode::Preferred), None, None, 0, &host), cpus("0-7"));
        assert_eq!(launch_cpus(&Stored::auto(), Some(&advice()), None, 0, &host), cpus("4-5"));
    }

    #[test]
    fn emulator_mems_by_mode() {
        let memnode = |stored: Stored, mode| stored.with_memnode(CellPolicy::new(GuestCell(1), mode, nodes("3")));
        let strict = memnode(general(MemMode::Strict), MemMode::Strict);
        assert_eq!(process_mems(&strict, None, &CELLS), Some(nodes("0-1,3")));
        let restrictive = memnode(general(MemMode::Restrictive), MemMode::Restrictive);
        assert_eq!(process_mems(&restrictive, None, &CELLS), Some(nodes("0-1")));
        assert_eq!(process_mems(&general(MemMode::Interleave), None, &CELLS), None);
        assert_eq!(process_mems(&general(MemMode::Preferred), None, &CELLS), None);
        assert_eq!(process_mems(&Stored::default(), None, &CELLS), None);
        let one_bound = memnode(Stored::default(), MemMode::Strict);
        assert_eq!(process_mems(&one_bound, None, &CELLS), None, "cell 0 must stay free");
        assert_eq!(process_mems(&one_bound, None, &CELLS[1..]), Some(nodes("3")));
    }

    #[test]
    fn vcpu_mems_follow_the_emulator_but_for_restrictive_cells() {
        let stored =
            general(MemMode::Restrictive).with_memnode(CellPolicy::new(GuestCell(1), MemMode::Restrictive, nodes("3")));
        let process = process_mems(&stored, None, &CELLS);
        assert_eq!(vcpu_mems(&stored, None, GuestCell(0), process.as_ref()), Some(nodes("0-1")));
        assert_eq!(vcpu_mems(&stored, None, GuestCell(1), process.as_ref()), Some(nodes("3")));
        let strict = general(MemMode::Strict);
        assert_eq!(vcpu_mems(&strict, None, GuestCell(1), Some(&nodes("0-1"))), Some(nodes("0-1")));
    }

    #[test]
    fn a_pin_wins_over_advice_and_advice_over_the_cpuset() {
        let (host, advice, pin) = (host(), advice(), cpus("1"));
        let auto = Stored::auto();
        assert_eq!(thread_cpus(Some(&pin), &auto, Some(&advice), &host), (pin, Origin::Pin));
        assert_eq!(thread_cpus(None, &auto, Some(&advice), &host), (cpus("4-5"), Origin::Advice));
        let fixed = Stored::default().with_cpuset(cpus("2-3,900"));
        assert_eq!(thread_cpus(None, &fixed, Some(&advice), &host), (cpus("2-3"), Origin::VcpuCpuset));
        assert_eq!(thread_cpus(None, &Stored::default(), None, &host), (cpus("0-7"), Origin::AllHost));
    }
}
