//! Arguments of the commands that change a guest's devices.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::AffectArgs;

/// Which side of a guest a change of its devices is for.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DeviceAffect {
    /// The running guest
    #[arg(long)]
    pub(crate) live: bool,
    /// The stored definition
    #[arg(long)]
    pub(crate) config: bool,
    /// The running guest if it runs, else the stored definition (default)
    #[arg(long, conflicts_with_all = ["live", "config"])]
    pub(crate) current: bool,
    /// The stored definition, and the running guest if it runs
    #[arg(long, conflicts_with_all = ["live", "current"])]
    pub(crate) persistent: bool,
}

/// `attach-device`, `detach-device`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt attach-device guest disk.xml                the running guest, if it runs
  polyvirt attach-device guest disk.xml --persistent   and its stored definition
  polyvirt detach-device guest disk.xml

A disk is told by its <target>, a network card by its <mac>, a controller by type and index, others by all that FILE says.
A running guest is asked for a device and may keep it for a while; `polyvirt event` tells when it is gone.")]
pub(crate) struct DeviceArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// XML of the device
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) affect: DeviceAffect,
}

/// `update-device`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt update-device guest cdrom.xml          another image in the drive with this <target>
  polyvirt update-device guest card.xml --live    put the cable in or pull it out: <link state='down'/>

Of a running guest, media of drives, cables and bridges of network cards and passwords of displays can be changed.")]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Open a drive that the guest has locked
    #[arg(long)]
    pub(crate) force: bool,
}

/// `update-memory-device`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt update-memory-device guest --requested-size 2GiB
  polyvirt update-memory-device guest --alias virtiomem0 --requested-size 0

The guest takes or gives back in its own time; `polyvirt event` tells how much it uses, and so does <current> in `polyvirt dumpxml`.")]
pub(crate) struct UpdateMemoryArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// The device's name, as in <alias name=…>
    #[arg(long, value_name = "NAME", conflicts_with = "node")]
    pub(crate) alias: Option<String>,
    /// The device of this guest cell
    #[arg(long, value_name = "CELL")]
    pub(crate) node: Option<u32>,
    /// How much the guest is asked to use; KiB without a unit
    #[arg(long, value_name = "SIZE")]
    pub(crate) requested_size: Option<String>,
    /// Print the XML instead of changing
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `detach-device-alias`.
#[derive(Args, Debug)]
#[command(after_help = "Example: polyvirt detach-device-alias guest virtio-disk1 --live")]
pub(crate) struct AliasArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// The device's name, as in <alias name=…>
    pub(crate) alias: String,
    #[command(flatten)]
    pub(crate) affect: DeviceAffect,
}

/// What a disk is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DiskType {
    /// A disk
    Disk,
    /// A drive for discs
    Cdrom,
    /// A drive for floppies
    Floppy,
    /// A unit of the host that is handed through
    Lun,
}

/// Where a disk is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SourceType {
    /// A file
    File,
    /// A block device
    Block,
    /// A volume of a server
    Network,
}

/// `attach-disk`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt attach-disk guest /images/data.qcow2 vdb --subdriver qcow2
  polyvirt attach-disk guest /dev/vg/data vdc --cache none --persistent
  polyvirt attach-disk guest install.iso sda --type cdrom --mode readonly --config
  polyvirt attach-disk guest export vdd --sourcetype network --source-protocol nbd --source-host-name store:10809")]
pub(crate) struct AttachDiskArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// File or block device; empty for an empty drive
    pub(crate) source: String,
    /// What the disk is called: vdb, sda
    pub(crate) target: String,
    /// The bus; follows from the target's name if absent
    #[arg(long, value_name = "BUS")]
    pub(crate) targetbus: Option<String>,
    /// The hypervisor's driver, qemu
    #[arg(long, value_name = "NAME")]
    pub(crate) driver: Option<String>,
    /// The format of the image, raw if absent
    #[arg(long, value_name = "FORMAT")]
    pub(crate) subdriver: Option<String>,
    /// The I/O thread that serves it
    #[arg(long, value_name = "N")]
    pub(crate) iothread: Option<u32>,
    /// Cache mode
    #[arg(long, value_name = "MODE")]
    pub(crate) cache: Option<String>,
    /// How the host reads and writes
    #[arg(long, value_name = "POLICY")]
    pub(crate) io: Option<String>,
    /// What it is
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(crate) kind: Option<DiskType>,
    /// readonly or shareable
    #[arg(long, value_name = "MODE", value_parser = ["readonly", "shareable"])]
    pub(crate) mode: Option<String>,
    /// What the source is; follows from the source if absent
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) sourcetype: Option<SourceType>,
    /// How a server's volume is reached: nbd, iscsi, rbd, https, …
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) source_protocol: Option<String>,
    /// The server, with :PORT if need be
    #[arg(long, value_name = "HOST")]
    pub(crate) source_host_name: Option<String>,
    /// How the server is spoken to: tcp, unix, rdma
    #[arg(long, value_name = "TRANSPORT")]
    pub(crate) source_host_transport: Option<String>,
    /// The server's socket
    #[arg(long, value_name = "PATH")]
    pub(crate) source_host_socket: Option<String>,
    /// Where the guest sees it: pci:0000.00.05.0, scsi:0.0.3, ide:0.0.1, usb:0.2
    #[arg(long, value_name = "PLACE")]
    pub(crate) address: Option<String>,
    /// Other functions of the same PCI slot may follow
    #[arg(long, requires = "address")]
    pub(crate) multifunction: bool,
    /// The guest may send any command to the unit
    #[arg(long)]
    pub(crate) rawio: bool,
    /// Serial number
    #[arg(long, value_name = "TEXT")]
    pub(crate) serial: Option<String>,
    /// World wide name
    #[arg(long, value_name = "WWN")]
    pub(crate) wwn: Option<String>,
    /// A name of your own, ua-…
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Option<String>,
    /// Print the XML instead of attaching
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) affect: DeviceAffect,
}

/// `detach-disk`.
#[derive(Args, Debug)]
#[command(after_help = "Example: polyvirt detach-disk guest vdb --persistent")]
pub(crate) struct DetachDiskArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// What the disk is called, or its file
    pub(crate) target: String,
    /// Print the XML instead of detaching
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) affect: DeviceAffect,
}

/// `attach-interface`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt attach-interface guest bridge br0 --model virtio
  polyvirt attach-interface guest user --live
  polyvirt attach-interface guest ethernet --target tap7 --mac 52:54:00:12:34:56")]
pub(crate) struct AttachInterfaceArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// bridge, ethernet, direct, user, …
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// The bridge or the host's device
    pub(crate) source: Option<String>,
    /// Name of the tap
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// MAC address; drawn if absent
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac: Option<String>,
    /// The card's model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// A program that prepares the tap
    #[arg(long, value_name = "PATH")]
    pub(crate) script: Option<String>,
    /// A device of the host that is handed over is taken from its driver, and given back
    #[arg(long)]
    pub(crate) managed: bool,
    /// A name of your own, ua-…
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Option<String>,
    /// Limits what the guest receives: average[,peak[,burst]] in KiB a second
    #[arg(long, value_name = "RATE")]
    pub(crate) inbound: Option<String>,
    /// Limits what it sends, likewise
    #[arg(long, value_name = "RATE")]
    pub(crate) outbound: Option<String>,
    /// How a direct card shares the host's device: vepa, bridge, private, passthrough
    #[arg(long, value_name = "MODE")]
    pub(crate) source_mode: Option<String>,
    /// Print the XML instead of attaching
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) affect: DeviceAffect,
}

/// `detach-interface`.
#[derive(Args, Debug)]
#[command(after_help = "Example: polyvirt detach-interface guest bridge --mac 52:54:00:12:34:56")]
pub(crate) struct DetachInterfaceArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// bridge, ethernet, direct, user, …
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// Which, if there are several of the type
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac: Option<String>,
    /// Print the XML instead of detaching
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) affect: DeviceAffect,
}

/// `change-media`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt change-media guest sda --eject
  polyvirt change-media guest sda /images/disc2.iso
  polyvirt change-media guest sda /images/disc2.iso --force     whatever the guest does with it")]
pub(crate) struct ChangeMediaArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// What the drive is called, or what is in it
    pub(crate) path: String,
    /// The medium
    pub(crate) source: Option<String>,
    /// Take the medium out
    #[arg(long, conflicts_with_all = ["source", "insert", "update"])]
    pub(crate) eject: bool,
    /// Only into an empty drive
    #[arg(long, requires = "source", conflicts_with = "update")]
    pub(crate) insert: bool,
    /// Only in place of another medium
    #[arg(long, requires = "source")]
    pub(crate) update: bool,
    /// Open a drive that the guest has locked
    #[arg(long)]
    pub(crate) force: bool,
    /// The medium is a block device
    #[arg(long)]
    pub(crate) block: bool,
    /// Print the XML instead of changing
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) affect: DeviceAffect,
}
