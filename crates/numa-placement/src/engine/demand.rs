//! What a guest needs, in units that nodes have: KiB of ordinary memory, pages of each size, CPUs.

use crate::policy::{PageRequest, PageSize};
use crate::profile::{CellSupport, PlacementProfile};
use crate::refusal::Constraint;
use crate::request::Request;
use crate::set::LIMIT;
use crate::shape::CellShape;
use crate::topology::HostTopology;
use crate::units::{GuestCell, Kib};

/// Which part of the guest an item of demand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Position among the planned cells.
    Cell(usize),
    /// Position among the memory devices.
    Device(usize),
    /// What is kept for hot-plug.
    Headroom,
}

/// Memory that one part of the guest needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) part: Part,
    pub(super) page: PageSize,
    /// KiB, or pages.
    pub(super) units: u64,
}

/// Everything a guest needs.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) cells: Vec<CellShape>,
    pub(super) items: Vec<Item>,
    /// vCPUs online at the start.
    pub(super) vcpus: u32,
}

impl Demand {
    /// Sums by page size, ascending.
    pub(super) fn totals(&self) -> Vec<(PageSize, u64)> {
        let mut totals = std::collections::BTreeMap::new();
        for item in &self.items {
            let sum: &mut u64 = totals.entry(item.page).or_default();
            *sum = sum.saturating_add(item.units);
        }
        totals.into_iter().collect()
    }
}

/// KiB in one unit of this page size.
pub(super) fn unit_size(page: PageSize) -> Kib {
    match page {
        PageSize::Base => Kib(1),
        PageSize::Huge(size) => size,
    }
}

/// Reads the demand off a request, or says what is wrong with it.
pub(super) fn demand(
    host: &HostTopology,
    profile: &PlacementProfile,
    request: &Request,
) -> Result<Demand, Vec<Constraint>> {
    let mut wrong = Vec::new();
    let shape = &request.shape;
    let invalid = |what: String| Constraint::Invalid { what };
    if shape.vcpus_online == 0 || shape.vcpus_online > shape.vcpus_max {
        wrong.push(invalid(format!("{} online vCPUs of {}", shape.vcpus_online, shape.vcpus_max)));
    }
    if shape.vcpus_max > LIMIT {
        wrong.push(invalid(format!("{} vCPUs (at most {LIMIT})", shape.vcpus_max)));
    }
    if shape.memory.is_zero() {
        wrong.push(invalid("a memory size of zero".to_owned()));
    }
    let cells = match profile.cells {
        CellSupport::None => {
            let flat = crate::shape::GuestShape { cells: Vec::new(), ..shape.clone() };
            flat.planned_cells()
        }
        CellSupport::Virtual { max } => {
            if u32::try_from(shape.cells.len()).unwrap_or(u32::MAX) > max {
                let what = format!("{} guest cells (at most {max})", shape.cells.len());
                wrong.push(Constraint::Unsupported { rule: "C1".to_owned(), what });
            }
            shape.planned_cells()
        }
    };
    if let Some(cell) = cells.iter().find(|cell| cell.memory.is_zero()) {
        wrong.push(invalid(format!("guest cell {} without memory", cell.cell)));
    }
    let devices: Kib = request.devices.iter().map(|device| device.size).sum();
    let mut items = Vec::new();
    for (at, cell) in cells.iter().enumerate() {
        let asked = request.cell_pages.get(&cell.cell).copied().unwrap_or(request.page);
        // Without cells the memory of the shape includes the devices, which are items of their own.
        let size = if shape.cells.is_empty() { cell.memory.saturating_sub(devices) } else { cell.memory };
        push_item(&mut items, &mut wrong, Part::Cell(at), asked, size, host, profile);
    }
    for (at, device) in request.devices.iter().enumerate() {
        let of_cell = device.cell.and_then(|cell: GuestCell| request.cell_pages.get(&cell).copied());
        let asked = device.page.or(of_cell).unwrap_or(request.page);
        push_item(&mut items, &mut wrong, Part::Device(at), asked, device.size, host, profile);
    }
    if !request.headroom.is_zero() {
        push_item(&mut items, &mut wrong, Part::Headroom, request.page, request.headroom, host, profile);
    }
    if wrong.is_empty() { Ok(Demand { cells, items, vcpus: shape.vcpus_online }) } else { Err(wrong) }
}

fn push_item(
    items: &mut Vec<Item>,
    wrong: &mut Vec<Constraint>,
    part: Part,
    asked: PageRequest,
    size: Kib,
    host: &HostTopology,
    profile: &PlacementProfile,
) {
    match page_size(asked, host, profile) {
        Ok(page) => items.push(Item { part, page, units: size.pages(unit_size(page)) }),
        Err(constraint) if wrong.contains(&constraint) => {}
        Err(constraint) => wrong.push(constraint),
    }
}

/// The page size that is meant; the host's base page size means "no huge pages".
fn page_size(asked: PageRequest, host: &HostTopology, profile: &PlacementProfile) -> Result<PageSize, Constraint> {
    let usable = |size: &Kib| profile.page_sizes.is_empty() || profile.page_sizes.contains(size);
    let available: Vec<Kib> = host.page_sizes().into_iter().filter(usable).collect();
    let size = match asked {
        PageRequest::Base => return Ok(PageSize::Base),
        PageRequest::Size(size) if size == host.base_page() => return Ok(PageSize::Base),
        PageRequest::Size(size) => size,
        PageRequest::DefaultHuge => host
            .default_huge()
            .filter(|size| available.contains(size))
            .or_else(|| available.first().copied())
            .ok_or(Constraint::NoSuchPageSize { size: Kib(2048), available: Vec::new() })?,
    };
    if available.contains(&size) {
        Ok(PageSize::Huge(size))
    } else {
        Err(Constraint::NoSuchPageSize { size, available })
    }
}
