//! The driver without a host: definitions completed and written as command lines for a QEMU of which only a recording is here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use polyvirt_core::{
    DomainCaps, DomainCapsQuery, Error, ErrorKind, ExportOptions, GuestSupport, HypervisorFacts, OfflineContext,
    OfflineDriver, Resources, Result,
    model::{DomainConfig, Problems},
};

use polyvirt_firmware::Firmwares;

use crate::{
    capabilities::{self, Around},
    check,
    command::{self, HostCpu, Input, MonitorAt, Purpose},
    complete::{self, Choices, Given},
    config::Config,
    driver::{Facts, default_name},
    places::Places,
    probe::{Answers, Binary, RecordingError},
    resources,
};

/// Where distributions install emulators.
const PROGRAMS: &str = "/usr/bin";

/// The driver.
#[derive(Debug)]
struct Offline {
    /// `None`: one that can do everything.
    binary: Option<Arc<Binary>>,
    config: Config,
    choices: Choices,
    /// Architecture of the host, in libvirt's words.
    arch: String,
    /// What stands for `/`; without it there are no files.
    sysroot: Option<PathBuf>,
    host_cpu: Option<HostCpu>,
}

/// Opens it.
///
/// # Errors
/// `InvalidArgument` for settings or a recording that cannot be read.
pub(crate) fn open(cx: OfflineContext) -> Result<Box<dyn OfflineDriver>> {
    let config = Config::read(&cx.settings)?;
    config.tell_without_effect();
    let unreadable = |error: RecordingError| Error::new(ErrorKind::InvalidArgument, error.to_string()).source(error);
    let binary = cx.recording.as_ref().map(|recording| recording.read_as(recorded)).transpose().map_err(unreadable)?;
    let choices = Choices { guest: cx.guest, keep_machine_alias: cx.keep_machine_alias, running: cx.running };
    let host_cpu = cx.host_cpu.as_ref().and_then(HostCpu::read);
    Ok(Box::new(Offline { binary, config, choices, arch: cx.arch, sysroot: cx.sysroot, host_cpu }))
}

/// The emulator of which the replies were recorded, where distributions install it.
fn recorded(replies: &str) -> Result<Binary, RecordingError> {
    let mut binary = Binary::read(&PathBuf::new(), &Answers::sessions(replies)?)?;
    binary.path = installed(&binary.arch);
    Ok(binary)
}

fn installed(arch: &str) -> PathBuf {
    PathBuf::from(PROGRAMS).join(default_name(arch))
}

impl Offline {
    /// The emulator for a definition.
    fn binary(&self, config: &DomainConfig) -> Arc<Binary> {
        let os = config.os.as_ref().and_then(|os| os.r#type.as_ref());
        let arch = os.and_then(|it| it.arch.as_deref()).unwrap_or(&self.arch);
        self.binary.clone().unwrap_or_else(|| Arc::new(Binary::assumed(installed(arch), arch)))
    }

    /// The emulator that was recorded, if it is one for this host.
    fn recorded(&self) -> Result<&Binary> {
        let unknown = || {
            Error::new(ErrorKind::InvalidArgument, "what a QEMU can do is told of one QEMU, and none is known")
                .hint("give its recorded replies")
        };
        let binary = self.binary.as_deref().ok_or_else(unknown)?;
        let arch = capabilities::arch(binary);
        if arch == self.arch {
            return Ok(binary);
        }
        let message = format!("these replies are of a QEMU for {arch} guests, not for '{}'", self.arch);
        Err(Error::new(ErrorKind::InvalidArgument, message).hint(format!("ask for --arch {arch}")))
    }
}

impl OfflineDriver for Offline {
    fn complete(&self, config: &mut DomainConfig) -> Result<(), Problems> {
        let kind = config.os.get_or_insert_default().r#type.get_or_insert_default();
        kind.arch.get_or_insert_with(|| self.arch.clone());
        let found: Vec<_> = check::without_host(config).collect();
        if !found.is_empty() {
            return Err(found.into_iter().collect());
        }
        let binary = self.binary(config);
        let firmware = match &self.sysroot {
            Some(root) if complete::wants_firmware(config) => Firmwares::read(root, None),
            _ => Firmwares::default(),
        };
        let given = Given { binary: &binary, settings: &self.config, firmware: &firmware, choices: self.choices };
        complete::complete(config, &given)?;
        if binary.assumed { Ok(()) } else { check::definable(config, &Facts::of(binary)) }
    }

    fn resources(&self, config: &DomainConfig) -> Result<Resources> {
        Ok(resources::of(config))
    }

    fn formats(&self) -> &'static [&'static str] {
        command::FORMATS
    }

    fn export(&self, format: &str, config: &DomainConfig, options: &ExportOptions) -> Result<String> {
        if !self.formats().contains(&format) {
            let message = format!("'{format}' is no format of QEMU's; use 'qemu-argv'");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let Some(binary) = &self.binary else {
            let message = "a command line is made for one QEMU, and none is known";
            return Err(
                Error::new(ErrorKind::InvalidArgument, message).hint("give its recorded replies with --capabilities")
            );
        };
        check::startable(config).map_err(Error::invalid_config)?;
        let places = Places::described(&config.name, &self.config);
        let args = command::build(&Input {
            config,
            plan: options.plan.as_ref(),
            binary,
            folders: &places.folders,
            monitor: MonitorAt::Descriptor(command::SHOWN_DESCRIPTOR),
            sandbox: self.config.sandbox && binary.sandbox(),
            settings: &self.config,
            purpose: Purpose::Shown,
            incoming: options.incoming.as_deref(),
            taps: &[],
            // What is shown does not depend on when.
            now: 0,
            generic_scsi: |_| None,
            host_cpu: self.host_cpu.as_ref(),
        })?;
        let program = config.devices.emulator.as_deref().map_or(binary.path.as_path(), Path::new);
        Ok(command::shell(program, &args))
    }

    fn facts(&self) -> Result<HypervisorFacts> {
        Ok(capabilities::facts(self.recorded()?))
    }

    fn guests(&self, emulator: Option<&Path>) -> Result<Vec<GuestSupport>> {
        let binary = self.recorded()?;
        let arch = capabilities::arch(binary);
        let mut support = GuestSupport::new("hvm", arch);
        support.emulator = Some(emulator.unwrap_or(&binary.path).to_owned());
        support.domain_types = capabilities::domain_types(binary);
        support.features = capabilities::guest_features(arch);
        Ok(vec![support])
    }

    fn domain_capabilities(&self, query: &DomainCapsQuery) -> Result<DomainCaps> {
        let binary = self.recorded()?;
        let firmware = self.sysroot.as_deref().map(|root| Firmwares::read(root, None)).unwrap_or_default();
        let around = Around { settings: &self.config, firmware: &firmware, host_cpu: self.host_cpu.as_ref() };
        capabilities::domain(binary, query, &around)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn offline(config: &mut DomainConfig) -> Result<(), Problems> {
        open(OfflineContext::new("x86_64")).unwrap().complete(config)
    }

    fn guest(kind: &str, os: &str) -> DomainConfig {
        let text = format!(
            "<domain type='{kind}'><name>a</name><os>{os}</os><devices><disk><target dev='vda'/></disk><interface type='user'/></devices></domain>"
        );
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config
    }

    #[test]
    fn c5_vcpus_without_a_cell_are_the_first_ones() {
        let cells = |cells: &str| {
            let text = format!(
                "<domain type='qemu'><name>a</name><vcpu>8</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os><cpu><numa>{cells}</numa></cpu></domain>"
            );
            let mut config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
            offline(&mut config).unwrap();
            config.cells().iter().map(|cell| cell.cpus.clone().unwrap_or_default().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(cells("<cell cpus='0' memory='1'/><cell cpus='2-3' memory='1'/>"), ["0-1,4-7", "2-3"]);
        assert_eq!(cells("<cell memory='1'/><cell memory='1'/>"), ["0-7", ""]);
        assert_eq!(cells("<cell cpus='4-7' memory='1'/><cell cpus='0-3' memory='1'/>"), ["4-7", "0-3"]);
    }

    #[test]
    fn without_a_host_machine_names_stay_and_foreign_types_are_refused() {
        let mut config = guest("qemu", "<type arch='s390x' machine='s390-ccw-virtio'>hvm</type>");
        offline(&mut config).unwrap();
        let once = config.to_xml();
        for expected in
            ["machine='s390-ccw-virtio'", "/usr/bin/qemu-system-s390x", "bus='virtio'", "model type='virtio'"]
        {
            assert!(once.contains(expected), "{expected} not in\n{once}");
        }
        offline(&mut config).unwrap();
        assert_eq!(config.to_xml(), once);
        let bus = |machine: &str, model: &str| {
            let text = format!(
                "<domain type='qemu'><name>a</name><os><type arch='x86_64' machine='{machine}'>hvm</type></os>\
                 <devices><controller type='pci' index='1' model='{model}'/></devices></domain>"
            );
            offline(&mut DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config)
                .map_err(|it| it.to_string())
        };
        assert!(bus("pc-i440fx-7.2", "pci-expander-bus").is_ok() && bus("q35", "pcie-expander-bus").is_ok());
        assert!(bus("q35", "pci-expander-bus").unwrap_err().contains("is for the machines pc (i440FX), not for 'q35'"));
        assert!(bus("pc", "pcie-expander-bus").unwrap_err().contains("/domain/devices/controller[1]/@model"));
        let refused = offline(&mut guest("lxc", "<type>exe</type>")).unwrap_err();
        assert!(refused.to_string().contains("/domain/@type"), "{refused}");
        assert!(refused.to_string().contains("'exe' guests are not QEMU's"), "{refused}");
    }
}
