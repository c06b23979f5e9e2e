//! One more memory device for a guest that runs: what it has stays where it is.

use super::choose::Choice;
use super::demand::Part;
use super::{Context, checks, demand, promise, refusal};
use crate::plan::{MemoryDevicePlan, NodeShare, Plan};
use crate::policy::PageSize;
use crate::profile::PlacementProfile;
use crate::promised::Promised;
use crate::refusal::{Constraint, Refusal};
use crate::request::Request;
use crate::topology::HostTopology;
use crate::trace::Trace;
use crate::units::Kib;

/// The plan of a running guest with the memory device at `index` of the request, by the policy of its cell as it was decided at the
/// start. What was kept for hot-plug is used first.
///
/// The plan keeps its lease and gets the next revision. To make it binding, call this inside
/// [`Ledger::plug`](crate::Ledger::plug).
///
/// # Errors
/// [`Refusal`]: there is no such memory, or the guest may not use it.
pub fn plug(
    host: &HostTopology,
    promised: &Promised,
    profile: &PlacementProfile,
    request: &Request,
    plan: &Plan,
    index: usize,
) -> Result<Plan, Refusal> {
    let mut request = request.clone();
    // The cells' own nodes were chosen at the start.
    let own = request.devices.get(index).and_then(|it| it.cell).and_then(|it| plan.cell(it));
    if let (true, Some(cell), Some(device)) = (request.per_cell, own, request.devices.get_mut(index)) {
        device.nodes.get_or_insert_with(|| cell.policy.nodes.clone());
    }
    let mut beside = promised.clone();
    beside.subtract(&plan.headroom_promised());
    let cx = Context { host, promised: &beside, profile, request: &request };
    let refuse = |wrong: Vec<Constraint>| refusal(&request, wrong, Trace::default());
    let mut demand = demand::demand(host, profile, &request).map_err(refuse)?;
    demand.items.retain(|it| it.part == Part::Device(index));
    let wrong = checks::nodes_of_device(cx, index);
    if !wrong.is_empty() {
        return Err(refuse(wrong));
    }
    let choice = Choice {
        advice: plan.advice.clone(),
        one: None,
        by_cell: false,
        own: None,
        weakened: Vec::new(),
        trace: Trace::default(),
    };
    let promise = promise::promise(cx, &demand, &choice).map_err(refuse)?;
    let (Some(part), Some(item)) = (promise.parts.into_iter().next(), demand.items.first()) else {
        return Err(refuse(vec![Constraint::Invalid { what: format!("there is no memory device {index}") }]));
    };
    // Whoever is confined by a cpuset gets no memory elsewhere, whatever is asked of the kernel.
    if let Some(mems) = plan.process.mems.as_ref().filter(|mems| !part.policy.nodes.is_subset(mems)) {
        let what = format!("memory of nodes {} for a guest that its cpuset confines to {mems}", part.policy.nodes);
        return Err(refuse(vec![Constraint::Unsupported { rule: "Q8".to_owned(), what }]));
    }
    let mut new = plan.clone();
    new.revision += 1;
    new.headroom.memory = without(&plan.headroom.memory, &part.memory, plan.headroom.page == item.page);
    new.weakened.extend(promise.weakened);
    let device = MemoryDevicePlan {
        index,
        cell: request.devices.get(index).and_then(|it| it.cell),
        memory: part.memory,
        policy: part.policy,
        page: item.page,
    };
    new.devices.retain(|it| it.index != index);
    new.devices.push(device);
    new.devices.sort_by_key(|it| it.index);
    Ok(new)
}

/// The plan without the memory device at `index`: those behind it move up.
#[must_use]
pub fn unplug(plan: &Plan, index: usize) -> Plan {
    let mut new = plan.clone();
    new.revision += 1;
    new.devices.retain(|it| it.index != index);
    for device in new.devices.iter_mut().filter(|it| it.index > index) {
        device.index -= 1;
    }
    new
}

/// What is left of the headroom when this was taken from it.
fn without(kept: &[NodeShare], taken: &[NodeShare], same_page: bool) -> Vec<NodeShare> {
    let of = |share: &NodeShare| {
        let taken = taken.iter().filter(|it| same_page && it.node == share.node).map(|it| it.size).sum::<Kib>();
        NodeShare::new(share.node, share.size.saturating_sub(taken))
    };
    kept.iter().map(of).filter(|it| !it.size.is_zero()).collect()
}

impl Plan {
    fn headroom_promised(&self) -> Promised {
        let mut all = Promised::default();
        all.book(&self.headroom.memory, self.headroom.page);
        all
    }

    /// What of the promise is of memory devices and kept for them: what changes while the guest runs.
    pub(crate) fn plugged(&self) -> Promised {
        let mut all = self.headroom_promised();
        for device in &self.devices {
            all.book(&device.memory, device.page);
        }
        all
    }
}

impl Promised {
    /// Adds memory that nobody has touched.
    fn book(&mut self, shares: &[NodeShare], page: PageSize) {
        for share in shares {
            let promise = self.node_mut(share.node);
            match page {
                PageSize::Base => {
                    promise.memory = promise.memory.saturating_add(share.size);
                    promise.untouched = promise.untouched.saturating_add(share.size);
                }
                PageSize::Huge(page) => {
                    for pages in [&mut promise.pages, &mut promise.untouched_pages] {
                        let sum = pages.entry(page).or_default();
                        *sum = sum.saturating_add(share.size.pages(page));
                    }
                }
            }
        }
    }

    /// Takes memory off: where it was promised, and what is not there any more from where it is.
    pub(crate) fn subtract(&mut self, other: &Promised) {
        let mut elsewhere = self.subtract_within(other);
        for promise in self.nodes.values_mut() {
            let part = promise.memory.min(elsewhere);
            promise.memory = promise.memory.saturating_sub(part);
            promise.untouched = promise.untouched.min(promise.memory);
            elsewhere = elsewhere.saturating_sub(part);
        }
    }

    /// Takes memory off where it is; says how much is not there.
    pub(crate) fn subtract_within(&mut self, other: &Promised) -> Kib {
        let mut elsewhere = Kib::ZERO;
        for (id, less) in &other.nodes {
            let promise = self.node_mut(*id);
            elsewhere = elsewhere.saturating_add(less.memory.saturating_sub(promise.memory));
            promise.memory = promise.memory.saturating_sub(less.memory);
            promise.untouched = promise.untouched.saturating_sub(less.untouched).min(promise.memory);
            let pages = [(&mut promise.pages, &less.pages), (&mut promise.untouched_pages, &less.untouched_pages)];
            for (from, less) in pages {
                for (size, less) in less {
                    let rest = from.get(size).copied().unwrap_or(0).saturating_sub(*less);
                    from.insert(*size, rest);
                }
                from.retain(|_, pages| *pages > 0);
            }
        }
        elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{MemoryDeviceRequest, Overcommit};
    use crate::rules::{GeneralPolicy, Stored};
    use crate::{GuestCell, GuestShape, HostNode, KernelSupport, MemMode, NodeSet, plan as decide};

    fn host() -> HostTopology {
        HostTopology::uniform(2, 2, Kib::from_gib(8)).build().unwrap()
    }

    fn nodes(text: &str) -> NodeSet {
        text.parse().unwrap()
    }

    /// A guest of 1 GiB on node 0, which a second device of this size is asked for.
    fn guest(stored: Stored, size: Kib) -> (Request, Plan) {
        let before =
            Request::new("g", GuestShape::flat(1, Kib::from_gib(1))).stored(stored).overcommit(Overcommit::Never);
        let before = before.kernel(KernelSupport::default().with_cpuset(true));
        let plan = decide(&host(), &Promised::default(), &PlacementProfile::qemu(), &before).unwrap();
        let mut after = before;
        after.shape.memory = after.shape.memory.saturating_add(size);
        (after.device(MemoryDeviceRequest::new(None, size)), plan)
    }

    fn plugged(request: &Request, plan: &Plan, promised: &Promised) -> Result<Plan, Refusal> {
        plug(&host(), promised, &PlacementProfile::qemu(), request, plan, 0)
    }

    fn shares(plan: &Plan) -> Vec<(u32, Kib)> {
        plan.devices[0].memory.iter().map(|it| (it.node.0, it.size)).collect()
    }

    #[test]
    fn a_device_goes_by_the_guests_policy_and_its_own_nodes() {
        let strict = Stored::default().with_memory(GeneralPolicy::named(MemMode::Strict, nodes("1")));
        let (request, plan) = guest(strict, Kib::from_gib(2));
        let new = plugged(&request, &plan, &Promised::default()).unwrap();
        assert_eq!(shares(&new), [(1, Kib::from_gib(2))]);
        assert_eq!((new.revision, new.cells == plan.cells), (plan.revision + 1, true));
        let mut own = request;
        own.devices[0].nodes = Some(nodes("0"));
        let refusal = plugged(&own, &plan, &Promised::default()).unwrap_err();
        assert!(refusal.to_string().contains("its cpuset confines to 1"), "{refusal}");
        let (request, plan) = guest(Stored::default(), Kib::from_gib(2));
        let mut own = request;
        own.devices[0].nodes = Some(nodes("1"));
        assert_eq!(shares(&plugged(&own, &plan, &Promised::default()).unwrap()), [(1, Kib::from_gib(2))]);
        own.devices[0].nodes = Some(nodes("7"));
        assert!(plugged(&own, &plan, &Promised::default()).unwrap_err().to_string().contains("not online"));
    }

    #[test]
    fn what_is_promised_to_others_is_not_given() {
        let strict = Stored::default().with_memory(GeneralPolicy::named(MemMode::Strict, nodes("1")));
        let (request, plan) = guest(strict, Kib::from_gib(3));
        let mut promised = Promised::default();
        promised.book(&[NodeShare::new(HostNode(1), Kib::from_gib(6))], PageSize::Base);
        let refusal = plugged(&request, &plan, &promised).unwrap_err();
        assert!(matches!(refusal.constraints[..], [Constraint::Memory { .. }]), "{refusal}");
        // Unless it was kept for this guest.
        let mut kept = plan;
        kept.headroom.memory = vec![NodeShare::new(HostNode(1), Kib::from_gib(4))];
        let new = plugged(&request, &kept, &promised).unwrap();
        assert_eq!(new.headroom.memory, [NodeShare::new(HostNode(1), Kib::from_gib(1))]);
        assert_eq!(new.plugged(), kept.plugged(), "so no more is promised than before");
    }

    #[test]
    fn who_is_unplugged_leaves_and_the_others_move_up() {
        let (_, mut plan) = guest(Stored::default(), Kib(1));
        let device = |index, size| MemoryDevicePlan {
            index,
            cell: Some(GuestCell(0)),
            memory: vec![NodeShare::new(HostNode(0), Kib(size))],
            policy: crate::MemPolicy::none(),
            page: PageSize::Base,
        };
        plan.devices = vec![device(0, 1), device(1, 2), device(2, 3)];
        assert_eq!(unplug(&plan, 1).devices, [device(0, 1), device(1, 3)]);
    }

    #[test]
    fn memory_that_moved_is_taken_off_where_it_is() {
        let of = |shares: &[(u32, u64)]| {
            let mut all = Promised::default();
            let shares: Vec<_> =
                shares.iter().map(|(node, size)| NodeShare::new(HostNode(*node), Kib(*size))).collect();
            all.book(&shares, PageSize::Base);
            all
        };
        let mut all = of(&[(0, 100), (1, 50)]);
        all.subtract(&of(&[(1, 80)]));
        assert_eq!(all.nodes.values().map(|it| it.memory.0).collect::<Vec<_>>(), [70, 0]);
        let mut pages = Promised::default();
        pages.book(&[NodeShare::new(HostNode(0), Kib(8192))], PageSize::Huge(Kib(2048)));
        pages.subtract(&pages.clone());
        assert!(pages.nodes[&HostNode(0)].pages.is_empty());
    }
}
