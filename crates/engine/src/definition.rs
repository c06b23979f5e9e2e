//! Reading a definition through its phases, and small edits of one.

use std::path::Path;

use polyvirt_core::{
    model::{
        DomainConfig, Guest as NewOrExisting, ParseOptions, Positions, Problems, complete_and_check,
        numatune::{NumaMemory, NumaTune},
        vcpu::{CpuTune, EmulatorPin, IoThreadPin, VcpuPin},
    },
    placement::{CpuSet, IoThreadId, MemMode, NodeSet, VcpuId, rules::MemoryPlacement},
};

/// A definition that went through parse, the driver-independent completion and check.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReadDefinition {
    /// The completed definition.
    pub config: DomainConfig,
    /// What was dropped or guessed.
    pub warnings: Problems,
    /// Where everything stood in the text.
    pub positions: Positions,
    /// Whether the text had a UUID; else one was drawn.
    pub uuid_given: bool,
}

/// Parses, completes and checks, without any driver and without looking at the host.
///
/// # Errors
/// Every problem and its place.
pub fn read_definition(xml: &str, guest: NewOrExisting, options: &ParseOptions) -> Result<ReadDefinition, Problems> {
    let parsed = DomainConfig::parse(xml, options)?;
    let (mut config, positions) = (parsed.config, parsed.positions);
    let uuid_given = config.uuid.is_some();
    let mut warnings = parsed.warnings;
    warnings.append(complete_and_check(&mut config, guest, &positions)?);
    Ok(ReadDefinition { config, warnings, positions, uuid_given })
}

/// Completes and checks a definition that was changed here.
///
/// # Errors
/// All problems.
pub(crate) fn complete(config: &mut DomainConfig) -> Result<(), Problems> {
    complete_and_check(config, NewOrExisting::Existing, &Positions::default()).map(drop)
}

/// Gives problems the positions of the elements they name.
pub(crate) fn locate(problems: Problems, positions: &Positions) -> Problems {
    problems.into_iter().map(|problem| positions.locate(problem)).collect()
}

/// Pins a vCPU.
pub(crate) fn pin_vcpu(config: &mut DomainConfig, vcpu: VcpuId, cpus: &CpuSet) {
    let tune = config.cputune.get_or_insert_with(CpuTune::default);
    match tune.vcpupin.iter_mut().find(|pin| pin.vcpu == vcpu.0) {
        Some(pin) => pin.cpuset = cpus.clone(),
        None => {
            tune.vcpupin.push(VcpuPin::new(vcpu.0, cpus.clone()));
            tune.vcpupin.sort_by_key(|pin| pin.vcpu);
        }
    }
}

/// Pins the emulator's threads.
pub(crate) fn pin_emulator(config: &mut DomainConfig, cpus: &CpuSet) {
    config.cputune.get_or_insert_with(CpuTune::default).emulatorpin = Some(EmulatorPin::new(cpus.clone()));
}

/// Pins an I/O thread.
pub(crate) fn pin_io_thread(config: &mut DomainConfig, id: IoThreadId, cpus: &CpuSet) {
    let tune = config.cputune.get_or_insert_with(CpuTune::default);
    match tune.iothreadpin.iter_mut().find(|pin| pin.iothread == id.0) {
        Some(pin) => pin.cpuset = cpus.clone(),
        None => {
            tune.iothreadpin.push(IoThreadPin::new(id.0, cpus.clone()));
            tune.iothreadpin.sort_by_key(|pin| pin.iothread);
        }
    }
}

/// Changes the general memory policy as `numatune` does: a mode alone keeps the nodes, nodes make the placement static.
pub(crate) fn set_numatune(config: &mut DomainConfig, mode: Option<MemMode>, nodes: Option<&NodeSet>) {
    let memory = config.numatune.get_or_insert_with(NumaTune::default).memory.get_or_insert_with(NumaMemory::default);
    if let Some(mode) = mode {
        memory.mode = Some(mode);
    }
    if let Some(nodes) = nodes {
        memory.nodeset = Some(nodes.clone());
        memory.placement = Some(MemoryPlacement::Static);
    }
}

/// Writes the path that a character device got into the live definition.
pub(crate) fn set_character_device_path(config: &mut DomainConfig, kind: &str, index: usize, path: &Path) {
    let devices = &mut config.devices;
    let path = path.display().to_string();
    let backend = match kind {
        "serial" => devices.serials.get_mut(index).map(|d| (&mut d.tty, &mut d.backend)),
        "console" => devices.consoles.get_mut(index).map(|d| (&mut d.tty, &mut d.backend)),
        "parallel" => devices.parallels.get_mut(index).map(|d| (&mut d.tty, &mut d.backend)),
        "channel" => devices.channels.get_mut(index).map(|d| (&mut d.tty, &mut d.backend)),
        _ => None,
    };
    let Some((tty, backend)) = backend else { return };
    if kind == "console" {
        *tty = Some(path.clone());
    }
    match backend.source.first_mut() {
        Some(source) => source.path = Some(path),
        None => backend.source.push(polyvirt_core::model::chardev::CharEndpoint::default().with_path(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> DomainConfig {
        let xml = "<domain type='test'><name>g</name><memory>1024</memory><vcpu>4</vcpu><devices><serial type='pty'/></devices></domain>";
        read_definition(xml, NewOrExisting::Existing, &ParseOptions::default()).unwrap().config
    }

    #[test]
    fn pins_replace_and_stay_sorted() {
        let mut config = guest();
        for (vcpu, cpus) in [(2, "1"), (0, "0-1"), (2, "3")] {
            pin_vcpu(&mut config, VcpuId(vcpu), &cpus.parse().unwrap());
        }
        let pins: Vec<_> = config.cputune.unwrap().vcpupin.iter().map(|p| (p.vcpu, p.cpuset.to_string())).collect();
        assert_eq!(pins, [(0, "0-1".to_owned()), (2, "3".to_owned())]);
    }

    #[test]
    fn numatune_follows_the_rules_of_a_define() {
        let mut config = guest();
        set_numatune(&mut config, Some(MemMode::Strict), None);
        let problems = complete(&mut config).unwrap_err();
        assert!(problems.to_string().contains("P7"), "a mode alone with static vCPUs needs nodes: {problems}");
        let mut config = guest();
        set_numatune(&mut config, Some(MemMode::Interleave), Some(&"0-1".parse().unwrap()));
        complete(&mut config).unwrap();
        assert!(config.to_xml().contains("<memory mode='interleave' nodeset='0-1'/>"), "{}", config.to_xml());
    }

    #[test]
    fn a_console_gets_its_pty() {
        let mut config = guest();
        set_character_device_path(&mut config, "serial", 0, Path::new("/dev/pts/7"));
        set_character_device_path(&mut config, "serial", 9, Path::new("/dev/pts/8"));
        assert!(config.to_xml().contains("/dev/pts/7"));
    }
}
