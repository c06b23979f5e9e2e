//! Arguments of `domxml`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};

/// `domxml …`
#[derive(Debug, Subcommand)]
pub(crate) enum DomxmlCommand {
    /// The XML that defining the guest would store
    Normalize(DefinitionOptions),
    /// The definition in the hypervisor's own language
    #[command(after_help = "Examples:
  polyvirt domxml to-native --format qemu-argv guest.xml      as this host's QEMU would be started
  polyvirt domxml to-native --format qemu-argv --driver qemu --capabilities qemu.replies guest.xml")]
    ToNative(ToNativeArgs),
    /// What a guest needs of its host beyond memory and CPUs: memory that may have to be locked
    #[command(after_help = "Example: polyvirt domxml resources --driver qemu guest.xml")]
    Resources(DefinitionOptions),
    /// A definition in another form, nothing completed and secrets included; what is read may be XML, JSON or TOML
    #[command(after_help = "Example: polyvirt domxml convert --to toml guest.xml")]
    Convert {
        /// The form that is printed
        #[arg(long)]
        to: DefinitionForm,
        /// The definition
        file: PathBuf,
    },
    /// The JSON Schema of a definition in JSON or TOML
    Schema,
    /// How two definitions differ, in words: status 0 if they do not, 1 if they do, 2 if one cannot be read
    #[command(after_help = "Examples:
  polyvirt domxml diff before.xml after.xml
  polyvirt domxml diff --abi before.xml after.xml     only what the guest would see")]
    Diff {
        /// Only what would be another machine for the guest
        #[arg(long)]
        abi: bool,
        /// Domain XML
        #[arg(value_name = "A")]
        before: PathBuf,
        /// Domain XML
        #[arg(value_name = "B")]
        after: PathBuf,
    },
    /// Check files; unknown elements and attributes are errors
    #[command(after_help = "Prints one problem a line, FILE:LINE:COLUMN: PATH: message")]
    Validate {
        /// Domain XML
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// How a definition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DefinitionForm {
    /// libvirt's domain XML
    Xml,
    /// JSON
    Json,
    /// TOML
    Toml,
}

/// `domxml to-native …`
#[derive(Debug, Args)]
pub(crate) struct ToNativeArgs {
    /// qemu-argv, mock-json
    #[arg(long)]
    pub(crate) format: String,
    /// Nodes to use for placement='auto' instead of asking the engine
    #[arg(long, value_name = "SET")]
    pub(crate) auto_nodeset: Option<String>,
    /// Prepare for an incoming migration: tcp:HOST:PORT, exec:COMMAND, fd:NUMBER
    #[arg(long, value_name = "URI")]
    pub(crate) incoming: Option<String>,
    /// What it is made for; without --driver, this host's hypervisor
    #[command(flatten)]
    pub(crate) of: DefinitionOptions,
}

/// Options that say what a definition is completed for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt domxml normalize guest.xml
  polyvirt domxml normalize --driver qemu --arch x86_64 guest.xml
  polyvirt domxml normalize --from-active running.xml      what would be stored of a running guest

An option that this build accepts and does nothing with yet is named on stderr.")]
pub(crate) struct DefinitionOptions {
    /// Whose defaults and rules; without it the driver-independent ones
    #[arg(long)]
    pub(crate) driver: Option<DriverName>,
    /// The host's architecture, which a guest has that does not say one (default: that of this machine)
    #[arg(long, value_name = "ARCH", value_parser = PossibleValuesParser::new(ARCHITECTURES), hide_possible_values = true)]
    pub(crate) arch: Option<String>,
    /// What the hypervisor can do, as it was recorded
    #[arg(long, value_name = "FILE")]
    pub(crate) capabilities: Option<PathBuf>,
    /// Keep machine='pc' instead of the versioned name that it stands for
    #[arg(long)]
    pub(crate) keep_machine_alias: bool,
    /// A brand-new guest: newest defaults, also where they change what the guest sees
    #[arg(long)]
    pub(crate) new: bool,
    /// As stored (default)
    #[arg(long, conflicts_with = "active")]
    pub(crate) inactive: bool,
    /// As the state of a running guest
    #[arg(long)]
    pub(crate) active: bool,
    /// FILE describes a running guest: it is read with its state; printed is what --active or --inactive say
    #[arg(long)]
    pub(crate) from_active: bool,
    #[command(flatten)]
    pub(crate) host: DescribedHost,
    /// Domain XML
    pub(crate) file: PathBuf,
}

/// Options that say what a definition in another document is completed for.
#[derive(Debug, Args)]
pub(crate) struct EmbeddedOptions {
    /// Whose defaults and rules the definition in it gets; without it the driver-independent ones
    #[arg(long)]
    pub(crate) driver: Option<DriverName>,
    /// The host's architecture, which a guest has that does not say one (default: that of this machine)
    #[arg(long, value_name = "ARCH", value_parser = PossibleValuesParser::new(ARCHITECTURES), hide_possible_values = true)]
    pub(crate) arch: Option<String>,
    /// What the hypervisor can do, as it was recorded
    #[arg(long, value_name = "FILE")]
    pub(crate) capabilities: Option<PathBuf>,
    /// Keep machine='pc' instead of the versioned name that it stands for
    #[arg(long)]
    pub(crate) keep_machine_alias: bool,
    #[command(flatten)]
    pub(crate) host: DescribedHost,
}

/// A host that is not at hand, as far as options tell of it.
#[derive(Args, Debug)]
pub(crate) struct DescribedHost {
    /// The host's <cpu>, as capabilities have it
    #[arg(long, value_name = "FILE")]
    pub(crate) host_cpu: Option<PathBuf>,
    /// Settings of the driver, in TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting of the driver, by its name in qemu.conf; again for others
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// A directory that stands for / of that host: firmware, NUMA nodes; without it the host has no files
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
}

impl DescribedHost {
    /// The options that were given, as they are written.
    pub(crate) fn given(&self) -> Vec<String> {
        let all = [
            ("--host-cpu", self.host_cpu.is_some()),
            ("--config", self.config.is_some()),
            ("--sysroot", self.sysroot.is_some()),
        ];
        let names = all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.to_owned());
        let set = self.set.iter().map(|setting| format!("--set {}={}", setting.key, setting.value));
        names.chain(set).collect()
    }
}

/// Whose defaults a definition gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriverName {
    /// QEMU and KVM
    Qemu,
    /// Linux containers
    Lxc,
    /// Xen
    Xen,
    /// FreeBSD's bhyve
    Bhyve,
    /// VMware
    Vmware,
    /// The driver of tests
    Test,
}

impl DriverName {
    /// The name under which the driver registers.
    pub(crate) fn registered(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
            Self::Xen => "xen",
            Self::Bhyve => "bhyve",
            Self::Vmware => "vmware",
            Self::Test => "mock",
        }
    }
}

/// `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The name in `qemu.conf`.
    pub(crate) key: String,
    /// What it is set to; may be empty.
    pub(crate) value: String,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
        let named = key.starts_with(|c: char| c.is_ascii_lowercase())
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !named {
            return Err(format!("'{key}' is no name of a setting: lower-case letters, digits and _"));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// Architectures, in libvirt's words (manual: domain capabilities, `<arch>`).
pub(super) const ARCHITECTURES: [&str; 36] = [
    "alpha",
    "armv6l",
    "armv7l",
    "armv7b",
    "aarch64",
    "cris",
    "i686",
    "ia64",
    "itanium",
    "lm32",
    "loongarch64",
    "m68k",
    "microblaze",
    "microblazeel",
    "mips",
    "mipsel",
    "mips64",
    "mips64el",
    "openrisc",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64le",
    "ppcemb",
    "riscv32",
    "riscv64",
    "s390",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "x86_64",
    "xtensa",
    "xtensaeb",
];

#[cfg(test)]
mod tests {
    use super::Setting;

    #[test]
    fn settings_are_key_and_value() {
        let setting: Setting = "vnc_tls=1".parse().unwrap();
        assert_eq!((setting.key.as_str(), setting.value.as_str()), ("vnc_tls", "1"));
        assert_eq!("a=b=c".parse::<Setting>().unwrap().value, "b=c");
        assert_eq!("a=".parse::<Setting>().unwrap().value, "");
        for bad in ["", "=1", "vnc_tls", "VNC=1", "a b=1", "1a=2"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
    }
}
