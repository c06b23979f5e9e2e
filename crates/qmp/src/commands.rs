//! The commands that polyvirt uses, as QEMU's QMP reference manual describes them.
//!
//! Replies list the members in use; QEMU may send more. Members that newer versions brought are optional.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Command, QemuVersion};

/// The reply `{}` of a command that returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Empty {}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident = $wire:literal -> $reply:ty;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Serialize)]
        pub struct $name {}

        impl Command for $name {
            const NAME: &'static str = $wire;
            type Reply = $reply;
        }
    )* };
}

plain! {
    /// Ends the negotiation that follows the greeting. The monitor sends it by itself.
    QmpCapabilities = "qmp_capabilities" -> Empty;
    /// What state the guest is in.
    QueryStatus = "query-status" -> Status;
    /// Which QEMU this is.
    QueryVersion = "query-version" -> QemuVersion;
    /// What architecture it emulates.
    QueryTarget = "query-target" -> Target;
    /// The guest's UUID; all zeroes if it was given none.
    QueryUuid = "query-uuid" -> Uuid;
    /// The machine types it knows.
    QueryMachines = "query-machines" -> Vec<Machine>;
    /// The CPU models it knows.
    QueryCpuDefinitions = "query-cpu-definitions" -> Vec<CpuDefinition>;
    /// Whether KVM is in use.
    QueryKvm = "query-kvm" -> Kvm;
    /// The virtual CPUs and their threads. Does not disturb the guest.
    QueryCpusFast = "query-cpus-fast" -> Vec<Cpu>;
    /// Slots for virtual CPUs, filled or not.
    QueryHotpluggableCpus = "query-hotpluggable-cpus" -> Vec<CpuSlot>;
    /// The commands it knows.
    QueryCommands = "query-commands" -> Vec<CommandInfo>;
    /// The schema of all commands and events, as it comes: some thousand entities, about 0.3 MiB.
    QueryQmpSchema = "query-qmp-schema" -> Vec<Value>;
    /// The I/O threads.
    QueryIoThreads = "query-iothreads" -> Vec<IoThread>;
    /// The character devices.
    QueryChardev = "query-chardev" -> Vec<Chardev>;
    /// The memory backends and what they were told.
    QueryMemdev = "query-memdev" -> Vec<Memdev>;
    /// How much memory the balloon leaves the guest.
    QueryBalloon = "query-balloon" -> BalloonInfo;
    /// The block devices that a guest sees, and what is in them.
    QueryBlock = "query-block" -> Vec<BlockDevice>;
    /// Stops the virtual CPUs.
    Stop = "stop" -> Empty;
    /// Lets the virtual CPUs run.
    Cont = "cont" -> Empty;
    /// Presses the power button.
    SystemPowerdown = "system_powerdown" -> Empty;
    /// Presses the reset button.
    SystemReset = "system_reset" -> Empty;
    /// Sends an NMI: to all virtual CPUs where the machine is a PC, to the monitor's own elsewhere.
    InjectNmi = "inject-nmi" -> Empty;
    /// Ends QEMU.
    Quit = "quit" -> Empty;
}

/// Reply to [`QueryStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether the virtual CPUs run.
    pub running: bool,
    /// Why, or why not.
    pub status: RunState,
}

/// State of a guest (`RunState`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunState {
    /// Stopped by a debugger.
    Debug,
    /// Waiting for an incoming migration.
    Inmigrate,
    /// QEMU or KVM failed; the guest cannot go on.
    InternalError,
    /// Stopped by an I/O error of a disk.
    IoError,
    /// Stopped on request.
    Paused,
    /// Stopped because it migrated away.
    Postmigrate,
    /// Not yet started.
    Prelaunch,
    /// Stopped for the last part of a migration.
    FinishMigrate,
    /// Loading a snapshot.
    RestoreVm,
    /// Running.
    Running,
    /// Saving a snapshot.
    SaveVm,
    /// Shut down, but QEMU was told to stay.
    Shutdown,
    /// Asleep (ACPI S3).
    Suspended,
    /// Stopped by a watchdog.
    Watchdog,
    /// The guest's kernel panicked.
    GuestPanicked,
    /// Stopped for COLO.
    Colo,
    /// One that this crate does not know.
    #[serde(untagged)]
    Other(String),
}

/// Reply to [`QueryTarget`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Target {
    /// QEMU's name of the architecture, such as `x86_64`.
    pub arch: String,
}

/// Reply to [`QueryUuid`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Uuid {
    /// With hyphens, lower case.
    #[serde(rename = "UUID")]
    pub uuid: String,
}

/// One machine type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Machine {
    /// Its name, such as `pc-q35-7.2`.
    pub name: String,
    /// A name that stands for the newest of its kind, such as `q35`.
    pub alias: Option<String>,
    /// Whether it is what `-machine` without a type means.
    #[serde(default)]
    pub is_default: bool,
    /// Most virtual CPUs it takes.
    pub cpu_max: u32,
    /// Whether virtual CPUs can be plugged.
    pub hotpluggable_cpus: bool,
    /// Whether `-numa node,mem=` still works.
    #[serde(default)]
    pub numa_mem_supported: bool,
    /// Whether it will go away.
    #[serde(default)]
    pub deprecated: bool,
    /// QOM type of its default CPU.
    pub default_cpu_type: Option<String>,
    /// Id of its RAM backend, such as `pc.ram`. Since QEMU 5.2.
    pub default_ram_id: Option<String>,
}

/// One CPU model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CpuDefinition {
    /// Its name.
    pub name: String,
    /// Its QOM type.
    pub typename: String,
    /// Whether a guest with it can migrate safely; unknown for some architectures.
    pub migration_safe: Option<bool>,
    /// Whether it means the same in every QEMU and machine type.
    pub r#static: bool,
    /// Whether it will go away.
    #[serde(default)]
    pub deprecated: bool,
    /// The versioned model for which it stands with the current machine type.
    pub alias_of: Option<String>,
    /// Features it has and this host lacks, under the accelerator in use; empty if it can be run.
    pub unavailable_features: Option<Vec<String>>,
}

/// Reply to [`QueryKvm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Kvm {
    /// Whether this guest runs on it.
    pub enabled: bool,
    /// Whether this QEMU was built with it.
    pub present: bool,
}

/// Where a virtual CPU sits. Members that a machine does not have are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CpuPlace {
    /// Guest NUMA cell.
    pub node_id: Option<i64>,
    /// Socket.
    pub socket_id: Option<i64>,
    /// Die.
    pub die_id: Option<i64>,
    /// Cluster.
    pub cluster_id: Option<i64>,
    /// Core.
    pub core_id: Option<i64>,
    /// Hardware thread.
    pub thread_id: Option<i64>,
}

/// One virtual CPU.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Cpu {
    /// Its number.
    pub cpu_index: u32,
    /// The host's thread that runs it. With single-threaded TCG all have the same.
    pub thread_id: u32,
    /// Its object.
    pub qom_path: String,
    /// Where it sits.
    #[serde(default)]
    pub props: CpuPlace,
}

/// A slot for virtual CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CpuSlot {
    /// QOM type to plug.
    pub r#type: String,
    /// How many virtual CPUs one such device brings.
    pub vcpus_count: u32,
    /// Where it is.
    pub props: CpuPlace,
    /// Its object, if it is filled.
    pub qom_path: Option<String>,
}

/// A command that this QEMU knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct CommandInfo {
    /// Its name.
    pub name: String,
}

/// One I/O thread.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct IoThread {
    /// Its object's id.
    pub id: String,
    /// The host's thread.
    pub thread_id: u32,
    /// Nanoseconds that it polls at most; 0: it does not. Since QEMU 2.9.
    #[serde(default)]
    pub poll_max_ns: u64,
    /// By what that grows; 0: as QEMU likes.
    #[serde(default)]
    pub poll_grow: u64,
    /// By what it shrinks, likewise.
    #[serde(default)]
    pub poll_shrink: u64,
}

/// One character device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Chardev {
    /// Its id.
    pub label: String,
    /// What is behind it, as text: `pty:/dev/pts/3`.
    pub filename: String,
    /// Whether the guest has it open.
    pub frontend_open: bool,
}

/// One memory backend.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Memdev {
    /// Its object's id.
    pub id: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Whether all of it is touched at start.
    pub prealloc: bool,
    /// Whether it is shared with other processes. Since QEMU 6.1.
    pub share: Option<bool>,
    /// The host nodes of its policy.
    pub host_nodes: Vec<u32>,
    /// Its policy: `default`, `preferred`, `bind` or `interleave`.
    pub policy: String,
}

/// One block device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct BlockDevice {
    /// Id of the device, or the path of its object.
    pub qdev: Option<String>,
    /// What is in it.
    pub inserted: Option<BlockNode>,
    /// `ok`, `failed` or `nospace`.
    #[serde(rename = "io-status")]
    pub io_status: Option<String>,
}

/// What a block device shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BlockNode {
    /// Its name.
    pub node_name: Option<String>,
    /// Its image.
    pub image: Option<BlockImage>,
    /// A write beyond this byte is told; 0: none is.
    #[serde(default, rename = "write_threshold")]
    pub write_threshold: u64,
}

/// The image of a block node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BlockImage {
    /// Bytes that the guest sees.
    pub virtual_size: u64,
    /// Bytes that it takes on the host.
    pub actual_size: Option<u64>,
}

/// Reply to [`QueryBalloon`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct BalloonInfo {
    /// Bytes the guest has.
    pub actual: u64,
}

/// Asks the guest, through its balloon, to make do with this many bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Balloon {
    /// Bytes it shall have.
    pub value: u64,
}

impl Command for Balloon {
    const NAME: &'static str = "balloon";
    type Reply = Empty;
}

/// What QEMU does by itself on the guest's events; what is `None` stays. Since QEMU 6.0.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SetAction<'a> {
    /// When the guest resets: `reset` or `shutdown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reboot: Option<&'static str>,
    /// When the guest powers off: `poweroff` or `pause`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<&'static str>,
    /// When the guest panics: `none`, `pause`, `shutdown` or `exit-failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic: Option<&'static str>,
    /// When a watchdog fires: `reset`, `shutdown`, `poweroff`, `pause`, `debug`, `none` or `inject-nmi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<&'a str>,
}

impl Command for SetAction<'_> {
    const NAME: &'static str = "set-action";
    type Reply = Empty;
}

/// Writes a picture of a screen to a file.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Screendump<'a> {
    /// The file, as QEMU sees it.
    pub filename: &'a str,
    /// Id of a video card; the first screen if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<&'a str>,
    /// Which head of that card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u32>,
    /// `png`; PPM if there is none. Since QEMU 7.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
}

impl Command for Screendump<'_> {
    const NAME: &'static str = "screendump";
    type Reply = Empty;
}

/// A key by its number (`KeyValue`): code of set 1, bit 7 for the prefix `e0`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
pub enum KeyValue {
    /// By number.
    Number(u8),
}

/// Presses keys in order and lets them go.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SendKey {
    /// The keys.
    pub keys: Vec<KeyValue>,
    /// Milliseconds that they are held; 100 if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<u64>,
}

impl Command for SendKey {
    const NAME: &'static str = "send-key";
    type Reply = Empty;
}

/// Puts the cable of a network card in or pulls it out; the guest's driver sees it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetLink<'a> {
    /// The card's id, or that of what it is connected to.
    pub name: &'a str,
    /// Whether the cable is in.
    pub up: bool,
}

impl Command for SetLink<'_> {
    const NAME: &'static str = "set_link";
    type Reply = Empty;
}

/// The properties of an object.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QomList<'a> {
    /// Absolute path, or a partial one that is unambiguous.
    pub path: &'a str,
}

/// A property of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct QomProperty {
    /// Its name.
    pub name: String,
    /// Its type; `child<…>` and `link<…>` lead to other objects.
    pub r#type: String,
}

impl Command for QomList<'_> {
    const NAME: &'static str = "qom-list";
    type Reply = Vec<QomProperty>;
}

/// A property's value.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QomGet<'a> {
    /// The object.
    pub path: &'a str,
    /// The property.
    pub property: &'a str,
}

impl Command for QomGet<'_> {
    const NAME: &'static str = "qom-get";
    type Reply = Value;
}

/// The types of objects that implement another.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QomListTypes<'a> {
    /// The type they implement, such as `device`.
    pub implements: &'a str,
}

/// A type of object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct QomType {
    /// Its name.
    pub name: String,
}

impl Command for QomListTypes<'_> {
    const NAME: &'static str = "qom-list-types";
    type Reply = Vec<QomType>;
}

/// Makes an object. The properties stand beside type and id, as since QEMU 6.0.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ObjectAdd<'a> {
    /// Its type.
    pub qom_type: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Its properties.
    #[serde(flatten)]
    pub properties: &'a Map<String, Value>,
}

impl Command for ObjectAdd<'_> {
    const NAME: &'static str = "object-add";
    type Reply = Empty;
}

/// Removes an object.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ObjectDel<'a> {
    /// Its id.
    pub id: &'a str,
}

impl Command for ObjectDel<'_> {
    const NAME: &'static str = "object-del";
    type Reply = Empty;
}
