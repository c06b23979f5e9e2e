//! Arguments of the commands that ask the agent in a guest.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use polyvirt::placement::CpuSet;

use super::Which;

/// The commands that ask the agent in a guest.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Have the guest's agent execute a command of its own language
    #[command(
        name = "qemu-agent-command",
        after_help = "Example: polyvirt qemu-agent-command guest '{\"execute\": \"guest-ping\"}'"
    )]
    Raw {
        #[command(flatten)]
        which: Which,
        /// How long it may take, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 10)]
        timeout: u32,
        /// Several lines
        #[arg(long)]
        pretty: bool,
        /// The command, in JSON
        #[arg(required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// The name that a guest has for itself
    #[command(after_help = "Example: polyvirt domhostname guest")]
    Domhostname(Asked),
    /// A guest's network cards and their addresses, as it has them
    #[command(after_help = "Example: polyvirt domifaddr guest --source agent")]
    Domifaddr {
        #[command(flatten)]
        asked: Asked,
        /// Only this card, by its name in the guest or its MAC
        interface: Option<String>,
        /// Name and MAC with every address
        #[arg(long)]
        full: bool,
    },
    /// Stop writes to a guest's file systems
    #[command(after_help = "Examples:\n  polyvirt domfsfreeze guest\n  polyvirt domfsfreeze guest --mountpoint /srv")]
    Domfsfreeze {
        #[command(flatten)]
        which: Which,
        /// Only this one; can be said several times
        #[arg(long, value_name = "PATH")]
        mountpoint: Vec<String>,
    },
    /// Let a guest's file systems go on
    #[command(after_help = "Example: polyvirt domfsthaw guest")]
    Domfsthaw(Which),
    /// Give unused blocks of a guest's file systems back
    #[command(after_help = "Example: polyvirt domfstrim guest --minimum 1048576")]
    Domfstrim {
        #[command(flatten)]
        which: Which,
        /// Bytes of the shortest run of blocks
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        minimum: u64,
    },
    /// A guest's file systems
    #[command(after_help = "Example: polyvirt domfsinfo guest")]
    Domfsinfo(Which),
    /// Show or set a guest's clock
    #[command(after_help = "Examples:\n  polyvirt domtime guest --pretty\n  polyvirt domtime guest --now")]
    Domtime {
        #[command(flatten)]
        which: Which,
        /// Set it to the time of this host
        #[arg(long, conflicts_with_all = ["sync", "time"])]
        now: bool,
        /// Set it from the guest's hardware clock
        #[arg(long, conflicts_with = "time")]
        sync: bool,
        /// Set it, in seconds since 1970
        #[arg(long, value_name = "SECONDS")]
        time: Option<u64>,
        /// In words
        #[arg(long)]
        pretty: bool,
    },
    /// Set the password of a guest's user
    #[command(after_help = "Example: polyvirt set-user-password guest root - < password")]
    SetUserPassword {
        #[command(flatten)]
        which: Which,
        /// The user
        user: String,
        /// The password, or - to read it from stdin, where others cannot see it
        password: String,
        /// It is a hash, as the guest stores them
        #[arg(long)]
        encrypted: bool,
    },
    /// Keys with which a guest's user may log in
    #[command(after_help = "Example: polyvirt get-user-sshkeys guest root")]
    GetUserSshkeys {
        #[command(flatten)]
        which: Which,
        /// The user
        user: String,
    },
    /// Add, replace or remove keys of a guest's user
    #[command(after_help = "Example: polyvirt set-user-sshkeys guest root --file id_ed25519.pub")]
    SetUserSshkeys {
        #[command(flatten)]
        which: Which,
        /// The user
        user: String,
        /// A key a line
        #[arg(long)]
        file: Option<PathBuf>,
        /// These are the only ones
        #[arg(long, conflicts_with = "remove")]
        reset: bool,
        /// Remove these
        #[arg(long, requires = "file")]
        remove: bool,
    },
    /// Show a guest's vCPUs as it has them, or switch some on or off in it
    #[command(after_help = "Example: polyvirt guestvcpus guest --cpulist 2-3 --disable")]
    Guestvcpus {
        #[command(flatten)]
        which: Which,
        /// Which
        #[arg(long, value_name = "SET")]
        cpulist: Option<CpuSet>,
        /// Switch them on
        #[arg(long, requires = "cpulist")]
        enable: bool,
        /// Switch them off
        #[arg(long, requires = "cpulist", conflicts_with = "enable")]
        disable: bool,
    },
    /// What a guest tells of its system
    #[command(after_help = "Example: polyvirt guestinfo guest --os")]
    Guestinfo {
        #[command(flatten)]
        which: Which,
        /// Who is logged in
        #[arg(long)]
        user: bool,
        /// Which system it is
        #[arg(long)]
        os: bool,
        /// Its time zone
        #[arg(long)]
        timezone: bool,
        /// Its name
        #[arg(long)]
        hostname: bool,
        /// Its file systems
        #[arg(long)]
        filesystem: bool,
        /// Its network cards
        #[arg(long)]
        interface: bool,
    },
}

/// A guest, and who is asked about it.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Who is asked
    #[arg(long, value_parser = ["agent"], default_value = "agent")]
    pub(crate) source: String,
}
