//! The guest's CPU: the model that QEMU would take anyway is written down, so that a newer QEMU takes the same.

use polyvirt_core::model::{
    DomainConfig, DomainKind,
    cpu::{Cpu, CpuCheck, CpuMatch, CpuMode, CpuModel, ModelFallback},
};

use crate::{machine::Family, probe::Binary};

pub(super) fn complete(config: &mut DomainConfig, binary: &Binary) {
    let family = Family::of_config(config);
    let virtualised = config.kind == DomainKind::Kvm;
    if is_unsaid(config.cpu.as_ref()) {
        default_model(config, binary, family, virtualised);
    }
    if let Some(cpu) = &mut config.cpu {
        details(cpu, family, virtualised);
    }
}

/// Whether nothing says which CPU it is.
fn is_unsaid(cpu: Option<&Cpu>) -> bool {
    cpu.is_none_or(|cpu| cpu.model.is_none() && matches!(cpu.mode, None | Some(CpuMode::Custom)))
}

fn default_model(config: &mut DomainConfig, binary: &Binary, family: Family, virtualised: bool) {
    let arch = config.os.as_ref().and_then(|os| os.r#type.as_ref()).and_then(|kind| kind.arch.as_deref());
    match family {
        // Its models say nothing that a KVM host could take.
        Family::ArmVirt | Family::ArmBoard if virtualised => {}
        Family::Ccw if virtualised => {
            let cpu = config.cpu.get_or_insert_default();
            cpu.mode = Some(CpuMode::HostModel);
        }
        _ if arch == Some("ppc") => {}
        _ => {
            let Some(name) = crate::command::machine_name(config).and_then(|name| model_of(binary, name, virtualised))
            else {
                return;
            };
            let cpu = config.cpu.get_or_insert_default();
            cpu.mode = Some(CpuMode::Custom);
            cpu.matching = Some(CpuMatch::Exact);
            cpu.check = Some(CpuCheck::None);
            let mut model = CpuModel::default().with_name(name);
            model.fallback = Some(ModelFallback::Forbid);
            cpu.model = Some(model);
        }
    }
}

/// The name of a machine's CPU. QEMU says its type; the first model of that type names it.
fn model_of(binary: &Binary, machine: &str, virtualised: bool) -> Option<String> {
    let named = &binary.machine(machine)?.name;
    let machines = &binary.abilities(virtualised).machines;
    let kind = machines.iter().find(|it| it.name == *named)?.default_cpu_type.as_deref()?;
    // Under KVM the models are fewer.
    let mut models = binary.best.cpus.iter().chain(binary.emulation.iter().flat_map(|it| &it.cpus));
    let name = models.find(|it| it.typename == kind)?.name.clone();
    // POWER's models have long been written in capitals.
    Some(match name.strip_prefix("power") {
        Some(number) if number.starts_with(|it: char| it.is_ascii_digit()) => format!("POWER{number}"),
        _ => name,
    })
}

fn details(cpu: &mut Cpu, family: Family, virtualised: bool) {
    if cpu.mode.is_none() && cpu.model.is_some() {
        cpu.mode = Some(CpuMode::Custom);
    }
    match cpu.mode {
        Some(CpuMode::Custom) => {
            cpu.matching.get_or_insert(CpuMatch::Exact);
            if let Some(model) = &mut cpu.model {
                model.fallback.get_or_insert(ModelFallback::Allow);
            }
            cpu.check.get_or_insert(if virtualised && family.is_x86() { CpuCheck::Partial } else { CpuCheck::None });
        }
        Some(CpuMode::HostModel) => {
            cpu.check.get_or_insert(CpuCheck::Partial);
            match &mut cpu.model {
                // POWER names the compatibility mode there.
                Some(model) if model.name.is_some() => {
                    model.fallback.get_or_insert(ModelFallback::Allow);
                }
                Some(model) if model.vendor_id.is_some() => model.fallback = None,
                _ => cpu.model = None,
            }
        }
        Some(CpuMode::HostPassthrough) => {
            cpu.check.get_or_insert(CpuCheck::None);
            if family.is_x86() {
                cpu.migratable.get_or_insert(true);
            }
        }
        // QEMU's own default, as long as nobody says otherwise.
        Some(CpuMode::Maximum) => {
            cpu.check.get_or_insert(CpuCheck::None);
        }
        _ => {}
    }
}
