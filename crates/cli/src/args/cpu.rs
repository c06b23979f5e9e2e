//! Arguments of `cpu`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `cpu …`
#[derive(Debug, Subcommand)]
pub(crate) enum CpuCommand {
    /// Whether a host has what a guest is to have: identical, superset or incompatible
    #[command(after_help = "Prints one word; with --json also why.

Example: polyvirt cpu compare --host host.xml guest.xml")]
    Compare {
        #[command(flatten)]
        of: CpuArch,
        #[command(flatten)]
        on: CpuHost,
        /// <cpu>, or what holds one: a domain, capabilities
        file: PathBuf,
    },
    /// The CPU that guests can have on each of several hosts
    #[command(after_help = "Examples:
  polyvirt cpu baseline host1.xml host2.xml
  polyvirt cpu baseline --migratable --expand hosts.xml      several <cpu> in one file, every feature told")]
    Baseline {
        #[command(flatten)]
        of: CpuArch,
        /// Tell every feature, also those of the model
        #[arg(long)]
        expand: bool,
        /// Leave out what a guest that migrates cannot have
        #[arg(long)]
        migratable: bool,
        /// <cpu>, or what holds several
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// What a guest's CPU comes to on a host: host-model, minimum and optional parts filled in
    #[command(after_help = "Example: polyvirt cpu update --host host.xml guest.xml")]
    Update {
        #[command(flatten)]
        of: CpuArch,
        #[command(flatten)]
        on: CpuHost,
        /// <cpu>, or a domain
        file: PathBuf,
    },
    /// The CPU that a guest gets on a host, described by models that its hypervisor has
    #[command(after_help = "Example: polyvirt cpu guest --host host.xml --models qemu64,Nehalem,Haswell guest.xml")]
    Guest {
        #[command(flatten)]
        of: CpuArch,
        #[command(flatten)]
        on: CpuHost,
        /// The models; without it all
        #[arg(long, value_name = "MODEL,…", value_delimiter = ',')]
        models: Option<Vec<String>>,
        /// <cpu>, or a domain
        file: PathBuf,
    },
    /// Whether a CPU has a feature: yes or no
    #[command(after_help = "Example: polyvirt cpu has-feature --feature avx2 host.xml")]
    HasFeature {
        #[command(flatten)]
        of: CpuArch,
        /// The feature
        #[arg(long, value_name = "NAME")]
        feature: String,
        /// <cpu>, or what holds one
        file: PathBuf,
    },
    /// Which model a processor is, from raw CPUID leaves or QEMU's replies
    #[command(after_help = "Examples:
  polyvirt cpu decode --as host --cpuid leaves.xml
  polyvirt cpu decode --as guest --cpuid leaves.xml --qmp replies.json      only models that this QEMU has
  polyvirt cpu decode --as guest --qmp replies.json                         what QEMU can give a guest there")]
    Decode {
        #[command(flatten)]
        of: CpuArch,
        /// What it is described as: a host's own CPU, or one for guests
        #[arg(long = "as", value_name = "WHAT")]
        role: CpuRole,
        /// <cpudata> with <cpuid eax_in='…' ecx_in='…' eax='…' ebx='…' ecx='…' edx='…'/> and <msr index='…' eax='…' edx='…'/>
        #[arg(long, value_name = "FILE", required_unless_present = "qmp")]
        cpuid: Option<PathBuf>,
        /// Replies to query-cpu-model-expansion and query-cpu-definitions, JSON documents one after the other
        #[arg(long, value_name = "FILE")]
        qmp: Option<PathBuf>,
    },
    /// Family, model and stepping of a processor, as JSON
    #[command(after_help = "Example: polyvirt cpu signature --cpuid leaves.xml")]
    Signature {
        #[command(flatten)]
        of: CpuArch,
        /// As for decode
        #[arg(long, value_name = "FILE")]
        cpuid: PathBuf,
    },
}

/// The architecture.
#[derive(Debug, Args)]
pub(crate) struct CpuArch {
    /// The architecture: x86_64, i686, ppc64, ppc64le (default: that of this machine)
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
}

impl CpuArch {
    pub(crate) fn name(&self) -> &str {
        self.arch.as_deref().unwrap_or_else(|| crate::commands::host_arch())
    }
}

/// The host.
#[derive(Debug, Args)]
pub(crate) struct CpuHost {
    /// The host's <cpu>, or its capabilities
    #[arg(long, value_name = "FILE")]
    pub(crate) host: PathBuf,
}

/// What a processor is described as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CpuRole {
    /// A host's CPU
    Host,
    /// A CPU for guests
    Guest,
}
