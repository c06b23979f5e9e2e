//! The command line. Names, short options and meanings are virsh's where virsh has the command.

mod agent;
mod block_jobs;
mod capabilities;
mod cpu;
mod describe;
mod devices;
mod domxml;
mod firmware;
mod guest;
mod hands;
mod host;
mod import;
mod io_threads;
mod links;
mod memory;
mod numa;
mod shares;
mod snapshots;
mod state;
mod statistics;
mod values;
mod vcpus;
mod xml;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

#[cfg(feature = "simulate")]
pub(crate) use self::numa::{Simulate, SimulatedCpus};
pub(crate) use self::{
    agent::AgentCommand,
    block_jobs::{
        BlockCommand, BlockjobArgs, CommitArgs, CopyArgs, PullArgs, ResizeArgs, SpeedArgs, ThresholdArgs, WaitArgs,
    },
    capabilities::{CapabilitiesArgs, DomcapabilitiesArgs, QemuCapsArgs},
    cpu::{CpuCommand, CpuRole},
    describe::{DescArgs, DisplayArgs, LifecycleArgs, MetadataArgs, RenameArgs, Stopping},
    devices::{
        AliasArgs, AttachDiskArgs, AttachInterfaceArgs, ChangeMediaArgs, DetachDiskArgs, DetachInterfaceArgs,
        DeviceAffect, DeviceArgs, DiskType, SourceType, UpdateArgs, UpdateMemoryArgs,
    },
    domxml::{
        DefinitionForm, DefinitionOptions, DescribedHost, DomxmlCommand, DriverName, EmbeddedOptions, Setting,
        ToNativeArgs,
    },
    firmware::{FirmwareCommand, FirmwareList},
    guest::{AffectArgs, List, ShutdownMode, SleepArgs, SleepTo, Start, Which},
    hands::{ScreenshotArgs, SendKeyArgs},
    host::{Allocpages, ConfigCommand, Freepages, HostCommand, HostTree},
    import::ImportArgs,
    io_threads::{IothreadArgs, IothreadpinArgs, IothreadsArgs, IothreadsetArgs},
    links::{BlkdeviotuneArgs, GetlinkArgs, IftuneArgs, LinkState, SetlinkArgs},
    memory::{MemtuneArgs, SizeArgs},
    numa::{Drawing, DriftArgs, Explain, NumaCommand, PlanArgs, RebalanceArgs, Topology},
    shares::{BlkiotuneArgs, SchedinfoArgs},
    snapshots::{
        DiskSpec, HowArgs, OneSnapshot, SnapshotCommand, SnapshotCreateArgs, SnapshotCreateAsArgs, SnapshotDeleteArgs,
        SnapshotEditArgs, SnapshotListArgs, SnapshotRevertArgs,
    },
    state::{
        DumpArgs, JobInfoArgs, ManagedDefineArgs, ManagedDumpArgs, ManagedEditArgs, ManagedSaveArgs, RestoreArgs,
        SaveArgs, SavedDefineArgs, SavedDumpArgs, SavedEditArgs,
    },
    statistics::{
        CpuStatsArgs, DirtyrateArgs, DomblkinfoArgs, DomblklistArgs, DomblkstatArgs, DomiflistArgs, DomifstatArgs,
        DommemstatArgs, DomstatsArgs, ListArgs,
    },
    values::{CpusetCommand, UriCommand},
    vcpus::{SetvcpuArgs, SetvcpusArgs, VcpucountArgs},
    xml::{XmlCommand, XmlOptions},
};

/// One model of a guest, many hypervisors.
#[derive(Debug, Parser)]
#[command(name = "polyvirt", version, about, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Examples:
  polyvirt define guest.xml            store a definition
  polyvirt explain guest.xml           what a start would do, and why there
  polyvirt start guest --console       start it and look at its console
  polyvirt list --all
  polyvirt -c mock:///default list     another hypervisor

Arguments may be named, as virsh takes them: polyvirt attach-disk --target vdb --source /a.img --domain guest

Exit status: 0 done; 1 refused or failed, the reason is the first line on stderr; 2 wrong usage.
Settings: /etc/polyvirt/polyvirt.toml and ~/.config/polyvirt/polyvirt.toml; `polyvirt config show` says where each value came from.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Hypervisor to connect to: qemu:///system, qemu:///session, qemu:///embed?root=DIR, mock:///default
    #[arg(short, long, value_name = "URI", global = true)]
    pub(crate) connect: Option<String>,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No messages about success, no warnings
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// More messages on stderr; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Colours
    #[arg(long, value_enum, default_value_t, global = true, hide_possible_values = false)]
    pub(crate) color: ColorChoice,
    /// A settings file to read after the others
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) settings: Option<PathBuf>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store a definition from an XML file, without starting it
    #[command(after_help = "Example: polyvirt define guest.xml")]
    Define {
        /// Domain XML
        file: PathBuf,
    },
    /// Take over guests from a directory of libvirt's definitions
    Import(ImportArgs),
    /// Start a transient guest from an XML file
    #[command(after_help = "Example: polyvirt create guest.xml --paused")]
    Create {
        /// Domain XML
        file: PathBuf,
        /// Leave its CPUs stopped
        #[arg(long)]
        paused: bool,
        /// Attach to its console
        #[arg(long)]
        console: bool,
    },
    /// Start a defined guest
    Start(Start),
    /// Ask a guest to power off
    Shutdown {
        #[command(flatten)]
        which: Which,
        /// How to ask; of several the first that works: agent,acpi
        #[arg(long, value_enum, value_delimiter = ',')]
        mode: Vec<ShutdownMode>,
    },
    /// Ask a guest to boot again
    Reboot {
        #[command(flatten)]
        which: Which,
        /// How to ask; of several the first that works: agent,acpi
        #[arg(long, value_enum, value_delimiter = ',')]
        mode: Vec<ShutdownMode>,
    },
    /// Press a guest's reset button
    Reset(Which),
    /// End a guest at once, as pulling the plug does
    Destroy {
        #[command(flatten)]
        which: Which,
        /// Never kill it: fail if it does not end by itself in half a minute
        #[arg(long)]
        graceful: bool,
    },
    /// Stop a guest's CPUs
    Suspend(Which),
    /// Continue a guest's CPUs
    Resume(Which),
    /// Write a guest into a file and end it; `restore` continues it from there
    Save(SaveArgs),
    /// Continue a guest from the file that `save` made
    Restore(RestoreArgs),
    /// Print the definition in the file of a saved guest
    SaveImageDumpxml(SavedDumpArgs),
    /// Replace the definition in the file of a saved guest
    SaveImageDefine(SavedDefineArgs),
    /// Edit the definition in the file of a saved guest in $VISUAL or $EDITOR
    SaveImageEdit(SavedEditArgs),
    /// Write a guest into a file of its own and end it; the next start continues it from there
    Managedsave(ManagedSaveArgs),
    /// Drop a guest's managed save; the next start boots it
    #[command(after_help = "Example: polyvirt managedsave-remove guest")]
    ManagedsaveRemove(Which),
    /// Print the definition in a guest's managed save
    ManagedsaveDumpxml(ManagedDumpArgs),
    /// Replace the definition in a guest's managed save
    ManagedsaveDefine(ManagedDefineArgs),
    /// Edit the definition in a guest's managed save in $VISUAL or $EDITOR
    ManagedsaveEdit(ManagedEditArgs),
    /// Write a guest's memory into a file, for debuggers
    Dump(DumpArgs),
    /// Have a guest's own system send it to sleep
    Dompmsuspend(SleepArgs),
    /// Wake a guest that sleeps
    #[command(after_help = "Example: polyvirt dompmwakeup guest")]
    Dompmwakeup(Which),
    /// How far the job of a guest is, or how the last one ended
    Domjobinfo(JobInfoArgs),
    /// End the job of a guest, whichever process does it
    #[command(after_help = "Example: polyvirt domjobabort guest")]
    Domjobabort(Which),
    /// Remove a definition; a running guest goes on
    Undefine {
        #[command(flatten)]
        which: Which,
        /// Drop its managed save, too
        #[arg(long)]
        managed_save: bool,
        /// Forget its snapshots, too; the images keep what they have
        #[arg(long)]
        snapshots_metadata: bool,
    },
    /// Put a device into a guest
    AttachDevice(DeviceArgs),
    /// Take a device out of a guest
    DetachDevice(DeviceArgs),
    /// Take the device of that name out of a guest
    DetachDeviceAlias(AliasArgs),
    /// Change a device of a guest, such as the image in a drive
    UpdateDevice(UpdateArgs),
    /// Ask a guest to use more or less of a memory device
    UpdateMemoryDevice(UpdateMemoryArgs),
    /// Put a disk into a guest
    AttachDisk(AttachDiskArgs),
    /// Take a disk out of a guest
    DetachDisk(DetachDiskArgs),
    /// Change what is in a drive
    ChangeMedia(ChangeMediaArgs),
    /// Put a network card into a guest
    AttachInterface(AttachInterfaceArgs),
    /// Take a network card out of a guest
    DetachInterface(DetachInterfaceArgs),
    /// List guests
    List(List),
    /// Facts about a guest
    Dominfo(Which),
    /// What a guest is doing
    Domstate {
        #[command(flatten)]
        which: Which,
        /// Say why, too
        #[arg(long)]
        reason: bool,
    },
    /// A guest's number
    Domid(Which),
    /// A guest's UUID
    Domuuid(Which),
    /// A guest's name
    Domname(Which),
    /// A guest's definition as XML
    Dumpxml {
        #[command(flatten)]
        which: Which,
        /// The stored definition, also of a running guest
        #[arg(long)]
        inactive: bool,
        /// With its secrets, such as passwords of displays
        #[arg(long)]
        security_info: bool,
    },
    /// Show or change a guest's title or description
    Desc(DescArgs),
    /// Show or change what an application keeps with a guest
    Metadata(MetadataArgs),
    /// Change what happens when a guest powers off, reboots or panics
    SetLifecycleAction(LifecycleArgs),
    /// Give a guest that does not run another name
    Domrename(RenameArgs),
    /// Where a guest's screen can be seen, as a URI
    Domdisplay(DisplayArgs),
    /// Where a guest's screen can be seen with VNC: address and number of the display
    #[command(after_help = "Example: polyvirt vncdisplay guest")]
    Vncdisplay(Which),
    /// The pseudo-terminal of a guest's console
    #[command(after_help = "Example: polyvirt ttyconsole guest")]
    Ttyconsole(Which),
    /// Whether a guest can be told something: ok, occupied by a job, or why not
    #[command(after_help = "Example: polyvirt domcontrol guest")]
    Domcontrol(Which),
    /// Edit a stored definition in $VISUAL or $EDITOR
    Edit(Which),
    /// Attach to a console; ends with Ctrl+]
    Console {
        #[command(flatten)]
        which: Which,
        /// Which one: serial0, serial1, console0
        #[arg(long, value_name = "NAME")]
        devname: Option<String>,
    },
    /// Take a picture of a guest's screen
    Screenshot(ScreenshotArgs),
    /// Press keys on a guest's keyboard
    SendKey(SendKeyArgs),
    /// Send a guest an interrupt that it cannot mask
    #[command(after_help = "Example: polyvirt inject-nmi guest")]
    InjectNmi(Which),
    /// Mark a guest to start with the host
    Autostart {
        #[command(flatten)]
        which: Which,
        /// Remove the mark
        #[arg(long)]
        disable: bool,
    },
    /// Show or change where a guest's memory comes from
    #[command(after_help = "Examples:
  polyvirt numatune guest
  polyvirt numatune guest --mode strict --nodeset 0-1 --config")]
    Numatune {
        #[command(flatten)]
        which: Which,
        /// strict, preferred, interleave or restrictive; or 0 to 3
        #[arg(long)]
        mode: Option<String>,
        /// Host nodes, 0-2,^1
        #[arg(long, value_name = "SET")]
        nodeset: Option<String>,
        #[command(flatten)]
        affect: AffectArgs,
    },
    /// Show or change where a guest's vCPUs run
    #[command(after_help = "Examples:
  polyvirt vcpupin guest
  polyvirt vcpupin guest 0 2-3 --live --config")]
    Vcpupin {
        #[command(flatten)]
        which: Which,
        /// vCPU
        #[arg(long = "vcpu", value_name = "N", conflicts_with = "vcpu_number")]
        vcpu: Option<u32>,
        /// Host CPUs, 0-2,^1; r: all
        #[arg(long = "cpulist", value_name = "SET", conflicts_with = "cpulist_words")]
        cpulist: Option<String>,
        /// vCPU
        #[arg(value_name = "VCPU")]
        vcpu_number: Option<u32>,
        /// Host CPUs, 0-2,^1; r: all
        #[arg(value_name = "CPULIST")]
        cpulist_words: Option<String>,
        #[command(flatten)]
        affect: AffectArgs,
    },
    /// Show or change where a guest's emulator threads run
    Emulatorpin {
        #[command(flatten)]
        which: Which,
        /// Host CPUs, 0-2,^1; r: all
        #[arg(long = "cpulist", value_name = "SET", conflicts_with = "cpulist_words")]
        cpulist: Option<String>,
        /// Host CPUs, 0-2,^1; r: all
        #[arg(value_name = "CPULIST")]
        cpulist_words: Option<String>,
        #[command(flatten)]
        affect: AffectArgs,
    },
    /// What a guest's vCPUs do, and where
    Vcpuinfo(Which),
    /// Numbers of guests: what they used, what they moved, what they have
    Domstats(DomstatsArgs),
    /// What a guest read from its disks and wrote to them
    Domblkstat(DomblkstatArgs),
    /// What went through a guest's network card
    Domifstat(DomifstatArgs),
    /// A guest's memory, and how often the guest is asked for it
    Dommemstat(DommemstatArgs),
    /// CPU time of a guest's process
    CpuStats(CpuStatsArgs),
    /// Begin to measure how fast a guest writes its memory
    DomdirtyrateCalc(DirtyrateArgs),
    /// A guest's disks
    Domblklist(DomblklistArgs),
    /// How large a guest's disks are
    Domblkinfo(DomblkinfoArgs),
    /// A guest's disks that are in error
    #[command(after_help = "Example: polyvirt domblkerror guest")]
    Domblkerror(Which),
    #[command(flatten)]
    Block(BlockCommand),
    /// A guest's network cards
    Domiflist(DomiflistArgs),
    /// Change how much of its memory a guest uses
    Setmem(SizeArgs),
    /// Change how much memory a guest has, from its next start on
    Setmaxmem(SizeArgs),
    /// Show or change what a guest's process may use of the host's memory
    Memtune(MemtuneArgs),
    /// Show or change what a guest may use of the host's CPU time
    Schedinfo(SchedinfoArgs),
    /// Show or change a guest's weight and limits at the host's block devices
    Blkiotune(BlkiotuneArgs),
    /// A guest's I/O threads and where they run
    Iothreadinfo(IothreadsArgs),
    /// Add an I/O thread to a guest
    Iothreadadd(IothreadArgs),
    /// Remove an I/O thread from a guest
    Iothreaddel(IothreadArgs),
    /// Change how an I/O thread works
    Iothreadset(IothreadsetArgs),
    /// Change where an I/O thread runs
    Iothreadpin(IothreadpinArgs),
    /// Show or change limits of a disk
    Blkdeviotune(Box<BlkdeviotuneArgs>),
    /// Show the limits of a network card
    Domiftune(IftuneArgs),
    /// Put a network card's cable in or pull it out
    #[command(name = "domif-setlink")]
    DomifSetlink(SetlinkArgs),
    /// Whether a network card's cable is in
    #[command(name = "domif-getlink")]
    DomifGetlink(GetlinkArgs),
    /// Change how many vCPUs a guest has
    Setvcpus(SetvcpusArgs),
    /// Plug single vCPUs in or take them out
    Setvcpu(SetvcpuArgs),
    /// How many vCPUs a guest has and can have
    Vcpucount(VcpucountArgs),
    #[command(flatten)]
    Snapshot(SnapshotCommand),
    #[command(flatten)]
    Agent(AgentCommand),
    /// What the host and its hypervisor can do, as XML
    #[command(after_help = "Examples:
  polyvirt capabilities
  polyvirt capabilities --sysroot /mnt/other-host --arch aarch64
  polyvirt capabilities --driver qemu --arch s390x --capabilities qemu.replies")]
    Capabilities(CapabilitiesArgs),
    /// What a QEMU of which the answers to a probe were recorded is and has, as JSON
    #[command(after_help = "Example: polyvirt qemu-caps --arch x86_64 --replies qemu-10.replies")]
    QemuCaps(QemuCapsArgs),
    /// What guests can have: CPUs, devices, features, as XML
    #[command(after_help = "Examples:
  polyvirt domcapabilities --machine q35      with this host's hypervisor
  polyvirt domcapabilities --driver qemu --arch x86_64 --machine q35 --capabilities qemu.replies")]
    Domcapabilities(DomcapabilitiesArgs),
    /// Firmware that guests can boot
    #[command(subcommand)]
    Firmware(FirmwareCommand),
    /// The host's processors and memory
    #[command(alias = "node-info")]
    Nodeinfo(HostTree),
    /// How the host's CPUs spent their time since the boot, in clock ticks
    #[command(alias = "node-cpu-stats")]
    Nodecpustats {
        /// Of this CPU
        #[arg(long, value_name = "CPU")]
        cpu: Option<u32>,
        #[command(flatten)]
        tree: HostTree,
    },
    /// Free huge pages, of all nodes or of one
    #[command(after_help = "Example: polyvirt freepages --cellno 0 --pagesize 2048")]
    Freepages(Freepages),
    /// Change the number of huge pages of the host
    #[command(after_help = "Examples:\n  polyvirt allocpages 2048 64 --cellno 1\n  polyvirt allocpages 2048 16 --add")]
    Allocpages(Allocpages),
    /// Free memory, of all nodes or of one
    Freecell {
        /// Of this node
        #[arg(long, value_name = "NODE")]
        cellno: Option<u32>,
        /// Of every node
        #[arg(long)]
        all: bool,
    },
    /// The URI that is used, or the parts of one
    Uri {
        #[command(subcommand)]
        command: Option<UriCommand>,
    },
    /// Tell events of guests as they come
    #[command(after_help = "Example: polyvirt event --loop --timestamp")]
    Event {
        /// Only of this guest
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
        /// Go on after the first
        #[arg(long = "loop")]
        repeat: bool,
        /// End after so many seconds without an event
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// Say when
        #[arg(long)]
        timestamp: bool,
        /// Begin with what happened before
        #[arg(long)]
        history: bool,
    },
    /// What a start would do and why: definition, placement, command line, warnings; nothing is started
    #[command(after_help = "Examples:
  polyvirt explain guest.xml
  polyvirt explain guest --json")]
    Explain(Explain),
    /// The host's NUMA nodes and guests, drawn; without a subcommand its topology
    #[command(after_help = "Examples:
  polyvirt numa
  polyvirt numa plan guest.xml --svg plan.svg
  polyvirt numa drift

Boxes, bars and colours on a terminal or with --color always, plain text otherwise; --json for programs.")]
    Numa {
        #[command(subcommand)]
        command: Option<NumaCommand>,
    },
    /// Work on domain XML without a host
    Domxml {
        #[command(subcommand)]
        command: DomxmlCommand,
    },
    /// Work on other XML than guests' without a host
    Xml {
        #[command(subcommand)]
        command: XmlCommand,
    },
    /// CPU models, without a host: what a host has, what a guest gets, what several hosts have in common
    Cpu {
        #[command(subcommand)]
        command: CpuCommand,
    },
    /// Algebra on CPU and node sets
    #[command(after_help = "Examples:
  polyvirt cpuset union 0-3 8
  polyvirt cpuset canonical 0-10,^7")]
    Cpuset {
        #[command(subcommand)]
        command: CpusetCommand,
    },
    /// Run commands from stdin, one JSON object a line: {\"id\": 1, \"argv\": [\"uri\", \"parse\", …]}
    Batch,
    /// The host
    Host {
        #[command(subcommand)]
        command: HostCommand,
    },
    /// Settings
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// The drivers in this program and whether they work here
    Drivers,
    /// Print a completion script
    #[command(after_help = "Example: polyvirt completion bash > /etc/bash_completion.d/polyvirt")]
    Completion {
        /// The shell
        shell: Shell,
    },
}
