//! Cells of an automatic guest whose memory is where the definition says: the search leaves them out, and sees their memory as
//! promised already.

use super::Context;
use super::demand::{Demand, Item, Part, unit_size};
use super::shares::parts;
use crate::policy::PageSize;
use crate::profile::NodesPerCell;
use crate::promised::Promised;
use crate::rules::CellPolicy;

/// The policy that fixes this part of the guest, if one does. Drivers with one node for each cell or one set for all have no such cells:
/// the former are placed one by one anyway, with all that is named.
pub(super) fn policy<'a>(cx: Context<'a>, demand: &Demand, item: &Item) -> Option<&'a CellPolicy> {
    let cell = match item.part {
        Part::Cell(at) => demand.cells[at].cell,
        Part::Device(at) => {
            let device = &cx.request.devices[at];
            if device.nodes.is_some() { return None } else { device.policy_cell() }
        }
        Part::Headroom => return None,
    };
    let policy = cx.request.stored.memnode(cell).filter(|policy| policy.fixed);
    policy.filter(|_| cx.profile.nodes_per_cell == NodesPerCell::Many)
}

/// What is left to be placed, by page size, ascending.
pub(super) fn rest(cx: Context<'_>, demand: &Demand) -> Vec<(PageSize, u64)> {
    if !cx.request.stored.memnodes.iter().any(|policy| policy.fixed) {
        return demand.totals();
    }
    let items = demand.items.iter().filter(|item| policy(cx, demand, item).is_none()).copied().collect();
    Demand { cells: Vec::new(), items, vcpus: demand.vcpus }.totals()
}

/// The promises, and with them what is fixed, the same on each of its nodes; `None` if nothing is.
pub(super) fn beside(cx: Context<'_>, demand: &Demand) -> Option<Promised> {
    let fixed = || demand.items.iter().filter_map(|item| Some((item, policy(cx, demand, item)?)));
    fixed().next()?;
    let mut promised = cx.promised.clone();
    for (item, policy) in fixed() {
        let shares = parts(item.units, &vec![1.0; policy.nodes.len()]);
        for (node, units) in policy.nodes.iter().zip(shares) {
            let promise = promised.node_mut(node);
            match item.page {
                PageSize::Base => {
                    let size = unit_size(item.page).saturating_mul(units);
                    promise.memory = promise.memory.saturating_add(size);
                    promise.untouched = promise.untouched.saturating_add(size);
                }
                PageSize::Huge(size) => {
                    for pages in [&mut promise.pages, &mut promise.untouched_pages] {
                        let sum = pages.entry(size).or_default();
                        *sum = sum.saturating_add(units);
                    }
                }
            }
        }
    }
    Some(promised)
}
