//! One device by itself, as `attach-device` takes it, and its place among the others of a guest.
//!
//! Which device of a guest is meant by a description: one has the same name (alias), or the key of its kind (a disk's target, a
//! card's MAC address, a controller's type and number), or else everything that the description says.

use polyvirt_xml::{Element, FormatOptions, ParseOptions, Problem, Problems, XmlTree, format, nearest, parse};

use crate::address::{Alias, DeviceInfo};
use polyvirt_numa_placement::Kib;

use crate::devices::Devices;
use crate::domain::DomainConfig;
use crate::stored::info_of;

/// A device without a guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    element: &'static str,
    /// Nothing but it.
    alone: Devices,
}

macro_rules! lists {
    (many: $($element:literal $list:ident,)* one: $($single:literal $field:ident,)*) => {
        /// The elements of devices.
        const ELEMENTS: &[&str] = &[$($element,)* $($single,)*];

        /// Shows every device to `visit`.
        pub(crate) fn each_device(devices: &mut Devices, visit: &mut dyn FnMut(&mut dyn Element)) {
            $(devices.$list.iter_mut().for_each(|device| visit(device));)*
            $(devices.$field.iter_mut().for_each(|device| visit(device));)*
        }

        impl Devices {
            /// How many devices of this element there are.
            #[must_use]
            pub fn count(&self, element: &str) -> usize {
                match element {
                    $($element => self.$list.len(),)*
                    $($single => usize::from(self.$field.is_some()),)*
                    _ => 0,
                }
            }

            /// One of them, counted from 0.
            #[must_use]
            pub fn pick(&self, element: &str, index: usize) -> Option<Device> {
                let mut alone = Self::default();
                let element = match element {
                    $($element => {
                        alone.$list.push(self.$list.get(index)?.clone());
                        $element
                    })*
                    $($single => {
                        alone.$field = Some(self.$field.clone().filter(|_| index == 0)?);
                        $single
                    })*
                    _ => return None,
                };
                Some(Device { element, alone })
            }

            /// Takes one of them out.
            pub fn remove(&mut self, element: &str, index: usize) -> Option<Device> {
                let device = self.pick(element, index)?;
                match element {
                    $($element => drop(self.$list.remove(index)),)*
                    $($single => self.$field = None,)*
                    _ => {}
                }
                Some(device)
            }

            /// Puts a device behind the others of its element, and says which it is. Of some there can be one: `None` then.
            pub fn add(&mut self, device: Device) -> Option<usize> {
                let count = self.count(device.element);
                match device.element {
                    $($element => self.$list.extend(device.alone.$list),)*
                    $($single if count > 0 => return None,)*
                    $($single => self.$field = device.alone.$field,)*
                    _ => {}
                }
                Some(count)
            }

            /// Puts a device into the place of one of the same element.
            pub fn replace(&mut self, index: usize, device: Device) {
                match device.element {
                    $($element => for (place, new) in self.$list.iter_mut().skip(index).zip(device.alone.$list) {
                        *place = new;
                    })*
                    $($single => self.$field = device.alone.$field,)*
                    _ => {}
                }
            }
        }
    };
}

lists! {
    many:
    "disk" disks,
    "controller" controllers,
    "lease" leases,
    "filesystem" filesystems,
    "interface" interfaces,
    "smartcard" smartcards,
    "serial" serials,
    "parallel" parallels,
    "console" consoles,
    "channel" channels,
    "input" inputs,
    "tpm" tpms,
    "graphics" graphics,
    "sound" sounds,
    "audio" audios,
    "video" videos,
    "hostdev" hostdevs,
    "redirdev" redirdevs,
    "hub" hubs,
    "watchdog" watchdogs,
    "rng" rngs,
    "panic" panics,
    "shmem" shmems,
    "memory" memories,
    "iommu" iommu,
    "crypto" cryptos,
    one:
    "memballoon" memballoon,
    "nvram" nvram,
    "vsock" vsock,
    "pstore" pstore,
}

/// Which device of a guest is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// This one of its element.
    One(usize),
    /// None.
    Nothing,
    /// Each of these.
    Several(Vec<usize>),
}

impl Device {
    /// Reads the XML of one device; with it come the warnings. Nothing is completed.
    ///
    /// # Errors
    /// All problems; their paths begin with the device's element. What is no device, or several.
    pub fn parse(text: &str, options: &ParseOptions) -> Result<(Self, Problems), Problems> {
        let text = without_prolog(text);
        let name = XmlTree::parse(&text).map_err(|problem| Problems::from(*problem))?.name;
        let Some(element) = ELEMENTS.iter().find(|it| **it == name).copied() else {
            let message = format!("<{name}> is no device");
            let suggestion = nearest(&name, ELEMENTS.iter().copied()).map(str::to_owned);
            return Err(Problem::error(format!("/{name}"), message)
                .with_suggestion(suggestion)
                .located(&text, 0)
                .into());
        };
        // On lines of their own, so that columns stay.
        let whole = format!("<devices>\n{text}\n</devices>");
        let parsed = parse::<Devices>(&whole, "devices", options).map_err(|problems| alone(problems, &name))?;
        let device = Self { element, alone: parsed.config };
        Ok((device, alone(parsed.warnings, &name)))
    }

    /// Its element, `disk`.
    #[must_use]
    pub fn element(&self) -> &'static str {
        self.element
    }

    /// Prints it, secrets left out, ending with a newline.
    #[must_use]
    pub fn to_xml(&self) -> String {
        self.print(FormatOptions::new())
    }

    fn print(&self, options: FormatOptions) -> String {
        let whole = format(&self.alone, "devices", None, options);
        let inside = whole.trim_start_matches("<devices>\n").trim_end_matches("</devices>\n");
        inside.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect()
    }

    fn tree(&self) -> Option<XmlTree> {
        XmlTree::parse(&self.print(FormatOptions::new().secure())).ok()
    }

    /// Its name.
    #[must_use]
    pub fn alias(&self) -> Option<String> {
        self.clone().place().alias.map(|it| it.name)
    }

    /// The devices that it is: a list with nothing but it.
    #[must_use]
    pub fn alone(&self) -> &Devices {
        &self.alone
    }

    /// Its name and its address.
    fn place(mut self) -> DeviceInfo {
        let mut place = DeviceInfo::default();
        each_device(&mut self.alone, &mut |device| place = info_of(device).cloned().unwrap_or_default());
        place
    }

    /// With the name and the address of that device, where it says none of its own.
    #[must_use]
    pub fn placed_as(mut self, other: Option<&Self>) -> Self {
        let mut place = other.cloned().map(Self::place).unwrap_or_default();
        each_device(&mut self.alone, &mut |device| {
            if let Some(info) = info_of(device) {
                info.address = info.address.take().or_else(|| place.address.take());
                info.alias = info.alias.take().or_else(|| place.alias.take());
            }
        });
        self
    }

    /// With the address of that network card, where it says none of its own: the same card on both sides of a guest.
    #[must_use]
    pub fn known_as(mut self, other: Option<&Self>) -> Self {
        if let (Some(card), Some(other)) =
            (self.alone.interfaces.first_mut(), other.and_then(|it| it.alone.interfaces.first()))
        {
            card.mac = card.mac.take().or_else(|| other.mac.clone());
        }
        self
    }

    /// With what only a running device has, where it says nothing of its own: the name on the host of a network card, what a guest uses of
    /// a memory device.
    #[must_use]
    pub fn running_as(mut self, other: Option<&Self>) -> Self {
        let current = other.and_then(|it| it.alone.memories.first()?.target.as_ref()?.current);
        if let Some(target) = self.alone.memories.first_mut().and_then(|it| it.target.as_mut()) {
            target.current = target.current.or(current);
        }
        let running = other.and_then(|it| it.alone.interfaces.first()?.target.clone());
        if let (Some(card), Some(running)) = (self.alone.interfaces.first_mut(), running) {
            let target = card.target.get_or_insert_default();
            target.dev = target.dev.take().or(running.dev);
        }
        self
    }

    /// With what the guest uses of this one, if both are memory devices.
    #[must_use]
    pub fn used_as(mut self, now: Option<&Self>) -> Self {
        let current = now.and_then(|it| it.alone.memories.first()?.target.as_ref()?.current);
        if let Some(target) = self.alone.memories.first_mut().and_then(|it| it.target.as_mut()) {
            target.current = current.or(target.current);
        }
        self
    }

    /// How much memory it is.
    fn memory(&self) -> Kib {
        self.alone.memories.iter().filter_map(|it| it.target.as_ref()?.size).sum()
    }

    /// By what its kind is told apart, a disk's target; `None` for kinds without such a key, or if it does not say.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        if let Some(disk) = self.alone.disks.first() {
            return disk.target.as_ref().map(|it| it.dev.clone());
        }
        if let Some(card) = self.alone.interfaces.first() {
            return card.mac.as_ref().map(|it| it.address.to_string());
        }
        let controller = self.alone.controllers.first()?;
        Some(format!("{}{}", controller.kind?, controller.index?))
    }
}

impl Devices {
    /// Which device a description means.
    #[must_use]
    pub fn meant(&self, wanted: &Device) -> Meant {
        let all = (0..self.count(wanted.element)).filter_map(|at| Some((at, self.pick(wanted.element, at)?)));
        let found: Vec<usize> = match (wanted.key(), wanted.tree()) {
            (Some(key), _) => all.filter(|(_, it)| it.key().as_ref() == Some(&key)).map(|(at, _)| at).collect(),
            (None, Some(tree)) => {
                all.filter(|(_, it)| it.tree().is_some_and(|it| has(&it, &tree))).map(|(at, _)| at).collect()
            }
            (None, None) => Vec::new(),
        };
        match found[..] {
            [] => Meant::Nothing,
            [one] => Meant::One(one),
            _ => Meant::Several(found),
        }
    }

    /// The device of that name, by element and number.
    #[must_use]
    pub fn named(&self, alias: &str) -> Option<(&'static str, usize)> {
        self.all().find(|(_, _, it)| it.alias().as_deref() == Some(alias)).map(|(element, at, _)| (element, at))
    }

    /// Gives every device that can have a name and has none the name that `next` makes.
    pub fn name_nameless(&mut self, mut next: impl FnMut() -> String) {
        each_device(self, &mut |device| {
            if let Some(info) = info_of(device)
                && info.alias.is_none()
            {
                info.alias = Some(Alias { name: next() });
            }
        });
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, usize, Device)> {
        let places = ELEMENTS.iter().flat_map(|element| (0..self.count(element)).map(move |at| (*element, at)));
        places.filter_map(|(element, at)| Some((element, at, self.pick(element, at)?)))
    }

    /// The devices that `before` has not, by their names. Every device has one while its guest runs.
    #[must_use]
    pub fn new_since(&self, before: &Self) -> Vec<Device> {
        let old: Vec<_> = before.all().filter_map(|(.., it)| it.alias()).collect();
        self.all().map(|(.., it)| it).filter(|it| it.alias().is_some_and(|name| !old.contains(&name))).collect()
    }

    /// The devices that have their names in both and are described differently: as they were, and as they are.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Vec<(Device, Device)> {
        let new: Vec<_> = self.all().map(|(.., it)| it).collect();
        // A console that is a serial port has its name.
        let same = |was: &Device| {
            let name = was.alias();
            new.iter().find(|it| name.is_some() && (it.element, it.alias()) == (was.element, name.clone())).cloned()
        };
        let both = before.all().filter_map(|(.., was)| same(&was).map(|is| (was, is)));
        both.filter(|(was, is)| was != is).collect()
    }
}

impl DomainConfig {
    /// Puts a device in, as [`Devices::add`] does; memory counts for the guest's total.
    pub fn add_device(&mut self, device: Device) -> Option<usize> {
        let size = device.memory();
        let at = self.devices.add(device)?;
        self.resize(|total| total.saturating_add(size));
        Some(at)
    }

    /// Takes one out, as [`Devices::remove`] does; memory counts no more.
    pub fn remove_device(&mut self, element: &str, index: usize) -> Option<Device> {
        let device = self.devices.remove(element, index)?;
        let size = device.memory();
        self.resize(|total| total.saturating_sub(size));
        Some(device)
    }

    fn resize(&mut self, to: impl Fn(Kib) -> Kib) {
        let Some(memory) = &mut self.memory else { return };
        let was = memory.size;
        memory.size = to(was);
        if let Some(current) = &mut self.current_memory {
            // Of a guest with a balloon that is full it is unknown what it will do with more.
            current.size = if current.size == was { memory.size } else { current.size.min(memory.size) };
        }
    }
}

/// Whether an element has everything that another one says.
fn has(element: &XmlTree, said: &XmlTree) -> bool {
    let text = said.text.trim();
    element.name == said.name
        && (text.is_empty() || element.text.trim() == text)
        && said.attributes.iter().all(|it| element.attributes.contains(it))
        && said.children.iter().all(|it| element.children.iter().any(|of| has(of, it)))
}

/// Blanks in place of an XML declaration, which cannot stand inside of a document.
fn without_prolog(text: &str) -> String {
    let trimmed = text.trim_start();
    let Some(end) = trimmed.starts_with("<?xml").then(|| trimmed.find("?>")).flatten() else { return text.to_owned() };
    let end = text.len() - trimmed.len() + end + 2;
    let blank: String = text[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    blank + &text[end..]
}

/// Problems as they are in the device's own text.
fn alone(problems: Problems, name: &str) -> Problems {
    let own = |mut problem: Problem| {
        problem.line = problem.line.map(|line| line.saturating_sub(1));
        problem.path = problem
            .path
            .strip_prefix("/devices")
            .filter(|it| !it.is_empty())
            .map_or_else(|| format!("/{name}"), str::to_owned);
        problem
    };
    problems.into_iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> Device {
        Device::parse(text, &ParseOptions::default()).unwrap().0
    }

    fn devices(text: &str) -> Devices {
        parse(&format!("<devices>{text}</devices>"), "devices", &ParseOptions::default()).unwrap().config
    }

    #[test]
    fn a_device_is_read_and_printed_alone() {
        let text =
            "<disk type='file' device='disk'>\n  <source file='/a'/>\n  <target dev='vda' bus='virtio'/>\n</disk>\n";
        assert_eq!((device(text).element(), device(text).to_xml().as_str()), ("disk", text));
        assert_eq!(device(&format!("<?xml version='1.0'?>\n{text}")), device(text));
    }

    #[test]
    fn problems_are_placed_in_its_own_text() {
        let said = |text: &str| Device::parse(text, &ParseOptions::default()).unwrap_err().to_string();
        assert!(
            said("<disk type='file'>\n <target bus='x'/></disk>").starts_with("/disk/target/@bus, line 2 column"),
            "{}",
            said("<disk type='file'>\n <target bus='x'/></disk>")
        );
        assert!(said("<dsik/>").contains("did you mean 'disk'?"));
        assert!(said("<disk/><disk/>").contains("line 1"));
        assert!(said("<domain/>").contains("<domain> is no device"));
        assert!(said("</devices><devices>").contains("line 1"));
    }

    #[test]
    fn every_element_goes_in_and_out() {
        let mut read = 0;
        for element in ELEMENTS {
            let mut all = Devices::default();
            let Ok((device, _)) = Device::parse(&format!("<{element}/>"), &ParseOptions::default()) else { continue };
            assert_eq!((device.element(), all.add(device.clone())), (*element, Some(0)));
            assert_eq!((all.count(element), all.pick(element, 0)), (1, Some(device.clone())));
            all.replace(0, device.clone());
            assert_eq!((all.remove(element, 0), all), (Some(device), Devices::default()));
            read += 1;
        }
        // Others say too little without attributes.
        assert!(read > 20, "{read}");
    }

    #[test]
    fn what_is_meant() {
        let all = devices(
            "<disk type='file'><source file='/a'/><target dev='vda'/></disk><disk type='file'><source file='/b'/><target dev='vdb'/></disk>\
             <interface type='user'><mac address='52:54:00:00:00:01'/></interface>\
             <rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-chance'/></rng>\
             <rng model='virtio'><backend model='random'>/dev/random</backend></rng>",
        );
        let meant = |text: &str| all.meant(&device(text));
        // A disk by its target, whatever is in it.
        assert_eq!(meant("<disk type='file'><source file='/new'/><target dev='vdb'/></disk>"), Meant::One(1));
        assert_eq!(meant("<interface type='bridge'><mac address='52:54:00:00:00:01'/></interface>"), Meant::One(0));
        assert_eq!(meant("<rng><backend model='random'>/dev/random</backend></rng>"), Meant::One(1));
        assert_eq!(meant("<rng model='virtio'/>"), Meant::Several(vec![0, 1]));
        assert_eq!(meant("<rng model='virtio'><alias name='ua-chance'/></rng>"), Meant::One(0));
        assert_eq!(meant("<watchdog model='itco'/>"), Meant::Nothing);
        assert_eq!((all.named("ua-chance"), all.named("ua-none")), (Some(("rng", 0)), None));
    }

    #[test]
    fn who_takes_a_place_keeps_it() {
        let before = device(
            "<disk type='file'><source file='/a'/><target dev='vda'/><alias name='ua-a'/><address type='pci' bus='0' slot='4'/></disk>",
        );
        let after = device("<disk type='file'><source file='/b'/><target dev='vda'/></disk>").placed_as(Some(&before));
        assert!(after.to_xml().contains("slot='0x04'") && after.to_xml().contains("ua-a"), "{}", after.to_xml());
        let moved = device("<disk type='file'><target dev='vda'/><address type='pci' bus='0' slot='5'/></disk>");
        assert!(moved.placed_as(Some(&before)).to_xml().contains("slot='0x05'"));
    }

    #[test]
    fn a_card_is_the_same_one_where_it_says_nothing_else() {
        let before =
            device("<interface type='user'><mac address='52:54:00:00:00:01'/><target dev='vnet3'/></interface>");
        let said = |text: &str| device(text).known_as(Some(&before)).running_as(Some(&before)).to_xml();
        let silent = said("<interface type='user'/>");
        assert!(silent.contains("00:00:01") && silent.contains("vnet3"), "{silent}");
        let other = said("<interface type='user'><mac address='52:54:00:00:00:02'/><target dev='mine'/></interface>");
        assert!(other.contains("00:00:02") && other.contains("mine"), "{other}");
    }

    #[test]
    fn what_is_new_and_what_changed_goes_by_names() {
        let rng = |name: &str, source: &str| {
            format!("<rng model='virtio'><backend model='random'>{source}</backend><alias name='{name}'/></rng>")
        };
        let before = devices(&(rng("rng0", "/a") + &rng("rng1", "/b")));
        let after = devices(&(rng("rng1", "/c") + &rng("rng2", "/a")));
        let names = |all: Vec<Device>| all.iter().filter_map(Device::alias).collect::<Vec<_>>();
        assert_eq!(
            (names(after.new_since(&before)), names(before.new_since(&after))),
            (vec!["rng2".into()], vec!["rng0".into()])
        );
        let changed = after.changed_since(&before);
        assert_eq!(changed.len(), 1);
        assert!(changed[0].0.to_xml().contains("/b") && changed[0].1.to_xml().contains("/c"));
    }

    #[test]
    fn memory_counts_for_the_total() {
        let text =
            "<domain type='qemu'><name>a</name><memory>1000</memory><currentMemory>1000</currentMemory></domain>";
        let mut config = DomainConfig::parse(text, &ParseOptions::default()).unwrap().config;
        let sizes = |config: &DomainConfig| (config.memory_total().0, config.current_memory.as_ref().unwrap().size.0);
        config.add_device(device("<memory model='dimm'><target><size>500</size></target></memory>")).unwrap();
        assert_eq!(sizes(&config), (1500, 1500));
        config.current_memory.as_mut().unwrap().size = Kib(1200);
        config.add_device(device("<rng model='virtio'/>")).unwrap();
        assert_eq!(sizes(&config), (1500, 1200));
        config.remove_device("memory", 0).unwrap();
        assert_eq!(sizes(&config), (1000, 1000));
    }

    #[test]
    fn of_some_there_is_one() {
        let mut all = devices("<memballoon model='virtio'/>");
        assert_eq!(all.add(device("<memballoon model='none'/>")), None);
        assert_eq!(all.add(device("<vsock model='virtio'/>")), Some(0));
    }
}
