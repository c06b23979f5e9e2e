//! `-cpu` and `-smp`.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig, DomainKind,
        clock::{TickPolicy, TimerName},
        cpu::{Cpu, CpuCacheMode, CpuMode, FeaturePolicy, MaxPhysAddrMode},
        features::Features,
        misc::PanicModel,
    },
};

use super::{
    Args, HostCpu, Input, hyperv,
    machine::is_on,
    option::{Opts, on_off},
};

/// The argument of `-cpu`; `None` takes QEMU's default.
///
/// `host-model` is the model that `host` names. Where nobody knows it: what this host can run, which is the host's CPU with KVM, and
/// all that TCG emulates without it. A feature that is optional is switched on where `known` has it, and off where it lacks it.
pub(crate) fn argument(config: &DomainConfig, host: Option<&HostCpu>, known: Option<&HostCpu>) -> Option<String> {
    let empty = Cpu::default();
    let cpu = config.cpu.as_ref().unwrap_or(&empty);
    let kvm = config.kind == DomainKind::Kvm;
    let named = || cpu.model.as_ref().and_then(|it| it.name.as_deref());
    let arch =
        config.os.as_ref().and_then(|it| it.r#type.as_ref()).and_then(|it| it.arch.as_deref()).unwrap_or_default();
    let opts = match cpu.mode.or_else(|| cpu.model.as_ref().map(|_| CpuMode::Custom)) {
        _ if host.is_some() => host_model(host),
        Some(CpuMode::HostPassthrough) => Opts::new("host").maybe("migratable", cpu.migratable.map(on_off)),
        Some(CpuMode::Maximum) => Opts::new("max").maybe("migratable", cpu.migratable.map(on_off)),
        Some(CpuMode::HostModel) if kvm && is_x86(arch) => Opts::new("host").switch("migratable", true),
        Some(CpuMode::HostModel) if kvm => Opts::new("host"),
        Some(CpuMode::HostModel) => Opts::new("max"),
        Some(CpuMode::Custom) if named().is_some() => Opts::new(named().unwrap_or_default()),
        _ => {
            // Features need a model that they change; this one is QEMU's default.
            let default = if arch == "i686" { "qemu32" } else { "qemu64" };
            let changed = switches(Opts::new(default), config);
            return (is_x86(arch) && changed != Opts::new(default)).then(|| changed.build());
        }
    };
    let opts = features(opts, cpu, arch, (host, known));
    let opts = switches(caches(opts, cpu), config);
    let narrow = kvm && arch == "armv7l" && cpu.mode == Some(CpuMode::HostPassthrough);
    Some(opts.maybe("aarch64", narrow.then_some("off")).build())
}

fn is_x86(arch: &str) -> bool {
    matches!(arch, "x86_64" | "i686")
}

/// QEMU writes names of x86 features with hyphens, libvirt's users some of them with underscores, and one differently.
fn feature_name(name: &str, arch: &str) -> String {
    match name {
        "pclmuldq" if is_x86(arch) => "pclmulqdq".into(),
        name if is_x86(arch) => name.replace('_', "-"),
        name => name.into(),
    }
}

fn host_model(host: Option<&HostCpu>) -> Opts {
    Opts::new(host.map_or("", |it| it.model.as_str()))
}

fn features(mut opts: Opts, cpu: &Cpu, arch: &str, (host, known): (Option<&HostCpu>, Option<&HostCpu>)) -> Opts {
    opts = opts.maybe("vendor", cpu.model.as_ref().and_then(|it| it.vendor_id.as_deref()));
    let own = |name: &str| cpu.feature.iter().any(|it| it.name == name);
    for (name, on) in host.iter().flat_map(|it| &it.features).filter(|it| !own(&it.0)) {
        opts = opts.switch(&feature_name(name, arch), *on);
    }
    if host.is_none()
        && let Some(model) = cpu.model.as_ref().and_then(|it| it.name.as_deref())
    {
        for name in polyvirt_cpu::withdrawn(arch, model).into_iter().filter(|it| !own(it)) {
            opts = opts.switch(&feature_name(name, arch), false);
        }
    }
    for feature in &cpu.feature {
        let name = feature_name(&feature.name, arch);
        opts = match feature.policy.unwrap_or(FeaturePolicy::Require) {
            FeaturePolicy::Force | FeaturePolicy::Require => opts.switch(&name, true),
            FeaturePolicy::Disable | FeaturePolicy::Forbid => opts.switch(&name, false),
            // Else whatever the model has.
            _ => match known.and_then(|it| it.has(arch, &feature.name)) {
                Some(has) => opts.switch(&name, has),
                None => opts,
            },
        };
    }
    opts
}

fn caches(opts: Opts, cpu: &Cpu) -> Opts {
    let host = matches!(cpu.mode, Some(CpuMode::HostPassthrough | CpuMode::Maximum));
    let opts = match cpu.cache.as_ref().and_then(|it| it.mode) {
        Some(mode) => {
            let (info, emulated) = (mode == CpuCacheMode::Passthrough, mode == CpuCacheMode::Emulate);
            opts.maybe("host-cache-info", host.then(|| on_off(info))).switch("l3-cache", emulated)
        }
        None => opts,
    };
    let Some(width) = &cpu.maxphysaddr else { return opts };
    let bits = width.bits.filter(|it| *it > 0);
    match width.mode {
        Some(MaxPhysAddrMode::Passthrough) => {
            opts.switch("host-phys-bits", true).maybe("host-phys-bits-limit", width.limit)
        }
        _ if bits.is_some() => opts.maybe("phys-bits", bits),
        _ => opts.switch("host-phys-bits", false),
    }
}

/// What stands elsewhere in a definition and is the CPU's in QEMU.
fn switches(mut opts: Opts, config: &DomainConfig) -> Opts {
    for timer in config.clock.iter().flat_map(|it| &it.timer) {
        opts = match timer.name {
            Some(TimerName::Kvmclock) => opts.maybe("kvmclock", timer.present.map(on_off)),
            Some(TimerName::Hypervclock) if timer.present == Some(true) => opts.switch("hv-time", true),
            Some(TimerName::Tsc) => opts.maybe("tsc-frequency", timer.frequency),
            Some(TimerName::Armvtimer) => {
                opts.maybe("kvm-no-adjvtime", timer.tickpolicy.map(|it| on_off(it == TickPolicy::Discard)))
            }
            _ => opts,
        };
    }
    let none = Features::default();
    let all = config.features.as_ref().unwrap_or(&none);
    let eoi = all.apic.as_ref().and_then(|it| it.eoi);
    opts = opts
        .maybe("kvm-pv-eoi", eoi.map(on_off))
        .maybe("kvm-pv-unhalt", all.pvspinlock.as_ref().map(|it| on_off(is_on(it))));
    if let Some(hyperv) = &all.hyperv {
        opts = hyperv::enlightenments(opts, hyperv);
    }
    if config.devices.panics.iter().any(|it| it.model == Some(PanicModel::Hyperv)) {
        opts = opts.alone("hv-crash");
    }
    if let Some(kvm) = &all.kvm {
        opts = opts
            .maybe("kvm", kvm.hidden.as_ref().filter(|it| is_on(it)).map(|_| "off"))
            .maybe("kvm-hint-dedicated", kvm.hint_dedicated.as_ref().filter(|it| is_on(it)).map(|_| "on"))
            .maybe("kvm-poll-control", kvm.poll_control.as_ref().filter(|it| is_on(it)).map(|_| "on"))
            // On unless somebody says otherwise.
            .maybe("kvm-pv-ipi", kvm.pv_ipi.as_ref().filter(|it| !is_on(it)).map(|_| "off"));
    }
    opts.maybe("pmu", all.pmu.as_ref().map(|it| on_off(is_on(it))))
}

pub(super) fn model(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let toggled = input.config.cpu.as_ref().and_then(|it| it.deprecated_features);
    if toggled.is_some() && !input.binary.has_path("query-cpu-model-expansion/!/deprecated-props") {
        let problem = "this QEMU does not tell which features are deprecated (9.1 does); leave the attribute out";
        let path = "/domain/cpu/@deprecated_features";
        return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", path));
    }
    separable(input.config)?;
    known_features(input)?;
    compatible(input)?;
    let host = HostCpu::wanted(input.config, input.binary, input.host_cpu);
    let known = HostCpu::for_optional(input.config, input.binary, input.host_cpu);
    if let Some(argument) = argument(input.config, host.as_ref(), known.as_ref()) {
        args.add("-cpu", argument);
    }
    Ok(())
}

/// On Arm QEMU lists all features there are, and has no words for one that is not among them but "not found".
fn known_features(input: &Input<'_>) -> Result<()> {
    let expansions = &input.binary.best.expansions;
    if !matches!(input.binary.arch.as_str(), "aarch64" | "arm") || expansions.is_empty() {
        return Ok(());
    }
    let knows = |name: &str| expansions.iter().any(|(_, it)| it["model"]["props"].get(name).is_some());
    let features = input.config.cpu.iter().flat_map(|it| &it.feature);
    match features.map(|it| &it.name).find(|it| !knows(it)) {
        None => Ok(()),
        Some(name) => {
            let shown: String = name.chars().take(40).collect();
            let problem = format!("this QEMU knows no feature '{shown}' of Arm's CPUs; leave it out");
            Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/cpu/feature/@name"))
        }
    }
}

/// POWER runs guests in the mode of an older processor, not of a newer one.
fn compatible(input: &Input<'_>) -> Result<()> {
    let generation = |name: &str| name.to_ascii_lowercase().strip_prefix("power").and_then(|it| it.parse::<u32>().ok());
    let cpu = input.config.cpu.as_ref().filter(|it| it.mode == Some(CpuMode::HostModel));
    let mode = cpu.and_then(|it| it.model.as_ref()).and_then(|it| it.name.as_deref());
    let host = input.host_cpu.map(|it| it.model.as_str());
    let (Some(mode), Some(host)) = (mode, host) else { return Ok(()) };
    match (generation(mode), generation(host)) {
        (Some(wanted), Some(there)) if wanted > there => {
            let problem =
                format!("a host of {host} cannot run a guest in the mode of '{mode}'; use power{there} or older");
            Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/cpu/model"))
        }
        _ => Ok(()),
    }
}

/// `-cpu` is split at every comma, and nothing quotes one; so no text in it may have one.
fn separable(config: &DomainConfig) -> Result<()> {
    let cpu = config.cpu.as_ref();
    let model = cpu.and_then(|it| it.model.as_ref());
    let vendor = config.features.as_ref().and_then(|it| it.hyperv.as_ref()).and_then(|it| it.vendor_id.as_ref());
    let texts = [
        ("/domain/cpu/model", model.and_then(|it| it.name.as_deref()), false),
        ("/domain/cpu/model/@vendor_id", model.and_then(|it| it.vendor_id.as_deref()), true),
        ("/domain/features/hyperv/vendor_id/@value", vendor.and_then(|it| it.value.as_deref()), true),
    ];
    let features =
        cpu.iter().flat_map(|it| &it.feature).map(|it| ("/domain/cpu/feature/@name", Some(it.name.as_str()), false));
    for (path, text, value) in texts.into_iter().chain(features) {
        let Some(text) = text else { continue };
        if text.contains(',') || !value && text.contains('=') {
            let shown: String = text.chars().take(40).collect();
            let problem = format!("'{shown}' has a character that QEMU takes for the end of a CPU's property");
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", path));
        }
    }
    Ok(())
}

/// vCPUs that are there from the first moment. Those that can be unplugged are plugged in before the guest runs.
fn at_start(input: &Input<'_>) -> u32 {
    let all = input.config.vcpus_online();
    let fixed = input.config.online_vcpus().difference(&input.config.removable_vcpus()).len();
    u32::try_from(fixed).ok().filter(|it| *it > 0).unwrap_or(all)
}

pub(super) fn topology(args: &mut Args, input: &Input<'_>) {
    let config = input.config;
    let (max, online) = (config.vcpus_max(), at_start(input));
    let opts = Opts::new(&online.to_string()).maybe("maxcpus", (online != max).then_some(max));
    let opts = match config.cpu.as_ref().and_then(|it| it.topology.as_ref()) {
        Some(shape) => {
            let level = |name: &str, given: Option<u32>| {
                let count = given.unwrap_or(1);
                (count > 1 || input.binary.has_option("smp-opts", name)).then_some(count)
            };
            opts.with("sockets", shape.sockets)
                .maybe("dies", level("dies", shape.dies))
                .maybe("clusters", level("clusters", shape.clusters))
                .with("cores", shape.cores)
                .with("threads", shape.threads)
        }
        None => opts.with("sockets", max).with("cores", 1).with("threads", 1),
    };
    args.add("-smp", opts.build());
}
