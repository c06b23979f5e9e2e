//! `-machine`, `-accel`, and the switches of the board that are options of their own in older releases.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig, DomainKind,
        clock::TimerName,
        cpu::CpuMode,
        display::SoundModel,
        features::{Features, GicVersion, IoApicDriver, Switch},
        memory_device::MemoryModel,
        misc::IommuModel,
        security::{KeyWrapName, LaunchSecurity},
    },
};

use super::{
    Args, Input, firmware, hmat,
    option::{Opts, on_off},
    sound,
};

/// Whether a switch that is there is on.
pub(super) fn is_on(switch: &Switch) -> bool {
    switch.state != Some(false)
}

fn state(switch: Option<&Switch>) -> Option<&'static str> {
    switch.map(|it| on_off(is_on(it)))
}

pub(super) fn machine(args: &mut Args, input: &Input<'_>, memory: Option<&str>) -> Result<()> {
    let config = input.config;
    let none = Features::default();
    let features = config.features.as_ref().unwrap_or(&none);
    let mut opts = Opts::new(super::machine_name(config).unwrap_or_default()).switch("usb", false);
    opts = chips(opts, features, input);
    opts = key_wrap(opts, input);
    let core = config.memory.as_ref().and_then(|it| it.dump_core).or(input.settings.dump_guest_core);
    opts = opts.maybe("dump-guest-core", core.map(on_off));
    if config.memory_backing.as_ref().is_some_and(|it| it.nosharepages) {
        opts = opts.switch("mem-merge", false);
    }
    if config.devices.memories.iter().any(|it| it.model == Some(MemoryModel::Nvdimm)) {
        opts = opts.switch("nvdimm", true);
    }
    opts = opts.maybe("memory-backend", memory);
    opts = power(opts, features, config);
    if config.os.as_ref().and_then(|it| it.bios.as_ref()).and_then(|it| it.useserial) == Some(true) {
        // Firmware then writes to the serial port.
        opts = opts.switch("graphics", false);
    }
    if let Some(speaker) = config.devices.sounds.iter().find(|it| it.model == Some(SoundModel::Pcspk)) {
        opts = opts.maybe("pcspk-audiodev", sound::audiodev(speaker.audio.as_ref(), config));
    }
    if matches!(
        config.launch_security,
        Some(LaunchSecurity::Sev(_) | LaunchSecurity::SevSnp(_) | LaunchSecurity::Tdx(_))
    ) {
        opts = opts.with("confidential-guest-support", "lsec0");
    }
    if matches!(config.launch_security, Some(LaunchSecurity::S390Pv(_))) {
        opts = opts.with("confidential-guest-support", "lsec0");
    }
    for (name, node) in firmware::flash(input)? {
        opts = opts.with(name, node);
    }
    opts = timers(args, opts, features, input);
    if hmat::wanted(config) {
        opts = opts.switch("hmat", true);
    }
    let own = input.binary.has_property("virtio-blk-ccw", "loadparm");
    opts = enclaves(opts, config).maybe("loadparm", load_parameter(config).filter(|_| !own));
    args.add("-machine", opts.build());
    args.add("-accel", accelerator(config)?);
    Ok(())
}

fn chips(opts: Opts, features: &Features, input: &Input<'_>) -> Opts {
    let irqchip = features.ioapic.as_ref().and_then(|it| it.driver).map(|it| match it {
        IoApicDriver::Qemu => "split",
        _ => "on",
    });
    let gic = features.gic.as_ref().and_then(|it| it.version).map(GicVersion::as_str);
    let smmu = input.config.devices.iommu.iter().any(|it| it.model == Some(IommuModel::Smmuv3));
    opts.maybe("vmport", state(features.vmport.as_ref()))
        .maybe("smm", features.smm.as_ref().filter(|_| input.is_x86()).map(|it| on_off(it.state != Some(false))))
        .maybe("kernel_irqchip", irqchip)
        .maybe("gic-version", gic)
        .maybe("iommu", smmu.then_some("smmuv3"))
        .maybe("ras", state(features.ras.as_ref()))
        .maybe("i8042", state(features.ps2.as_ref()))
        .maybe("aia", features.aia.as_ref().and_then(|it| it.value).map(|it| it.as_str()))
}

/// s390x: wrapping of keys, where the machine knows the switch.
fn key_wrap(opts: Opts, input: &Input<'_>) -> Opts {
    let ciphers = input.config.keywrap.iter().flat_map(|it| &it.cipher);
    ciphers.fold(opts, |opts, cipher| {
        let (Some(name), Some(on)) = (cipher.name, cipher.state) else { return opts };
        let name = match name {
            KeyWrapName::Aes => "aes-key-wrap",
            KeyWrapName::Dea => "dea-key-wrap",
            _ => return opts,
        };
        if input.binary.has_option("machine", name) { opts.switch(name, on) } else { opts }
    })
}

/// POWER: the hash page table, and what the guest may use of the processor.
fn power(opts: Opts, features: &Features, config: &DomainConfig) -> Opts {
    let hpt = features.hpt.as_ref();
    let largest = hpt.and_then(|it| it.maxpagesize).map(|it| format!("{}k", it.0));
    let cpu = config.cpu.as_ref().filter(|it| it.mode == Some(CpuMode::HostModel));
    let compatible = cpu.and_then(|it| it.model.as_ref()).and_then(|it| it.name.as_deref());
    let is_power = config.os.as_ref().and_then(|it| it.r#type.as_ref()).and_then(|it| it.arch.as_deref());
    let is_power = is_power.is_some_and(|it| it.starts_with("ppc64"));
    opts.maybe("resize-hpt", hpt.and_then(|it| it.resizing).map(|it| it.as_str()))
        .maybe("cap-hpt-max-page-size", largest)
        .maybe("cap-htm", state(features.htm.as_ref()))
        .maybe("cap-nested-hv", state(features.nested_hv.as_ref()))
        .maybe("cap-ccf-assist", state(features.ccf_assist.as_ref()))
        .maybe("cap-cfpc", features.cfpc.as_ref().and_then(|it| it.value).map(|it| it.as_str()))
        .maybe("cap-sbbc", features.sbbc.as_ref().and_then(|it| it.value).map(|it| it.as_str()))
        .maybe("cap-ibs", features.ibs.as_ref().and_then(|it| it.value).map(|it| it.as_str()))
        .maybe("max-cpu-compat", compatible.filter(|_| is_power))
}

/// ACPI and HPET: properties of the machine since QEMU 8.0, options of their own before.
fn timers(args: &mut Args, mut opts: Opts, features: &Features, input: &Input<'_>) -> Opts {
    let mut timers = input.config.clock.iter().flat_map(|it| &it.timer);
    let hpet = timers.find(|it| it.name == Some(TimerName::Hpet)).and_then(|it| it.present);
    if let Some(present) = hpet.filter(|_| input.is_x86()) {
        if input.binary.has_option("machine", "hpet") {
            opts = opts.switch("hpet", present);
        } else if !present {
            args.flag("-no-hpet");
        }
    }
    if input.is_x86() || input.is_virt() {
        if input.binary.has_option("machine", "acpi") {
            opts = opts.switch("acpi", features.acpi);
        } else if !features.acpi {
            args.flag("-no-acpi");
        }
    }
    opts
}

fn enclaves(opts: Opts, config: &DomainConfig) -> Opts {
    let enclaves = config.devices.memories.iter().filter(|it| it.model == Some(MemoryModel::SgxEpc));
    enclaves.enumerate().fold(opts, |opts, (at, it)| {
        let node = it.target.as_ref().and_then(|it| it.node);
        let opts = opts.with(&format!("sgx-epc.{at}.memdev"), format!("mem{}", super::alias::of(&it.info)));
        opts.maybe(&format!("sgx-epc.{at}.node"), node)
    })
}

/// s390x: the machine boots with the parameter of the first device in the boot order.
fn load_parameter(config: &DomainConfig) -> Option<String> {
    let infos = super::boot::infos(config);
    let first = infos.iter().filter_map(|it| it.boot.as_ref()).min_by_key(|it| it.order.unwrap_or(u32::MAX))?;
    first.loadparm.as_ref().map(ToString::to_string)
}

fn accelerator(config: &DomainConfig) -> Result<String> {
    let features = config.features.as_ref();
    let opts = match config.kind {
        DomainKind::Kvm => {
            let ring = features.and_then(|it| it.kvm.as_ref()).and_then(|it| it.dirty_ring.as_ref());
            let ring = ring.filter(|it| it.state != Some(false)).and_then(|it| it.size);
            Opts::new("kvm").maybe("dirty-ring-size", ring)
        }
        DomainKind::Qemu => {
            let cache = features.and_then(|it| it.tcg.as_ref()).and_then(|it| it.tb_cache);
            Opts::new("tcg").maybe("tb-size", cache.map(|it| it.0 >> 10))
        }
        DomainKind::Hvf => Opts::new("hvf"),
        other => {
            let problem = format!("domain type '{other}' is not QEMU's; use 'kvm' or 'qemu'");
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/@type"));
        }
    };
    Ok(opts.build())
}
