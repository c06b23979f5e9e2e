//! What a guest wishes of its place beyond libvirt's format: `<polyvirt:placement>` inside `<metadata>`.
//!
//! libvirt keeps metadata of foreign namespaces as it is, so a definition with wishes stays a valid libvirt definition and
//! survives the trip. The tree in [`DomainConfig::metadata`] is the only place where wishes live; this reads them out of it, with
//! the problems that are in it, and fills a [`Request`]. Other metadata is not looked at.
//!
//! What it does not do: it looks at no host, so nodes and PCI addresses are only names here.

use std::fmt;
use std::str::FromStr;

use polyvirt_numa_placement::rules::CellPolicy;
use polyvirt_numa_placement::{GuestCell, HostNode, Kib, MemMode, NodeSet, Request, Span, Threads};
use polyvirt_xml::{
    Element, ParseOptions, Problem, Problems, Scalar, Style, Unknown, Value, ValueContext, ValueError, ValueKind,
    XmlTree, words,
};

use crate::address::PciAddress;
use crate::codec::{Sets, Size, Words};
use crate::domain::DomainConfig;
use crate::hostdev::Hostdev;

/// The namespace of wishes. It is a name and no address: nothing is there to be fetched.
pub const PLACEMENT: &str = "https://polyvirt.org/xmlns/placement/1.0";

/// A definition names so many devices to be near at most.
pub(crate) const MAX_NEAR: usize = 64;

words! {
    /// Whether the guest may span host nodes.
    pub enum SpanWish {
        /// One node or nothing.
        Never = "never",
        /// One node if it fits there.
        IfNeeded = "if-needed",
        /// Wherever it costs least.
        Allowed = "allowed",
    }
}
words! {
    /// Whose the guest's CPUs are.
    pub enum CpusWish {
        /// Other guests run on them too.
        Shared = "shared",
        /// Every vCPU has one of its own.
        Dedicated = "dedicated",
    }
}
words! {
    /// How CPUs of a guest's own lie on cores.
    pub enum ThreadsWish {
        /// Siblings as far as there are some.
        Prefer = "prefer",
        /// Only threads that have a sibling in the guest.
        Require = "require",
        /// One thread of each core, and nobody on the others.
        Isolate = "isolate",
    }
}
words! {
    /// How interleaved memory is dealt out.
    pub enum InterleaveWish {
        /// The same to each node.
        Even = "even",
        /// By the weights that the host gives its nodes.
        Weighted = "weighted",
    }
}

/// `<polyvirt:placement>`: wishes of a guest for its place.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Wishes {
    /// Whether automatic placement may use several nodes; absent: `if-needed`.
    #[xml(attr)]
    pub span: Option<SpanWish>,
    /// Whether its vCPUs have CPUs of their own; absent: `shared`.
    #[xml(attr)]
    pub cpus: Option<CpusWish>,
    /// How CPUs of its own lie on cores; absent: `prefer`.
    #[xml(attr)]
    pub threads: Option<ThreadsWish>,
    /// Whether every guest cell gets a node of its own; absent: `no`.
    #[xml(attr, name = "per-cell", yesno)]
    pub per_cell: Option<bool>,
    /// Memory that is kept for hot-plug.
    #[xml(child, name = "polyvirt:headroom", ns = PLACEMENT, once)]
    pub headroom: Option<HeadroomWish>,
    /// What the guest should be near to.
    #[xml(child, name = "polyvirt:near", ns = PLACEMENT)]
    pub near: Vec<NearWish>,
    /// How its memory is bound.
    #[xml(child, name = "polyvirt:memory", ns = PLACEMENT, once)]
    pub memory: Option<MemoryWish>,
    /// Cells whose memory is on certain nodes, though that of the others is placed automatically.
    #[xml(child, name = "polyvirt:memnode", ns = PLACEMENT)]
    pub memnode: Vec<MemNodeWish>,
}

/// `<polyvirt:headroom>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct HeadroomWish {
    /// How much.
    #[xml(text, codec = Size, unit = "KiB")]
    pub size: Kib,
}

/// `<polyvirt:near>`: a node, or a PCI device of the host. Exactly one of both.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct NearWish {
    /// A node of the host.
    #[xml(attr)]
    pub node: Option<u32>,
    /// A PCI device of the host, whether the guest gets it or not: `0000:81:00.0`.
    #[xml(attr)]
    pub pci: Option<HostPci>,
}

/// `<polyvirt:memory>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryWish {
    /// How memory of the mode `interleave` is dealt out; absent: `even`.
    #[xml(attr)]
    pub interleave: Option<InterleaveWish>,
}

/// `<polyvirt:memnode>`: as `<memnode>` of `<numatune>`, beside automatic memory.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemNodeWish {
    /// The guest cell.
    #[xml(attr)]
    pub cellid: u32,
    /// The policy; absent: strict. Not `restrictive`.
    #[xml(attr, codec = Words)]
    pub mode: Option<MemMode>,
    /// Host nodes.
    #[xml(attr, codec = Sets)]
    pub nodeset: NodeSet,
}

/// The place of a PCI function on the host, as the kernel writes it: `0000:81:00.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct HostPci {
    /// The domain.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The slot, up to 0x1f.
    pub slot: u8,
    /// The function, up to 7.
    pub function: u8,
}

impl HostPci {
    /// That of an address in a definition, if it is one that there can be.
    fn of(address: &PciAddress) -> Option<Self> {
        let (slot, function) = (address.slot.unwrap_or(0), address.function.unwrap_or(0));
        Some(Self {
            domain: address.domain.unwrap_or(0),
            bus: u8::try_from(address.bus?).ok()?,
            slot: u8::try_from(slot).ok().filter(|slot| *slot < 32)?,
            function: u8::try_from(function).ok().filter(|function| *function < 8)?,
        })
    }
}

impl fmt::Display for HostPci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.slot, self.function)
    }
}

impl FromStr for HostPci {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || {
            let shown: String = text.trim().chars().take(40).collect();
            ValueError::new(format!("'{shown}' is not the address of a PCI function, like 0000:81:00.0"))
        };
        let number = |text: &str, digits: usize, max: u32| {
            let plain = !text.is_empty() && text.len() <= digits && text.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(text, 16).ok().filter(|number| plain && *number <= max).ok_or_else(wrong)
        };
        let small = |text: &str, digits, max| Ok(u8::try_from(number(text, digits, max)?).unwrap_or(u8::MAX));
        let (place, function) = text.trim().rsplit_once('.').ok_or_else(wrong)?;
        let mut parts = place.rsplit(':');
        let (slot, bus, domain) = (parts.next(), parts.next(), parts.next());
        let address = Self {
            domain: domain.map_or(Ok(0), |domain| number(domain, 8, u32::MAX))?,
            bus: small(bus.ok_or_else(wrong)?, 2, 0xff)?,
            slot: small(slot.unwrap_or_default(), 2, 0x1f)?,
            function: small(function, 1, 7)?,
        };
        if parts.next().is_some() { Err(wrong()) } else { Ok(address) }
    }
}

impl Value for HostPci {
    const KIND: ValueKind = ValueKind::Syntax("pci-address");

    fn parse(text: &str, _: &ValueContext<'_>) -> Result<Self, ValueError> {
        text.parse()
    }

    fn write(&self, _: Style, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn scalar(&self) -> Scalar<'_> {
        Scalar::Text(self.to_string().into())
    }
}

/// `<metadata>` as far as it is ours.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "metadata")]
struct Metadata {
    /// The wishes.
    #[xml(child, name = "polyvirt:placement", ns = PLACEMENT, once)]
    placement: Option<Wishes>,
}

impl Wishes {
    /// Fills in what does not depend on the host.
    fn fill(&self, mut request: Request) -> Request {
        request.span = match self.span {
            Some(SpanWish::Never) => Span::Never,
            Some(SpanWish::Allowed) => Span::Allowed,
            Some(SpanWish::IfNeeded) | None => Span::IfNeeded,
        };
        if self.cpus == Some(CpusWish::Dedicated) {
            request.dedicated = Some(match self.threads {
                Some(ThreadsWish::Require) => Threads::Require,
                Some(ThreadsWish::Isolate) => Threads::Isolate,
                Some(ThreadsWish::Prefer) | None => Threads::Prefer,
            });
        }
        request.per_cell = self.per_cell == Some(true);
        request.headroom = self.headroom.as_ref().map_or(Kib::ZERO, |headroom| headroom.size);
        request.near.extend(self.near.iter().filter_map(|near| near.node).map(HostNode));
        request.weighted = self.is_weighted();
        let fixed = self.memnode.iter().map(|node| {
            let mode = node.mode.unwrap_or(MemMode::Strict);
            CellPolicy::new(GuestCell(node.cellid), mode, node.nodeset.clone()).fixed()
        });
        request.stored.memnodes.extend(fixed);
        request.stored.memnodes.sort_by_key(|policy| policy.cell);
        request
    }

    pub(crate) fn is_weighted(&self) -> bool {
        self.memory.as_ref().and_then(|memory| memory.interleave) == Some(InterleaveWish::Weighted)
    }
}

impl DomainConfig {
    /// The wishes in the metadata; `None` if there are none.
    ///
    /// # Errors
    /// Everything that is wrong with them, without positions. A checked definition has nothing wrong.
    pub fn wishes(&self) -> Result<Option<Wishes>, Problems> {
        let Some(metadata) = &self.metadata else { return Ok(None) };
        let ours: Vec<XmlTree> =
            metadata.children.iter().filter(|child| child.namespace.as_deref() == Some(PLACEMENT)).cloned().collect();
        if ours.is_empty() {
            return Ok(None);
        }
        let mut tree = XmlTree::new("metadata");
        tree.children = ours;
        // The tree of a part declares the prefixes it uses, so it reads on its own.
        let read = Metadata::from_xml(&tree.to_string(), &ParseOptions::with_unknown(Unknown::Reject));
        let read = read.map_err(|problems| problems.into_iter().map(from_domain).collect::<Problems>())?;
        Ok(read.config.placement)
    }

    /// PCI devices of the host that the guest should be near to: those it is given and those it names, each once.
    #[must_use]
    pub fn near_pci(&self) -> Vec<HostPci> {
        let assigned = self.devices.hostdevs.iter().filter_map(|device| match device {
            Hostdev::Pci(device) => HostPci::of(device.source.as_ref()?.address.as_ref()?),
            _ => None,
        });
        let disks = self.devices.disks.iter().filter_map(|disk| HostPci::of(disk.source.as_ref()?.address.as_ref()?));
        let cards =
            self.devices.interfaces.iter().filter_map(|card| HostPci::of(&card.source.as_ref()?.pci.as_ref()?.pci));
        let wishes = self.wishes().ok().flatten().unwrap_or_default();
        let mut all: Vec<HostPci> =
            assigned.chain(disks).chain(cards).chain(wishes.near.iter().filter_map(|near| near.pci)).collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(MAX_NEAR);
        all
    }

    /// Adds the wishes to a request.
    pub(crate) fn with_wishes(&self, request: Request) -> Result<Request, Problems> {
        Ok(match self.wishes()? {
            Some(wishes) => wishes.fill(request),
            None => request,
        })
    }
}

/// The positions are those in the tree and mean nothing outside of it.
fn from_domain(mut problem: Problem) -> Problem {
    problem.path = format!("/domain{}", problem.path);
    (problem.line, problem.column, problem.source_line) = (None, None, None);
    problem
}

#[cfg(test)]
mod tests;
