//! `-cpu` and `-smp`.

use polyvirt_core::model::{
    DomainConfig, DomainKind,
    cpu::{Cpu, CpuMode, FeaturePolicy},
};

use super::{
    Args,
    option::{Opts, on_off},
};

/// The argument of `-cpu`; `None` takes QEMU's default.
///
/// `host-model` is what this host can run: the host's CPU with KVM, and all that TCG emulates without it. The model that
/// libvirt would name for a guest that migrates comes with the CPU data.
pub(crate) fn argument(config: &DomainConfig) -> Option<String> {
    let cpu = config.cpu.as_ref()?;
    let kvm = config.kind == DomainKind::Kvm;
    let opts = match cpu.mode.or_else(|| cpu.model.as_ref().map(|_| CpuMode::Custom))? {
        CpuMode::HostPassthrough => Opts::new("host").maybe("migratable", cpu.migratable.map(on_off)),
        CpuMode::HostModel if kvm => Opts::new("host").switch("migratable", true),
        CpuMode::HostModel | CpuMode::Maximum => Opts::new("max"),
        CpuMode::Custom => Opts::new(cpu.model.as_ref()?.name.as_deref()?),
        _ => return None,
    };
    Some(features(opts, cpu, config).build())
}

fn features(mut opts: Opts, cpu: &Cpu, config: &DomainConfig) -> Opts {
    for feature in &cpu.feature {
        opts = match feature.policy.unwrap_or(FeaturePolicy::Require) {
            FeaturePolicy::Force | FeaturePolicy::Require => opts.switch(&feature.name, true),
            FeaturePolicy::Disable | FeaturePolicy::Forbid => opts.switch(&feature.name, false),
            // Whatever the model has.
            _ => opts,
        };
    }
    let all = config.features.as_ref();
    let hidden = all.and_then(|it| it.kvm.as_ref()).and_then(|it| it.hidden.as_ref());
    if hidden.is_some_and(|it| it.state != Some(false)) {
        opts = opts.switch("kvm", false);
    }
    opts.maybe("pmu", all.and_then(|it| it.pmu.as_ref()).map(|it| on_off(it.state != Some(false))))
}

pub(super) fn model(args: &mut Args, config: &DomainConfig) {
    if let Some(argument) = argument(config) {
        args.add("-cpu", argument);
    }
}

pub(super) fn topology(args: &mut Args, config: &DomainConfig) {
    let (max, online) = (config.vcpus_max(), config.vcpus_online());
    let opts = Opts::new(&online.to_string()).maybe("maxcpus", (online != max).then_some(max));
    let opts = match config.cpu.as_ref().and_then(|it| it.topology.as_ref()) {
        Some(shape) => opts
            .with("sockets", shape.sockets)
            .maybe("dies", shape.dies.filter(|it| *it > 1))
            .maybe("clusters", shape.clusters.filter(|it| *it > 1))
            .with("cores", shape.cores)
            .with("threads", shape.threads),
        None => opts.with("sockets", max).with("cores", 1).with("threads", 1),
    };
    args.add("-smp", opts.build());
}
