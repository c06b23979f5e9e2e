//! Which node promises how much memory to which part of the guest, and whether that is too much.

use super::choose::{Choice, spread};
use super::demand::{Demand, Item, Part, unit_size};
use super::own;
use super::shares::{Liking, Shares, Wish, parts, share};
use super::{Context, fixed, short_of};
use crate::binding;
use crate::plan::{NodeShare, Weakening};
use crate::policy::{MemMode, MemPolicy, PageSize};
use crate::profile::NodesPerCell;
use crate::refusal::Constraint;
use crate::request::Overcommit;
use crate::rules::GeneralPolicy;
use crate::set::NodeSet;
use crate::topology::{Node, NodeKind};
use crate::units::{Kib, VcpuId};

/// One part of the guest: its policy and its memory.
pub(super) struct PartPromise {
    pub(super) policy: MemPolicy,
    pub(super) memory: Vec<NodeShare>,
}

/// All parts, in the order of the demand's items.
pub(super) struct Promise {
    pub(super) parts: Vec<PartPromise>,
    pub(super) weakened: Vec<Weakening>,
}

/// Promises memory to every part.
pub(super) fn promise(cx: Context<'_>, demand: &Demand, choice: &Choice) -> Result<Promise, Vec<Constraint>> {
    let policies: Vec<MemPolicy> =
        demand.items.iter().enumerate().map(|(at, item)| policy_of(cx, demand, choice, at, item)).collect();
    let mut given: Vec<Vec<(usize, u64)>> = vec![Vec::new(); demand.items.len()];
    let (mut wrong, mut weakened) = (Vec::new(), Vec::new());
    for (page, _) in demand.totals() {
        let members: Vec<usize> = (0..demand.items.len()).filter(|at| demand.items[*at].page == page).collect();
        let wishes: Vec<Wish> =
            members.iter().map(|at| wish(cx, demand, choice, &policies[*at], &demand.items[*at])).collect();
        let room: Vec<u64> = cx.host.nodes().iter().map(|node| room(cx, node, page)).collect();
        let mut shares = share(&wishes, &room, &|from, to| cx.host.distance_at(from, to));
        if shares.lacking.iter().any(|lacking| *lacking > 0) {
            let short = shortage(cx, page, &shares, &room);
            if may_overcommit(cx, page) && overcommit(cx, &wishes, &mut shares) {
                weakened.push(Weakening::new("host", "more memory is promised than is free", short.to_string()));
            } else {
                wrong.push(short);
            }
        }
        for (at, shares) in members.into_iter().zip(shares.given) {
            given[at] = shares;
        }
    }
    if let Some(over) = over_limit(cx, demand) {
        if may_overcommit(cx, PageSize::Base) {
            weakened.push(Weakening::new("host", "more memory is promised than guests may have", over.to_string()));
        } else {
            wrong.push(over);
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let parts = policies
        .into_iter()
        .zip(given)
        .zip(&demand.items)
        .map(|((policy, given), item)| PartPromise { policy, memory: in_kib(cx, &given, item.page) })
        .collect();
    Ok(Promise { parts, weakened })
}

fn in_kib(cx: Context<'_>, given: &[(usize, u64)], page: PageSize) -> Vec<NodeShare> {
    let size = unit_size(page);
    given.iter().map(|(at, units)| NodeShare::new(cx.host.nodes()[*at].id, size.saturating_mul(*units))).collect()
}

fn room(cx: Context<'_>, node: &Node, page: PageSize) -> u64 {
    match page {
        PageSize::Base => cx.promised.memory_left(node).0,
        PageSize::Huge(size) => cx.promised.pages_left(node, size),
    }
}

/// The policy of a part: its cell's; a device's own nodes replace those of its cell (Q8); one node if the driver
/// knows no more.
fn policy_of(cx: Context<'_>, demand: &Demand, choice: &Choice, at: usize, item: &Item) -> MemPolicy {
    let (cell, own) = match item.part {
        Part::Cell(at) => (demand.cells[at].cell, None),
        Part::Device(at) => {
            let device = &cx.request.devices[at];
            (device.policy_cell(), device.nodes.clone())
        }
        Part::Headroom => (demand.cells[0].cell, None),
    };
    let stored = &cx.request.stored;
    let mut policy = match cx.profile.nodes_per_cell {
        NodesPerCell::Process => binding::general_policy(stored, choice.advice.as_ref()),
        NodesPerCell::One | NodesPerCell::Many => binding::cell_policy(stored, choice.advice.as_ref(), cell),
    };
    if cx.profile.nodes_per_cell == NodesPerCell::Process || stored.memnode(cell).is_none() {
        policy = cx.weighed(policy);
    }
    if let Some(nodes) = own {
        policy = MemPolicy::new(policy.mode.unwrap_or(MemMode::Strict), nodes);
    }
    match &choice.one {
        _ if fixed::policy(cx, demand, item).is_some() => policy,
        Some(one) => MemPolicy::new(policy.mode.unwrap_or(MemMode::Strict), NodeSet::of(cx.host.nodes()[one[at]].id)),
        None => policy,
    }
}

fn wish(cx: Context<'_>, demand: &Demand, choice: &Choice, policy: &MemPolicy, item: &Item) -> Wish {
    let positions = |wanted: &dyn Fn(&Node) -> bool| -> Vec<usize> {
        (0..cx.host.nodes().len()).filter(|at| wanted(&cx.host.nodes()[*at])).collect()
    };
    let named = positions(&|node| policy.nodes.contains(node.id));
    let anywhere = positions(&|node| {
        policy.nodes.contains(node.id) || (node.kind != NodeKind::DeviceMemory && !node.memory.is_zero())
    });
    let (allowed, liking) = match policy.mode {
        Some(MemMode::Interleave) if policy.weighted => {
            let weights = named.iter().map(|at| (*at, f64::from(cx.host.nodes()[*at].weight))).collect();
            (anywhere, Liking::Parts(weights))
        }
        Some(MemMode::Interleave) => (anywhere, Liking::even(named)),
        // Preferred nodes come first, then the kernel goes on to any other: the overflow is taken by `allowed`.
        Some(MemMode::Preferred) => (anywhere, Liking::even(named)),
        Some(MemMode::Strict | MemMode::Restrictive) => (named, near(cx, demand, choice, item)),
        None => (anywhere, near(cx, demand, choice, item)),
    };
    Wish { units: item.units, allowed, liking }
}

/// From the view of the part's own vCPUs, or of all of them for memory without vCPUs.
fn near(cx: Context<'_>, demand: &Demand, choice: &Choice, item: &Item) -> Liking {
    let cell = match item.part {
        Part::Cell(at) => Some(&demand.cells[at]),
        Part::Device(at) => demand.cells.iter().find(|cell| Some(cell.cell) == cx.request.devices[at].cell),
        Part::Headroom => None,
    };
    let (advice, own) = (choice.advice.as_ref(), choice.own.as_ref());
    Liking::Near(match cell.filter(|cell| !cell.vcpus.is_empty()) {
        Some(cell) => spread(cx, advice, own, cell.vcpus.iter()),
        None => spread(cx, advice, own, (0..demand.vcpus).map(VcpuId)),
    })
}

/// What the guest asks beyond the limit of all guests together, if there is one. Huge pages do not count: cgroups account them
/// elsewhere (`hugetlb`).
fn over_limit(cx: Context<'_>, demand: &Demand) -> Option<Constraint> {
    let limit = cx.host.limit()?;
    let need = demand.totals().into_iter().find(|(page, _)| *page == PageSize::Base).map(|(_, kib)| Kib(kib))?;
    let promised: Kib = cx.promised.nodes.values().map(|promise| promise.memory).sum();
    let have = limit.size.saturating_sub(promised);
    (need > have).then(|| Constraint::Limit { by: limit.by.clone(), need, have })
}

fn shortage(cx: Context<'_>, page: PageSize, shares: &Shares, room: &[u64]) -> Constraint {
    let nodes = shares.cut.iter().map(|at| cx.host.nodes()[*at].id).collect();
    let have = shares.cut.iter().fold(0u64, |sum, at| sum.saturating_add(room[*at]));
    short_of(page, nodes, shares.cut_need, have)
}

/// Automatic memory is never promised beyond what is free, huge pages never beyond their pool.
fn may_overcommit(cx: Context<'_>, page: PageSize) -> bool {
    let auto = cx.request.stored.memory.as_ref().is_some_and(GeneralPolicy::is_auto);
    page == PageSize::Base && cx.request.overcommit == Overcommit::Named && !auto
}

/// Promises the rest where it is allowed, up to what is installed less what this guest has there already; false if
/// even that does not do.
fn overcommit(cx: Context<'_>, wishes: &[Wish], shares: &mut Shares) -> bool {
    let mut installed: Vec<u64> =
        cx.host.nodes().iter().map(|node| node.memory.saturating_sub(node.pooled())).map(|Kib(kib)| kib).collect();
    for (at, units) in shares.given.iter().flatten() {
        installed[*at] = installed[*at].saturating_sub(*units);
    }
    let rest: Vec<Wish> = wishes
        .iter()
        .zip(&shares.lacking)
        .map(|(wish, lacking)| {
            let allowed = wish.allowed.clone();
            // In proportion to what is installed: nobody knows which guest will give way to which.
            let weights: Vec<f64> = allowed.iter().map(|at| ratio(installed[*at])).collect();
            let all: f64 = weights.iter().sum::<f64>().max(1.0);
            let cpus = allowed.iter().copied().zip(weights.into_iter().map(|w| w / all)).collect();
            Wish { units: *lacking, allowed, liking: Liking::Near(cpus) }
        })
        .collect();
    let more = share(&rest, &installed, &|from, to| cx.host.distance_at(from, to));
    if more.lacking.iter().any(|lacking| *lacking > 0) {
        return false;
    }
    for (given, more) in shares.given.iter_mut().zip(more.given) {
        for (at, units) in more {
            match given.iter_mut().find(|(known, _)| *known == at) {
                Some((_, sum)) => *sum += units,
                None => given.push((at, units)),
            }
        }
        given.sort_unstable();
    }
    true
}

#[expect(clippy::cast_precision_loss, reason = "a weight")]
fn ratio(units: u64) -> f64 {
    units as f64
}

/// vCPUs per node in thousandths, for the ledger.
pub(super) fn milli_vcpus(cx: Context<'_>, demand: &Demand, choice: &Choice) -> Vec<(usize, u64)> {
    if let (true, Some(one)) = (choice.by_cell, &choice.one) {
        let groups = own::by_cell(demand, one);
        return groups.into_iter().map(|(at, vcpus)| (at, vcpus.len() as u64 * 1000)).collect();
    }
    let shares = spread(cx, choice.advice.as_ref(), choice.own.as_ref(), (0..demand.vcpus).map(VcpuId));
    let weights: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
    let milli = parts(u64::from(demand.vcpus) * 1000, &weights);
    shares.into_iter().map(|(at, _)| at).zip(milli).collect()
}
