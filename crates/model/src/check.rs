//! Rules between fields that need no driver. All broken ones are reported; nothing is changed.

use std::collections::HashSet;
use std::fmt;

use polyvirt_xml::{Positions, Problems};

mod addresses;
mod chardev;
mod devices;
mod disks;
mod hostdevs;
mod interfaces;
mod machine;
mod parts;
mod places;
mod resources;
mod seen;
mod tuning;
mod wishes;

use crate::address::DeviceInfo;
use crate::cells;
use crate::cpu::CpuMode;
use crate::devices::Place;
use crate::domain::DomainConfig;
use crate::name::check_name;
use crate::vcpu::Vcpu;

pub(crate) use seen::Seen;

/// The most vCPUs a definition may ask for: sets of them end here.
const MAX_VCPUS: u32 = 16_384;

/// Each phase lists so many problems: finding the place of one costs time, and a hostile document has any number.
pub(crate) const MAX_PROBLEMS: usize = 200;

/// Reports every broken rule between the fields of a definition.
///
/// `positions` is where they are reported; `Positions::default()` for a definition that was built in code.
#[must_use]
pub fn check(config: &DomainConfig, positions: &Positions) -> Problems {
    let mut rules = Rules { config, positions, problems: Problems::new() };
    let infos = config.devices.infos();
    rules.identity();
    rules.vcpus();
    rules.pins();
    rules.topology();
    rules.memory();
    rules.disk_targets();
    rules.unique_aliases(&infos);
    rules.problems.append(chardev::check(&config.devices, positions));
    rules.problems.append(devices::check(config, positions));
    rules.problems.append(places::check(&config.devices, positions));
    rules.problems.append(tuning::check(config, positions));
    let mut report = Report { positions, problems: Problems::new() };
    addresses::check(config, &infos, &mut report);
    disks::check(config, &mut report);
    hostdevs::check(&config.devices, &mut report);
    interfaces::check(&config.devices, &infos, &mut report);
    machine::check(config, &mut report);
    parts::check(&config.devices, &infos, &mut report);
    resources::check(config, &mut report);
    rules.problems.append(report.problems);
    rules.problems.append(cells::check(config, positions));
    rules.problems.append(wishes::check(config, positions));
    rules.problems
}

/// Where rules that need no state of their own put what they find.
struct Report<'a> {
    positions: &'a Positions,
    problems: Problems,
}

impl Report<'_> {
    fn error(&mut self, path: impl fmt::Display, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(self.positions.error(&path.to_string(), message));
        }
    }
}

struct Rules<'a> {
    config: &'a DomainConfig,
    positions: &'a Positions,
    problems: Problems,
}

/// `name[2]`, or `name` if there is only one.
fn nth(name: &str, count: usize, index: usize) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}[{}]", index + 1) }
}

impl Rules<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        self.problems.push(self.positions.error(path, message));
    }

    fn identity(&mut self) {
        if let Err(error) = check_name(&self.config.name) {
            self.error("/domain/name", error.to_string());
        }
        if self.config.uuid.is_some_and(|uuid| uuid.is_nil()) {
            self.error("/domain/uuid", "the UUID is all zeroes, leave it out to have one drawn");
        }
        if self.config.title.as_ref().is_some_and(|title| title.contains('\n')) {
            self.error("/domain/title", "a title is one line, use <description> for more");
        }
    }

    fn vcpus(&mut self) {
        let max = self.config.vcpus_max();
        if max == 0 || max > MAX_VCPUS {
            self.error("/domain/vcpu", format!("{max} vCPUs, 1 to {MAX_VCPUS} are possible"));
        }
        let current = self.config.vcpu.as_ref().and_then(|vcpu: &Vcpu| vcpu.current);
        if let Some(current) = current.filter(|&current| current == 0 || current > max) {
            let message = format!("{current} vCPUs online, 1 to the maximum of {max} are possible");
            self.error("/domain/vcpu/@current", message);
        }
        let Some(vcpus) = &self.config.vcpus else { return };
        let mut seen = HashSet::new();
        for (index, vcpu) in vcpus.vcpu.iter().enumerate() {
            let path = format!("/domain/vcpus/{}", nth("vcpu", vcpus.vcpu.len(), index));
            if vcpu.id >= max {
                self.error(&format!("{path}/@id"), format!("there is no vCPU {}, the maximum is {max}", vcpu.id));
            } else if !seen.insert(vcpu.id) {
                self.error(&format!("{path}/@id"), format!("vCPU {} is described twice, keep one of them", vcpu.id));
            }
        }
    }

    fn pins(&mut self) {
        let Some(tune) = &self.config.cputune else { return };
        let mut seen = HashSet::new();
        for (index, pin) in tune.vcpupin.iter().enumerate() {
            let path = format!("/domain/cputune/{}", nth("vcpupin", tune.vcpupin.len(), index));
            if pin.cpuset.is_empty() {
                self.error(&format!("{path}/@cpuset"), "the set is empty, name at least one host CPU");
            }
            if !seen.insert(pin.vcpu) {
                self.error(&format!("{path}/@vcpu"), format!("vCPU {} is pinned twice, keep one of them", pin.vcpu));
            }
        }
        if tune.emulatorpin.as_ref().is_some_and(|pin| pin.cpuset.is_empty()) {
            self.error("/domain/cputune/emulatorpin/@cpuset", "the set is empty, name at least one host CPU");
        }
        let threads: HashSet<u32> = self.config.io_thread_ids().into_iter().collect();
        seen.clear();
        for (index, pin) in tune.iothreadpin.iter().enumerate() {
            let path = format!("/domain/cputune/{}", nth("iothreadpin", tune.iothreadpin.len(), index));
            if !threads.contains(&pin.iothread) {
                self.error(
                    &format!("{path}/@iothread"),
                    format!("there is no I/O thread {}, see <iothreads> and <iothreadids>", pin.iothread),
                );
            } else if !seen.insert(pin.iothread) {
                self.error(
                    &format!("{path}/@iothread"),
                    format!("I/O thread {} is pinned twice, keep one of them", pin.iothread),
                );
            }
            if pin.cpuset.is_empty() {
                self.error(&format!("{path}/@cpuset"), "the set is empty, name at least one host CPU");
            }
        }
    }

    fn topology(&mut self) {
        let Some(cpu) = &self.config.cpu else { return };
        if let Some(topology) = &cpu.topology {
            let parts = [
                topology.sockets,
                topology.dies.unwrap_or(1),
                topology.clusters.unwrap_or(1),
                topology.cores,
                topology.threads,
            ];
            if parts.contains(&0) {
                self.error("/domain/cpu/topology", "a part of the topology is 0, each is at least 1");
            } else {
                let product = parts.iter().try_fold(1_u64, |product, &part| product.checked_mul(u64::from(part)));
                let max = self.config.vcpus_max();
                if product != Some(u64::from(max)) {
                    let product = product.map_or("too many".to_owned(), |product| product.to_string());
                    let message =
                        format!("the topology has {product} threads, the maximum of vCPUs is {max}: they are equal");
                    self.error("/domain/cpu/topology", message);
                }
            }
        }
        let named = cpu.model.as_ref().is_some_and(|model| model.name.is_some());
        if !cpu.feature.is_empty() && !named && cpu.mode.is_none() {
            self.error("/domain/cpu", "features need a <model>, or another mode than 'custom'");
        }
        if cpu.mode == Some(CpuMode::Custom) && !named {
            self.error("/domain/cpu", "mode 'custom' needs a <model>");
        }
        let mut seen = HashSet::new();
        for (index, feature) in cpu.feature.iter().enumerate() {
            if !seen.insert(feature.name.as_str()) {
                let path = format!("/domain/cpu/{}/@name", nth("feature", cpu.feature.len(), index));
                self.error(&path, format!("feature '{}' is given twice, keep one of them", feature.name));
            }
        }
    }

    fn memory(&mut self) {
        if let Some(max) = &self.config.max_memory {
            let total = self.config.memory_total();
            if max.size < total {
                let message = format!("{} is less than the guest's memory of {total}, raise it", max.size);
                self.error("/domain/maxMemory", message);
            }
            if max.slots == Some(0) {
                self.error("/domain/maxMemory/@slots", "0 slots, give at least 1 or leave <maxMemory> out");
            }
        }
    }

    fn disk_targets(&mut self) {
        let disks = &self.config.devices.disks;
        let mut targets: Seen<&str, usize> = Seen::new();
        for (index, disk) in disks.iter().enumerate() {
            let path = Place::new("disk", disks.len(), index);
            let Some(target) = &disk.target else {
                self.error(&path.path(), "<disk> lacks its element <target>");
                continue;
            };
            if let Some(other) = targets.insert(target.dev.as_str(), index) {
                let message = format!("disk {} is '{}' already, each target is given once", other + 1, target.dev);
                self.error(&format!("{path}/target/@dev"), message);
            }
        }
    }

    /// Aliases that the user chose are unique in the guest, and of letters that every hypervisor takes.
    fn unique_aliases(&mut self, infos: &[(Place, &DeviceInfo)]) {
        let mut seen: Seen<&str, Place> = Seen::new();
        for &(place, info) in infos {
            let Some(alias) = info.alias.as_ref().filter(|alias| alias.name.starts_with("ua-")) else { continue };
            if place.is_first_console() {
                continue;
            }
            let path = format!("{place}/alias/@name");
            let name = alias.name.as_str();
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
                self.error(&path, format!("'{}' is no alias, letters, digits, '-' and '_' are possible", shown(name)));
            } else if let Some(other) = seen.insert(name, place) {
                self.error(&path, format!("{other} has the alias '{name}' already, each is given once"));
            }
        }
    }
}

/// A value of the document as it is shown in a message.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}
