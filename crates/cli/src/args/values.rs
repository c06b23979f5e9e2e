//! Arguments of commands that work on single values: `uri` and `cpuset`.

use clap::Subcommand;

/// `uri …`
#[derive(Debug, Subcommand)]
pub(crate) enum UriCommand {
    /// The parts of a URI
    Parse {
        /// The URI
        uri: String,
    },
}

/// `cpuset …`
#[derive(Debug, Subcommand)]
pub(crate) enum CpusetCommand {
    /// What both have
    Intersect {
        /// A set, 0-2,^1
        a: String,
        /// A set
        b: String,
    },
    /// What only the first has
    Subtract {
        /// A set, 0-2,^1
        a: String,
        /// A set
        b: String,
    },
    /// What either has
    Union {
        /// A set, 0-2,^1
        a: String,
        /// A set
        b: String,
    },
    /// The one way to write a set
    Canonical {
        /// Refuse numbers from this on
        #[arg(long, value_name = "N")]
        size: Option<u32>,
        /// A set, 0-2,^1
        set: String,
    },
}
