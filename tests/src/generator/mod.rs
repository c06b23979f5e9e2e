//! Guests nobody wrote: definitions for x86 guests of QEMU, each from a seed.
//!
//! Choices follow the model's description: words of an attribute are those that the model has, so a new word is tried from
//! the day it is there. What is here says which parts go together and how often. Most guests are ones that libvirt 9.0 and QEMU 7.2
//! know and take; a few break a rule, since refusals are compared too.
//!
//! What is not generated: what depends on the host beyond its CPUs and memory (PCI and SCSI devices that must exist, helper
//! programs that must be installed), and other architectures.
//!
//! Invariant: the same seed gives the same definition, on every machine.

mod board;
mod chardevs;
mod compute;
mod controllers;
mod dice;
mod network;
mod others;
mod screens;
mod storage;

use polyvirt::model::{DomainConfig, DomainKind, address::VirtioOptions, disk::Disk};
use uuid::Uuid;

pub use dice::Dice;

/// A guest being made, and what later choices have to know of earlier ones.
#[derive(Debug)]
struct Maker {
    dice: Dice,
    config: DomainConfig,
    /// Whether the board has PCI Express.
    q35: bool,
    vcpus: u32,
    cells: u32,
    io_threads: u32,
    /// Whether the memory can be shared with other processes.
    shared: bool,
    /// Names of disks that are taken, by bus.
    targets: u32,
    /// The next place in the boot order, in guests that have one.
    boot_order: Option<u32>,
}

/// The guest of a seed.
#[must_use]
pub fn guest(seed: u64) -> DomainConfig {
    let mut dice = Dice::new(seed);
    let mut config = DomainConfig::new(DomainKind::Qemu, format!("guest-{seed}"));
    config.uuid = Some(Uuid::from_u64_pair(dice.bits() & !0xf000 | 0x4000, dice.bits() >> 2 | 1 << 63));
    let mut maker = Maker {
        q35: dice.chance(60),
        dice,
        config,
        vcpus: 1,
        cells: 0,
        io_threads: 0,
        shared: false,
        targets: 0,
        boot_order: None,
    };
    maker.compute();
    maker.board();
    maker.storage();
    maker.network();
    maker.chardevs();
    maker.screens();
    maker.others();
    maker.config
}

impl Maker {
    /// Options of a virtio device.
    fn virtio(&mut self) -> VirtioOptions {
        let mut options = VirtioOptions::default();
        if self.dice.chance(15) {
            options.iommu = self.dice.some(50);
            options.ats = self.dice.some(40);
            options.packed = self.dice.some(40);
            options.page_per_vq = self.dice.some(30);
        }
        options
    }

    /// Gives a device the next place in the boot order, where the guest has one.
    fn next_boot(&mut self) -> Option<polyvirt::model::address::Boot> {
        let order = self.boot_order.as_mut()?;
        if !self.dice.chance(50) {
            return None;
        }
        let mut boot = polyvirt::model::address::Boot::default();
        boot.order = Some(*order);
        *order += 1;
        Some(boot)
    }

    fn add_disk(&mut self, disk: Disk) {
        self.config.devices.disks.push(disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt::model::{ParseOptions, XmlTree};

    #[test]
    fn a_seed_gives_one_definition_that_reads_back() {
        for seed in 0..200 {
            let (one, other) = (guest(seed), guest(seed));
            assert_eq!(one, other, "seed {seed}");
            let text = one.to_xml();
            XmlTree::parse(&text).unwrap();
            let parsed = DomainConfig::parse(&text, &ParseOptions::default())
                .unwrap_or_else(|problems| panic!("seed {seed}: {problems}\n{text}"));
            assert_eq!(parsed.config, one, "seed {seed}");
            assert!(parsed.warnings.is_empty(), "seed {seed}");
        }
    }

    #[test]
    fn guests_are_different() {
        let texts: std::collections::BTreeSet<String> = (0..200)
            .map(|seed| {
                let mut config = guest(seed);
                (config.name, config.uuid) = (String::new(), None);
                config.to_xml()
            })
            .collect();
        assert_eq!(texts.len(), 200);
    }
}
