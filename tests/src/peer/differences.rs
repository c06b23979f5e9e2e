//! Differences that are there on purpose, each with its reason.
//!
//! Debian 12 has libvirt 9.0; the conformance corpus, whose rules we follow, is of later releases. Where the two part the corpus
//! wins, and the difference stands here. What is not here is a defect.

use polyvirt::model::{DomainConfig, MemMode, chardev::Serial, clock::ClockOffset};

use super::Opt;

/// Both command lines, and what they are about.
#[derive(Debug)]
pub struct Sides<'a> {
    /// The guest.
    pub guest: &'a DomainConfig,
    /// Options that libvirt writes.
    pub libvirt: Vec<Opt>,
    /// Options that we write.
    pub ours: Vec<Opt>,
}

/// A known difference between two command lines.
#[derive(Debug)]
pub struct Difference {
    /// What it is called in reports.
    pub name: &'static str,
    /// Why it is there.
    pub reason: &'static str,
    /// Takes it away on both sides; whether there was any.
    pub settle: fn(&mut Sides<'_>) -> bool,
}

/// A guest that only one of the two refuses.
#[derive(Debug)]
pub struct Refusal {
    /// What it is called in reports.
    pub name: &'static str,
    /// Who refuses: `libvirt` or `polyvirt`.
    pub who: &'static str,
    /// Part of what is said then.
    pub says: &'static str,
    /// Which guests this can be about.
    pub applies: fn(&DomainConfig) -> bool,
    /// Why that is right.
    pub reason: &'static str,
}

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "sockets opened beforehand",
        reason: "a start hands QEMU sockets that listen already; libvirt's export shows their paths, ours and the corpus what is run",
        settle: sockets,
    },
    Difference {
        name: "files opened beforehand",
        reason: "a start hands QEMU the files of character devices as descriptors; libvirt's export shows their paths, ours and the \
                 corpus what is run",
        settle: files,
    },
    Difference {
        name: "network cards exported as taps",
        reason: "libvirt's export makes a plain tap of every card and forgets its driver, queues and boot order; a start does not, \
                 nor do we. Model, MAC and address are compared",
        settle: cards,
    },
    Difference {
        name: "the time now",
        reason: "a clock that is counted from now shows libvirt's now; ours shows 1970, so that it can be compared",
        settle: now,
    },
    Difference {
        name: "the watchdog of q35",
        reason: "libvirt 9.0 does not know the chipset's watchdog, which later releases show to guests of q35",
        settle: chipset_watchdog,
    },
    Difference {
        name: "clusters",
        reason: "libvirt 9.0 does not know clusters; later releases write their number where QEMU takes it",
        settle: |sides| sides.drop_ours("-smp", "clusters", "1"),
    },
    Difference {
        name: "polling of I/O threads",
        reason: "libvirt 9.0 does not know <poll> of an I/O thread",
        settle: |sides| sides.drop_ours_key("-object", "poll-max-ns"),
    },
    Difference {
        name: "the speaker",
        reason: "QEMU 7.2 has no -soundhw, so libvirt 9.0's command line does not start; later releases say pcspk-audiodev",
        settle: speaker,
    },
    Difference {
        name: "channels of USB sound",
        reason: "libvirt 9.0 does not know `multichannel`",
        settle: |sides| sides.drop_ours("-device", "multi", "on") | sides.drop_ours("-device", "multi", "off"),
    },
    Difference {
        name: "preallocation under 'restrictive'",
        reason: "by the corpus' rule the threads that preallocate run near the memory also where the nodes are 'restrictive'; \
                 libvirt 9.0 leaves them where they are",
        settle: preallocation,
    },
    Difference {
        name: "errors of floppies",
        reason: "QEMU's floppy has no error policy and does not start with one; libvirt 9.0 writes it",
        settle: floppies,
    },
    Difference {
        name: "commas in fw_cfg",
        reason: "libvirt 9.0 does not double commas in values of -fw_cfg, so QEMU would see another option",
        settle: commas,
    },
    Difference {
        name: "ports without a number",
        reason: "libvirt 9.0 takes a serial port's <target> without a port for port 0, even if another port has it",
        settle: ports,
    },
    Difference {
        name: "features gone from QEMU",
        reason: "libvirt switches a feature off that its own CPU map lists for a model and QEMU has dropped (`removed`); our CPU facts \
                 are QEMU's and do not list it",
        settle: removed_features,
    },
];

/// Options that say where each side keeps its own things; nobody compares these.
///
/// The monitor: libvirt's export shows a path in the guest's folder, ours the descriptor that a start hands over.
pub(super) fn own_places(sides: &mut Sides<'_>) {
    for options in [&mut sides.libvirt, &mut sides.ours] {
        if let Some(monitor) = with_id(options, "-chardev", "charmonitor") {
            monitor.says.retain(|key, _| key != "fd" && key != "path");
        }
    }
}

/// Refusals by one side alone.
pub const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "huge pages without a mount",
        who: "libvirt",
        says: "hugetlbfs filesystem is not mounted",
        applies: |guest| guest.memory_backing.as_ref().is_some_and(|it| it.hugepages.is_some()),
        reason: "we take huge pages without a mount (memfd)",
    },
    Refusal {
        name: "disks of one place",
        who: "libvirt",
        says: "Found duplicate drive address",
        applies: |guest| guest.devices.disks.iter().any(|it| it.info.address.is_some()),
        reason: "a disk whose name stands for a place that another was given explicitly gets the next place; libvirt refuses it",
    },
    Refusal {
        name: "disks of one world wide name",
        who: "polyvirt",
        says: "has the same world wide name",
        applies: |guest| guest.devices.disks.iter().filter(|it| it.wwn.is_some()).count() > 1,
        reason: "a guest takes two disks of one name for two ways to one disk; libvirt lets that pass",
    },
    Refusal {
        name: "sound that nobody hears",
        who: "libvirt",
        says: "unable to find audio backend for sound device",
        applies: |guest| !guest.devices.sounds.is_empty() && guest.devices.audios.is_empty(),
        reason: "libvirt 9.0 defines such a guest and cannot start it; QEMU has a default for it",
    },
];

impl Sides<'_> {
    fn drop_ours(&mut self, option: &str, key: &str, value: &str) -> bool {
        let known: Vec<bool> = self.ours.iter().map(|it| it.name == option && it.get(key) == Some(value)).collect();
        let theirs = self.libvirt.iter().any(|it| it.name == option && it.get(key).is_some());
        if theirs || !known.contains(&true) {
            return false;
        }
        for (opt, _) in self.ours.iter_mut().zip(known).filter(|it| it.1) {
            opt.says.remove(key);
        }
        true
    }

    fn drop_ours_key(&mut self, option: &str, key: &str) -> bool {
        let values: Vec<String> =
            self.ours.iter().filter(|it| it.name == option).filter_map(|it| Some(it.get(key)?.to_owned())).collect();
        let dropped: Vec<bool> = values.iter().map(|value| self.drop_ours(option, key, value)).collect();
        dropped.contains(&true)
    }
}

/// The option of this name with this id.
fn with_id<'a>(options: &'a mut [Opt], name: &str, id: &str) -> Option<&'a mut Opt> {
    options.iter_mut().find(|it| it.name == name && it.get("id") == Some(id))
}

fn sockets(sides: &mut Sides<'_>) -> bool {
    let mut any = false;
    for ours in sides.ours.iter_mut().filter(|it| it.is("-chardev", "socket") && it.get("fd").is_some()) {
        let id = ours.get("id").unwrap_or_default().to_owned();
        let theirs = with_id(&mut sides.libvirt, "-chardev", &id).filter(|it| it.get("server") == Some("on"));
        if let Some(path) = theirs.and_then(|it| it.says.remove("path")) {
            any |= !path.is_empty();
            ours.says.remove("fd");
        }
    }
    any
}

fn files(sides: &mut Sides<'_>) -> bool {
    let mut any = false;
    for ours in sides.ours.iter_mut().filter(|it| it.name == "-chardev") {
        let id = ours.get("id").unwrap_or_default().to_owned();
        let Some(theirs) = with_id(&mut sides.libvirt, "-chardev", &id) else { continue };
        for (file, append) in [("path", "append"), ("logfile", "logappend")] {
            if ours.get(file).is_some_and(|it| it.starts_with("/dev/fdset/")) && theirs.get(file).is_some() {
                for key in [file, append] {
                    ours.says.remove(key);
                    theirs.says.remove(key);
                }
                any = true;
            }
        }
    }
    if any {
        let of_chardev = |it: &Opt| {
            it.name == "-add-fd" && it.get("opaque").is_some_and(|it| it.ends_with("-source") || it.ends_with("-log"))
        };
        sides.ours.retain(|it| !of_chardev(it));
    }
    any
}

/// What libvirt's export keeps of a card.
const CARD: &[&str] = &["driver", "netdev", "id", "mac", "bus", "addr", "multifunction"];

fn cards(sides: &mut Sides<'_>) -> bool {
    let ids: Vec<String> = (0..sides.guest.devices.interfaces.len()).map(|at| format!("net{at}")).collect();
    let before = (sides.libvirt.clone(), sides.ours.clone());
    for options in [&mut sides.libvirt, &mut sides.ours] {
        let behind = |it: &Opt| {
            let id = it.get("id").unwrap_or_default();
            it.name == "-netdev" && ids.iter().any(|card| id == format!("host{card}"))
                || it.name == "-chardev" && ids.iter().any(|card| id == format!("char{card}"))
        };
        options.retain(|it| !behind(it));
        for opt in options.iter_mut().filter(|it| it.name == "-device" && ids.iter().any(|id| it.get("id") == Some(id)))
        {
            opt.says.retain(|key, _| CARD.contains(&key.as_str()));
        }
    }
    before != (sides.libvirt.clone(), sides.ours.clone())
}

fn now(sides: &mut Sides<'_>) -> bool {
    let counted = sides.guest.clock.as_ref().and_then(|it| it.offset);
    if !matches!(counted, Some(ClockOffset::Variable)) {
        return false;
    }
    let base =
        |options: &mut Vec<Opt>| options.iter_mut().find(|it| it.name == "-rtc").and_then(|it| it.says.remove("base"));
    base(&mut sides.libvirt).is_some() | base(&mut sides.ours).is_some()
}

fn chipset_watchdog(sides: &mut Sides<'_>) -> bool {
    let wired = |it: &Opt| it.name == "-global" && it.get("ICH9-LPC.noreboot") == Some("off");
    if !sides.ours.iter().any(wired) {
        return false;
    }
    sides.ours.retain(|it| !wired(it));
    if sides.guest.devices.watchdogs.is_empty() {
        sides.ours.retain(|it| !(it.name == "-watchdog-action" && it.get("action") == Some("reset")));
    }
    true
}

fn speaker(sides: &mut Sides<'_>) -> bool {
    let old = |it: &Opt| it.name == "-soundhw" && it.get("pcspk").is_some();
    if !sides.libvirt.iter().any(old) {
        return false;
    }
    sides.libvirt.retain(|it| !old(it));
    sides.ours.iter_mut().filter(|it| it.name == "-machine").any(|it| it.says.remove("pcspk-audiodev").is_some())
}

fn preallocation(sides: &mut Sides<'_>) -> bool {
    let tune = sides.guest.numatune.as_ref();
    let restrictive = tune.and_then(|it| it.memory.as_ref()).and_then(|it| it.mode) == Some(MemMode::Restrictive);
    let context = |it: &Opt| it.is("-object", "thread-context");
    if !restrictive || sides.libvirt.iter().any(context) || !sides.ours.iter().any(context) {
        return false;
    }
    sides.ours.retain(|it| !context(it));
    sides.ours.iter_mut().for_each(|it| drop(it.says.remove("prealloc-context")));
    true
}

fn floppies(sides: &mut Sides<'_>) -> bool {
    let drives = sides.libvirt.iter_mut().filter(|it| it.is("-device", "floppy"));
    let dropped = drives.map(|it| it.says.remove("werror").is_some() | it.says.remove("rerror").is_some());
    dropped.fold(0, |count, it| count + usize::from(it)) > 0
}

fn commas(sides: &mut Sides<'_>) -> bool {
    let broken = |it: &Opt| it.name == "-fw_cfg" && it.get(" b") == Some("on") && it.get("string") == Some("a");
    let whole = |it: &Opt| it.name == "-fw_cfg" && it.get("string") == Some("a, b");
    if !sides.libvirt.iter().any(broken) || !sides.ours.iter().any(whole) {
        return false;
    }
    sides.libvirt.retain(|it| !broken(it));
    sides.ours.retain(|it| !whole(it));
    true
}

fn ports(sides: &mut Sides<'_>) -> bool {
    let unnumbered = |it: &Serial| it.target.as_ref().is_some_and(|it| it.port.is_none());
    if !sides.guest.devices.serials.iter().any(unnumbered) {
        return false;
    }
    let indices = |options: &mut Vec<Opt>| -> Vec<Option<String>> {
        let ports = options.iter_mut().filter(|it| it.is("-device", "isa-serial"));
        ports.map(|it| it.says.remove("index")).collect()
    };
    indices(&mut sides.libvirt) != indices(&mut sides.ours)
}

/// Models of libvirt 9.0's map with features that it calls removed, and these.
const REMOVED: &[(&str, &str)] = &[("Opteron_G3", "monitor"), ("EPYC", "monitor"), ("Dhyana", "monitor")];

fn removed_features(sides: &mut Sides<'_>) -> bool {
    let mut any = false;
    for (model, feature) in REMOVED {
        for theirs in sides.libvirt.iter_mut().filter(|it| it.is("-cpu", model) && it.get(feature) == Some("off")) {
            any |= theirs.says.remove(*feature).is_some();
        }
    }
    any
}
