//! The PCI buses of a guest, and which of their slots are free.

use polyvirt_core::model::controller::ControllerModel as M;

use super::link::{self, Kind, Link};

/// Buses at most: a bus number has eight bits.
const MOST: usize = 256;

/// Functions of a slot.
pub(super) const FUNCTIONS: u8 = 8;

/// Why nothing can be put somewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("there is no PCI bus {bus}; the last one is {last}")]
    NoBus { bus: u32, last: usize },
    #[error("a {model} has the slots {first:#x} to {last:#x}, not {slot:#x}")]
    NoSlot { model: M, first: u8, last: u8, slot: u32 },
    #[error("a {model} does not take it; give the number of a bus of model '{fitting}', or none to have one chosen")]
    Unfit { model: M, fitting: String },
    #[error("it belongs to the board, so its bus is 0, not {bus}")]
    NotIntegrated { bus: u32 },
    #[error("PCI address {bus:02x}:{slot:02x}.{function} is taken; leave the address out to have a free one chosen")]
    Taken { bus: u32, slot: u32, function: u32 },
    #[error("no PCI slot is free for it, and none can be added; {remedy}")]
    Full { remedy: &'static str },
}

/// A place on PCI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) bus: u32,
    pub(super) slot: u8,
    pub(super) function: u8,
}

/// A set of devices of the host that only go together.
pub(super) type Group = u32;

#[derive(Debug)]
struct Bus {
    kind: &'static Kind,
    /// Functions that are taken, by slot.
    taken: [u8; 32],
    /// Slots in which several ports share the functions.
    shared: u32,
    /// Whose devices are on it.
    group: Option<Group>,
}

/// What a device asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) link: Link,
    /// A port, several of which share a slot.
    pub(super) shares: bool,
    /// Devices of one group have buses of their own.
    pub(super) group: Option<Group>,
}

/// What to make more buses of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Bridges of legacy PCI.
    Bridges,
    /// Host bridges (pSeries).
    Roots,
    /// Ports, and for legacy devices a bridge behind one of them.
    Ports,
    /// As `Ports`, for a QEMU that has only the older bridge.
    PortsAndDmi,
}

impl Growth {
    /// What a bus is that is named and not described.
    pub(super) fn filler(self) -> M {
        match self {
            Self::Bridges => M::PciBridge,
            Self::Roots => M::PciRoot,
            Self::Ports | Self::PortsAndDmi => M::PcieRootPort,
        }
    }
}

/// The buses of a guest, by number.
#[derive(Debug)]
pub(super) struct Buses {
    buses: Vec<Bus>,
    growth: Growth,
    /// How many there were at first.
    known: usize,
}

impl Buses {
    /// Buses by number. A number that no controller has gets what the machine is extended with.
    pub(super) fn new(models: &[Option<M>], growth: Growth) -> Self {
        let mut buses = Self { buses: Vec::new(), growth, known: models.len() };
        for model in models {
            buses.push(model.unwrap_or_else(|| growth.filler()));
        }
        buses
    }

    fn push(&mut self, model: M) {
        if let Some(kind) = link::of(model) {
            self.buses.push(Bus { kind, taken: [0; 32], shared: 0, group: None });
        }
    }

    /// The models of buses that were added, by number.
    pub(super) fn added(&self) -> impl Iterator<Item = M> + '_ {
        self.buses.iter().skip(self.known).map(|it| it.kind.model)
    }

    /// Adds buses up to this number.
    pub(super) fn reach(&mut self, bus: u32) {
        while self.buses.len() <= bus as usize && self.buses.len() < MOST {
            self.push(self.growth.filler());
        }
    }

    /// Whether every slot of every bus is taken.
    pub(super) fn is_full(&self) -> bool {
        let full = |bus: &Bus| (bus.kind.first..=bus.kind.last).all(|slot| bus.taken[usize::from(slot)] != 0);
        self.buses.iter().all(full)
    }

    /// Takes what the chipset takes.
    pub(super) fn take(&mut self, at: Slot) {
        if let Some(bus) = self.buses.get_mut(at.bus as usize) {
            bus.taken[usize::from(at.slot)] |= 1 << at.function;
        }
    }

    /// Gives a place back.
    pub(super) fn give_back(&mut self, at: Slot) {
        if let Some(bus) = self.buses.get_mut(at.bus as usize) {
            bus.taken[usize::from(at.slot)] &= !(1 << at.function);
        }
    }

    /// Whether a whole slot of the first bus is free.
    pub(super) fn is_free(&self, slot: u8) -> bool {
        self.buses.first().is_some_and(|bus| bus.taken[usize::from(slot)] == 0)
    }

    /// Takes a place that was given. A device may sit where it would not be put: on a bus without hot-plug, a legacy device in a
    /// port, an Express device in a slot.
    pub(super) fn reserve(&mut self, [bus, slot, function]: [u32; 3], wish: Wish) -> Result<(), PlaceError> {
        let last = self.buses.len().saturating_sub(1);
        let found = self.buses.get_mut(bus as usize).ok_or(PlaceError::NoBus { bus, last })?;
        let kind = found.kind;
        let mut link = wish.link.without(Link::HOTPLUG);
        if link.has(Link::INTEGRATED) && bus != 0 {
            return Err(PlaceError::NotIntegrated { bus });
        }
        if link.is_endpoint() {
            let endpoints = Link::PCI.and(Link::PCIE);
            link = if kind.accepts.has(Link::PCI) { Link::PCI } else { Link::PCIE };
            if !kind.accepts.has(link) {
                return Err(PlaceError::Unfit {
                    model: kind.model,
                    fitting: link::accepting(wish.link.without(endpoints).and(link)),
                });
            }
        }
        if !kind.accepts.has(link) {
            return Err(PlaceError::Unfit { model: kind.model, fitting: link::accepting(link) });
        }
        let fits = u8::try_from(slot).ok().filter(|slot| (kind.first..=kind.last).contains(slot));
        let at = fits.ok_or(PlaceError::NoSlot { model: kind.model, first: kind.first, last: kind.last, slot })?;
        let bit = u8::try_from(function).ok().filter(|it| *it < FUNCTIONS).map_or(0, |it| 1 << it);
        let taken = &mut found.taken[usize::from(at)];
        if *taken & bit != 0 || bit == 0 {
            return Err(PlaceError::Taken { bus, slot, function });
        }
        if wish.shares && *taken == 0 {
            found.shared |= 1 << at;
        } else if !wish.shares {
            found.shared &= !(1 << at);
        }
        *taken |= bit;
        if wish.group.is_some() {
            found.group = wish.group;
        }
        Ok(())
    }

    /// Takes the first free place for a device, on a bus that is added if need be.
    pub(super) fn next(&mut self, wish: Wish) -> Result<Slot, PlaceError> {
        if let Some(at) = self.find(wish) {
            return Ok(self.put(at, wish));
        }
        self.grow(wish.link)?;
        let at = self.find(wish).ok_or(PlaceError::Full { remedy: "remove devices" })?;
        Ok(self.put(at, wish))
    }

    fn put(&mut self, at: Slot, wish: Wish) -> Slot {
        let bus = &mut self.buses[at.bus as usize];
        bus.taken[usize::from(at.slot)] |= 1 << at.function;
        if wish.shares {
            bus.shared |= 1 << at.slot;
        }
        if wish.group.is_some() {
            bus.group = wish.group;
        }
        at
    }

    fn find(&self, wish: Wish) -> Option<Slot> {
        let same = self.find_in(wish, |bus| bus.group == wish.group);
        // A group begins on a bus of its own, which the first is never.
        same.or_else(|| wish.group.and_then(|_| self.find_in(wish, |bus| bus.group.is_none() && bus.taken == [0; 32])))
    }

    fn find_in(&self, wish: Wish, fits: impl Fn(&Bus) -> bool) -> Option<Slot> {
        let first = usize::from(wish.group.is_some());
        (0_u32..).zip(&self.buses).skip(first).filter(|(_, bus)| bus.kind.accepts.has(wish.link) && fits(bus)).find_map(
            |(number, bus)| {
                (bus.kind.first..=bus.kind.last).find_map(|slot| {
                    let taken = bus.taken[usize::from(slot)];
                    let function = if wish.shares && bus.shared & (1 << slot) != 0 {
                        (0..FUNCTIONS).find(|function| taken & (1 << function) == 0)
                    } else {
                        (taken == 0).then_some(0)
                    };
                    function.map(|function| Slot { bus: number, slot, function })
                })
            },
        )
    }

    /// Adds what has a place for this.
    fn grow(&mut self, link: Link) -> Result<(), PlaceError> {
        let legacy = link.has(Link::PCI) || link.has(Link::BRIDGE);
        let express = link.has(Link::PCIE) || link.has(Link::UPSTREAM) || link.has(Link::PCIE_BRIDGE);
        let models: &[M] = match self.growth {
            _ if link.has(Link::INTEGRATED) => &[],
            Growth::Bridges if legacy || express => &[M::PciBridge],
            Growth::Roots if legacy || express => &[M::PciRoot],
            Growth::Ports | Growth::PortsAndDmi if express => &[M::PcieRootPort],
            Growth::Ports | Growth::PortsAndDmi if legacy && self.has(M::DmiToPciBridge) => &[M::PciBridge],
            Growth::Ports if legacy => &[M::PcieRootPort, M::PcieToPciBridge],
            Growth::PortsAndDmi if legacy => &[M::DmiToPciBridge, M::PciBridge],
            _ => &[],
        };
        let remedy = match link {
            _ if link.has(Link::ROOT_PORT) => {
                "slots of a pcie-root take eight ports each; remove ports or use switches"
            }
            _ if link.has(Link::DOWNSTREAM) => "add a controller of model 'pcie-switch-upstream-port'",
            _ => "remove devices",
        };
        if models.is_empty() || self.buses.len() + models.len() > MOST {
            return Err(PlaceError::Full { remedy });
        }
        models.iter().for_each(|model| self.push(*model));
        // The bridge takes the port that came with it.
        if let [M::PcieRootPort, M::PcieToPciBridge] = models {
            let port = self.buses.len() - 2;
            self.buses[port].taken[0] = 1;
        }
        Ok(())
    }

    fn has(&self, model: M) -> bool {
        self.buses.iter().any(|bus| bus.kind.model == model)
    }
}
