//! What a guest wishes of its place beyond libvirt's format: `<polyvirt:placement>` inside `<metadata>`.
//!
//! libvirt keeps metadata of foreign namespaces as it is, so a definition with wishes stays a valid libvirt definition and
//! survives the trip. The tree in [`DomainConfig::metadata`] is the only place where wishes live; this reads them out of it, with
//! the problems that are in it, and fills a [`Request`]. Other metadata is not looked at.
//!
//! What it does not do: it looks at no host, so nodes and PCI addresses are only names here.

use std::fmt;
use std::str::FromStr;

use polyvirt_numa_placement::rules::{GeneralPolicy, VcpuPlacement};
use polyvirt_numa_placement::{HostNode, Kib, MemMode, Request, Span, Threads};
use polyvirt_xml::{
    Element, ParseOptions, Positions, Problem, Problems, Scalar, Style, Unknown, Value, ValueContext, ValueError,
    ValueKind, XmlTree, words,
};

use crate::address::PciAddress;
use crate::check::nth;
use crate::codec::Size;
use crate::domain::DomainConfig;
use crate::hostdev::Hostdev;

/// The namespace of wishes. It is a name and no address: nothing is there to be fetched.
pub const PLACEMENT: &str = "https://polyvirt.org/xmlns/placement/1.0";

/// A definition names so many devices to be near at most.
const MAX_NEAR: usize = 64;

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
        request
    }

    fn is_weighted(&self) -> bool {
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

/// Every problem of the wishes, where it stands.
pub(crate) fn check(config: &DomainConfig, positions: &Positions) -> Problems {
    let wishes = match config.wishes() {
        Ok(Some(wishes)) => wishes,
        Ok(None) => return Problems::new(),
        Err(problems) => return problems.into_iter().map(|problem| positions.locate(problem)).collect(),
    };
    let path = path_of(config);
    let mut problems = Problems::new();
    let mut error = |at: &str, message: String| problems.push(positions.error(&format!("{path}{at}"), message));
    if wishes.threads.is_some() && wishes.cpus != Some(CpusWish::Dedicated) {
        error("/@threads", "threads are chosen for CPUs of the guest's own: add cpus='dedicated'".to_owned());
    }
    if wishes.near.len() > MAX_NEAR {
        error("", format!("{} things to be near to, {MAX_NEAR} are possible", wishes.near.len()));
    }
    let prefix = prefix_of(config);
    for (at, near) in wishes.near.iter().enumerate().take(MAX_NEAR) {
        if near.node.is_some() == near.pci.is_some() {
            let near = nth(&format!("{prefix}near"), wishes.near.len(), at);
            error(&format!("/{near}"), "name either a 'node' or a 'pci' device".to_owned());
        }
    }
    let Ok(stored) = config.stored_placement() else { return problems };
    let auto_memory = stored.memory.as_ref().is_some_and(GeneralPolicy::is_auto);
    let auto = stored.vcpu_placement == VcpuPlacement::Auto;
    if wishes.cpus == Some(CpusWish::Dedicated) && !auto {
        error("/@cpus", "CPUs of its own are chosen for automatic vCPUs: write <vcpu placement='auto'>".to_owned());
    }
    if wishes.per_cell == Some(true) && !(auto && auto_memory) {
        let message = "cells are placed one by one where vCPUs and memory are automatic: write <vcpu placement='auto'>";
        error("/@per-cell", message.to_owned());
    }
    let interleaves = stored.memory.as_ref().is_some_and(|policy| policy.mode == MemMode::Interleave);
    if wishes.is_weighted() && !interleaves {
        let message = "weights are for interleaved memory: write <memory mode='interleave'> in <numatune>";
        error(&format!("/{prefix}memory/@interleave"), message.to_owned());
    }
    if !auto && !auto_memory {
        let without = [(wishes.span.is_some(), "/@span"), (!wishes.near.is_empty(), "")];
        for (_, at) in without.into_iter().filter(|(is_there, _)| *is_there) {
            let message = "nothing of the guest is placed automatically, so this has no effect";
            problems.push(positions.warning(&format!("{path}{at}"), message));
        }
    }
    problems
}

/// The prefix that the definition has for our namespace, with its colon.
fn prefix_of(config: &DomainConfig) -> String {
    let ours = |tree: &&XmlTree| tree.namespace.as_deref() == Some(PLACEMENT);
    let tree = config.metadata.iter().flat_map(|metadata| &metadata.children).find(ours);
    tree.map(XmlTree::prefix)
        .filter(|prefix| !prefix.is_empty())
        .map_or_else(String::new, |prefix| format!("{prefix}:"))
}

fn path_of(config: &DomainConfig) -> String {
    format!("/domain/metadata/{}placement", prefix_of(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Guest, complete_and_check};

    fn domain(placement: &str, numatune: &str, wishes: &str) -> String {
        format!(
            "<domain type='kvm'>\n<name>a</name>\n<metadata>\n  <app:x xmlns:app='urn:app' span='odd'/>\n  {wishes}\n\
             </metadata>\n<memory unit='GiB'>1</memory>\n<vcpu placement='{placement}'>2</vcpu>\n{numatune}\
             <devices/></domain>"
        )
    }

    fn wished(attributes: &str, content: &str) -> String {
        format!("<polyvirt:placement xmlns:polyvirt='{PLACEMENT}' {attributes}>{content}</polyvirt:placement>")
    }

    fn read(text: &str) -> Result<(DomainConfig, Problems), Problems> {
        let mut parsed = DomainConfig::parse(text, &ParseOptions::default())?;
        let warnings = complete_and_check(&mut parsed.config, Guest::New, &parsed.positions)?;
        Ok((parsed.config, warnings))
    }

    fn accepted(text: &str) -> DomainConfig {
        read(text).unwrap_or_else(|problems| panic!("{problems}")).0
    }

    #[test]
    fn wishes_fill_the_request() {
        let all = "span='never' cpus='dedicated' threads='isolate' per-cell='yes'";
        let content = "<polyvirt:headroom unit='GiB'>4</polyvirt:headroom><polyvirt:near node='1'/>\
                       <polyvirt:near pci='81:00.0'/>";
        let config = accepted(&domain("auto", "", &wished(all, content)));
        let request = config.placement_request().unwrap();
        assert_eq!((request.span, request.dedicated), (Span::Never, Some(Threads::Isolate)));
        assert_eq!((request.per_cell, request.headroom), (true, Kib::from_gib(4)));
        assert_eq!((request.near, request.weighted), (vec![HostNode(1)], false));
        assert_eq!(config.near_pci().iter().map(ToString::to_string).collect::<Vec<_>>(), ["0000:81:00.0"]);
        let interleave = "<numatune><memory mode='interleave' nodeset='0-1'/></numatune>";
        let weighted = "<polyvirt:memory interleave='weighted'/>";
        assert!(accepted(&domain("static", interleave, &wished("", weighted))).placement_request().unwrap().weighted);
    }

    #[test]
    fn without_wishes_a_request_is_as_ever() {
        let plain = accepted(&domain("auto", "", "")).placement_request().unwrap();
        assert_eq!(plain, accepted(&domain("auto", "", &wished("", ""))).placement_request().unwrap());
        assert_eq!((plain.span, plain.dedicated, plain.headroom), (Span::IfNeeded, None, Kib::ZERO));
    }

    #[test]
    fn assigned_devices_pull() {
        let devices = "<devices><hostdev mode='subsystem' type='pci'><source><address domain='0x0001' bus='0x81' \
            slot='0x00' function='0x1'/></source></hostdev><disk type='nvme' device='disk'><source type='pci' \
            managed='yes' namespace='1'><address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></source>\
            <target dev='vda'/></disk><interface type='hostdev' managed='yes'><source><address type='pci' \
            domain='0x0000' bus='0x03' slot='0x10' function='0x2'/></source></interface></devices>";
        let config = accepted(&domain("auto", "", "").replace("<devices/>", devices));
        let near: Vec<_> = config.near_pci().iter().map(ToString::to_string).collect();
        assert_eq!(near, ["0000:02:00.0", "0000:03:10.2", "0001:81:00.1"]);
    }

    #[test]
    fn what_is_wrong_is_told_where_it_stands() {
        for (attributes, content, at, what) in [
            ("span='nver'", "", "/domain/metadata/polyvirt:placement/@span, line 5 column", "did you mean 'never'"),
            ("spam='never'", "", "polyvirt:placement/@spam, line 5", "did you mean 'span'"),
            ("threads='prefer'", "", "/@threads, line 5", "cpus='dedicated'"),
            ("", "<polyvirt:nead node='1'/>", "polyvirt:nead, line 5", "polyvirt:near"),
            ("", "<polyvirt:near/>", "polyvirt:near, line 5", "either a 'node' or a 'pci'"),
            ("", "<polyvirt:near pci='81:00.9'/>", "polyvirt:near/@pci, line 5", "'81:00.9' is not the address"),
            ("", "<polyvirt:headroom unit='GB'>x</polyvirt:headroom>", "polyvirt:headroom, line 5", "'x'"),
            (
                "",
                "<polyvirt:memory interleave='weighted'/>",
                "polyvirt:memory/@interleave, line 5",
                "mode='interleave'",
            ),
        ] {
            let problems = read(&domain("auto", "", &wished(attributes, content))).unwrap_err().to_string();
            assert!(problems.contains(at) && problems.contains(what), "{attributes}{content}: {problems}");
        }
        let fixed = |attributes| read(&domain("static", "", &wished(attributes, "")));
        assert!(fixed("cpus='dedicated'").unwrap_err().to_string().contains("placement='auto'"));
        assert!(fixed("per-cell='yes'").unwrap_err().to_string().contains("placement='auto'"));
        assert!(fixed("span='never'").unwrap().1.to_string().contains("no effect"));
        let twice = format!("{}{}", wished("", ""), wished("", ""));
        assert!(read(&domain("auto", "", &twice)).is_err());
    }

    #[test]
    fn any_prefix_and_the_default_namespace_are_read() {
        for text in [
            format!("<p:placement xmlns:p='{PLACEMENT}' span='never'><p:near node='3'/></p:placement>"),
            format!("<placement xmlns='{PLACEMENT}' span='never'><near node='3'/></placement>"),
        ] {
            let config = accepted(&domain("auto", "", &text));
            let request = config.placement_request().unwrap();
            assert_eq!((request.span, request.near), (Span::Never, vec![HostNode(3)]), "{text}");
            let broken = read(&domain("auto", "", &text.replace("node='3'", ""))).unwrap_err().to_string();
            assert!(broken.contains("near, line 5"), "{broken}");
        }
        // The same words in another namespace are none of ours.
        let other = "<q:placement xmlns:q='urn:q' span='nver'/>";
        assert_eq!(accepted(&domain("auto", "", other)).wishes().unwrap(), None);
    }

    #[test]
    fn wishes_and_other_metadata_pass_unchanged() {
        let text = domain("auto", "", &wished("span='never'", "<polyvirt:near node='1'/>"));
        let once = accepted(&text).to_xml();
        for kept in ["<app:x xmlns:app='urn:app' span='odd'/>", "span='never'", "<polyvirt:near node='1'/>", PLACEMENT]
        {
            assert!(once.contains(kept), "{kept} in {once}");
        }
        assert_eq!(accepted(&once).to_xml(), once);
    }

    #[test]
    fn pci_addresses_are_read_as_the_kernel_writes_them() {
        for (text, written) in
            [("0000:81:00.0", "0000:81:00.0"), ("1:f.7", "0000:01:0f.7"), ("10000:E1:00.0", "10000:e1:00.0")]
        {
            assert_eq!(text.parse::<HostPci>().unwrap().to_string(), written);
        }
        for wrong in ["", "81:00", "0:0:0:0.0", "81:20.0", "81:00.8", "+1:00.0", "181:00.0", "x:00.0", ":.", "../.."] {
            assert!(wrong.parse::<HostPci>().is_err(), "{wrong}");
        }
    }
}
