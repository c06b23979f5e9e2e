//! Arguments of the commands on disks' limits and network cards' cables.

use clap::{Args, ValueEnum};

use super::{AffectArgs, Which};

/// `domif-setlink`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt domif-setlink guest vnet0 down
  polyvirt domif-setlink guest 52:54:00:11:22:33 up --config")]
pub(crate) struct SetlinkArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The card: its device on the host, or its MAC address
    pub(crate) interface: String,
    /// Whether its cable is in
    #[arg(value_enum)]
    pub(crate) state: LinkState,
    /// The stored definition
    #[arg(long)]
    pub(crate) config: bool,
    /// Print the card's XML and change nothing
    #[arg(long)]
    pub(crate) print_xml: bool,
}

/// `domif-getlink`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt domif-getlink guest vnet0")]
pub(crate) struct GetlinkArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The card: its device on the host, or its MAC address
    pub(crate) interface: String,
    /// Of the stored definition
    #[arg(long)]
    pub(crate) config: bool,
}

/// `domiftune`.
#[derive(Debug, Args)]
#[command(after_help = "Limits of cards are not carried out yet, so they are shown and not changed.

Example: polyvirt domiftune guest vnet0")]
pub(crate) struct IftuneArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The card: its device on the host, or its MAC address
    pub(crate) interface: String,
    /// What the guest may receive: average,peak,burst,floor
    #[arg(long, value_name = "LIMITS")]
    pub(crate) inbound: Option<String>,
    /// What the guest may send: average,peak,burst
    #[arg(long, value_name = "LIMITS")]
    pub(crate) outbound: Option<String>,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// Whether a cable is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkState {
    /// In
    Up,
    /// Pulled out
    Down,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $long:literal;)*) => {
        /// `blkdeviotune`.
        #[derive(Debug, Args)]
        #[command(after_help = "Bytes are plain numbers or have a unit (10M); 0 lifts a limit. Without a limit they are shown.

Examples:
  polyvirt blkdeviotune guest vda
  polyvirt blkdeviotune guest vda --total-iops-sec 500 --total-bytes-sec 20M --live --config")]
        pub(crate) struct BlkdeviotuneArgs {
            #[command(flatten)]
            pub(crate) which: Which,
            /// The disk: its target (vda) or its source on the host
            pub(crate) device: String,
            $($(#[doc = $doc])+ #[arg(long = $long, value_name = "N")] pub(crate) $name: Option<String>,)*
            /// Disks of one group share its limits
            #[arg(long, value_name = "NAME")]
            pub(crate) group_name: Option<String>,
            #[command(flatten)]
            pub(crate) affect: AffectArgs,
        }

        impl BlkdeviotuneArgs {
            /// The numbers that were given, by their names in a definition.
            pub(crate) fn numbers(&self) -> Vec<(&'static str, &str)> {
                let all = [$((stringify!($name), self.$name.as_deref())),*];
                all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
            }
        }
    };
}

limits! {
    /// Bytes in a second
    total_bytes_sec: "total-bytes-sec";
    /// Bytes read in a second
    read_bytes_sec: "read-bytes-sec";
    /// Bytes written in a second
    write_bytes_sec: "write-bytes-sec";
    /// Operations in a second
    total_iops_sec: "total-iops-sec";
    /// Reads in a second
    read_iops_sec: "read-iops-sec";
    /// Writes in a second
    write_iops_sec: "write-iops-sec";
    /// Bytes in a second, for a burst
    total_bytes_sec_max: "total-bytes-sec-max";
    /// Bytes read in a second, for a burst
    read_bytes_sec_max: "read-bytes-sec-max";
    /// Bytes written in a second, for a burst
    write_bytes_sec_max: "write-bytes-sec-max";
    /// Operations in a second, for a burst
    total_iops_sec_max: "total-iops-sec-max";
    /// Reads in a second, for a burst
    read_iops_sec_max: "read-iops-sec-max";
    /// Writes in a second, for a burst
    write_iops_sec_max: "write-iops-sec-max";
    /// Bytes that count as one operation
    size_iops_sec: "size-iops-sec";
    /// Seconds that the burst of all bytes may last
    total_bytes_sec_max_length: "total-bytes-sec-max-length";
    /// Seconds that the burst of bytes read may last
    read_bytes_sec_max_length: "read-bytes-sec-max-length";
    /// Seconds that the burst of bytes written may last
    write_bytes_sec_max_length: "write-bytes-sec-max-length";
    /// Seconds that the burst of operations may last
    total_iops_sec_max_length: "total-iops-sec-max-length";
    /// Seconds that the burst of reads may last
    read_iops_sec_max_length: "read-iops-sec-max-length";
    /// Seconds that the burst of writes may last
    write_iops_sec_max_length: "write-iops-sec-max-length";
}
