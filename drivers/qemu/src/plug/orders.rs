//! The commands that put parts in and take them out, one after the other.

use std::time::Duration;

use polyvirt_qmp::{Command, Empty, Monitor, QmpError};
use serde::Serialize;
use serde_json::Value;

use super::{Kind, Part};

/// How long one of them may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Bytes that are touched in a second at the slowest.
const TOUCHED_IN_A_SECOND: u64 = 64 << 20;

macro_rules! orders {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal { $($field:tt)* };)*) => {$(
        $(#[doc = $doc])+
        #[derive(Serialize)]
        struct $name<'a> { $($field)* }

        impl Command for $name<'_> {
            const NAME: &'static str = $wire;
            type Reply = Empty;
        }
    )*};
}

orders! {
    /// Adds an object.
    ObjectAdd = "object-add" { #[serde(flatten)] value: &'a Value };
    /// Removes one.
    ObjectDel = "object-del" { id: &'a str };
    /// Opens a block node.
    BlockdevAdd = "blockdev-add" { #[serde(flatten)] value: &'a Value };
    /// Closes one that nothing uses.
    BlockdevDel = "blockdev-del" { #[serde(rename = "node-name")] id: &'a str };
    /// Adds the host's end of a network card.
    NetdevAdd = "netdev_add" { #[serde(flatten)] value: &'a Value };
    /// Removes one.
    NetdevDel = "netdev_del" { id: &'a str };
    /// Adds a device.
    DeviceAdd = "device_add" { #[serde(flatten)] value: &'a Value };
    /// Asks the guest to let a device go, or takes it out where it need not be asked.
    DeviceDel = "device_del" { id: &'a str };
    /// Removes a character device.
    ChardevRemove = "chardev-remove" { id: &'a str };
}

/// Adds a character device; the reply names a pseudo-terminal.
#[derive(Serialize)]
struct ChardevAdd<'a> {
    #[serde(flatten)]
    value: &'a Value,
}

impl Command for ChardevAdd<'_> {
    const NAME: &'static str = "chardev-add";
    type Reply = Value;
}

/// What went wrong, and what is still there all the same.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) error: QmpError,
    /// The part that QEMU refused.
    pub(crate) part: String,
    /// What was put in before and could not be taken out again.
    pub(crate) left: Vec<String>,
}

/// What QEMU says of a name that it has, and the definition had not.
const TAKEN: &str = "Duplicate ID";

/// Puts parts in, in order; all or nothing. A device that went in before another was refused may stay: taking it out needs the
/// guest, and [`Trouble::left`] names it.
pub(crate) async fn put_in(monitor: &Monitor, parts: &[Part]) -> Result<(), Box<Trouble>> {
    for (at, part) in parts.iter().enumerate() {
        if let Err(error) = add(monitor, part).await {
            let done = parts.get(..at).unwrap_or_default();
            let left = take_out(monitor, done).await;
            return Err(Box::new(Trouble { error, part: part.id.clone(), left }));
        }
    }
    Ok(())
}

async fn add(monitor: &Monitor, part: &Part) -> Result<(), QmpError> {
    let value = &part.value;
    match part.kind {
        Kind::Object => monitor.execute(&ObjectAdd { value }, touching(value)).await.map(drop),
        Kind::Node => monitor.execute(&BlockdevAdd { value }, ANSWER).await.map(drop),
        Kind::Chardev => monitor.execute(&ChardevAdd { value }, ANSWER).await.map(drop),
        Kind::Netdev => match monitor.execute(&NetdevAdd { value }, ANSWER).await {
            // Left by a process of ours that died; QEMU does not list them.
            Err(QmpError::Refused { description, .. }) if description.contains(TAKEN) => {
                remove(monitor, part).await?;
                monitor.execute(&NetdevAdd { value }, ANSWER).await.map(drop)
            }
            done => done.map(drop),
        },
        Kind::Device => monitor.execute(&DeviceAdd { value }, ANSWER).await.map(drop),
    }
}

/// Memory that is touched before the guest gets it takes as long as that takes.
fn touching(value: &Value) -> Duration {
    let touched = value["size"].as_u64().filter(|_| value["prealloc"] == true).unwrap_or(0);
    ANSWER.saturating_add(Duration::from_secs(touched / TOUCHED_IN_A_SECOND))
}

/// Threads that touched memory are known by its name (`command::backend`); what they are depends on the plan, that they are does not.
pub(crate) fn with_threads(parts: &mut Vec<Part>) {
    let memories = parts.iter().filter(|it| it.kind == Kind::Object && it.id.starts_with("mem"));
    let threads = memories.map(|it| Part { id: format!("tc-{}", it.id), ..it.clone() });
    let mut threads: Vec<_> = threads.collect();
    // What they served goes first.
    threads.append(parts);
    *parts = threads;
}

/// Takes parts out, last first, as far as QEMU lets them go; names what stays. Devices are only asked for.
pub(crate) async fn take_out(monitor: &Monitor, parts: &[Part]) -> Vec<String> {
    let mut left = Vec::new();
    for part in parts.iter().rev() {
        if let Err(error) = remove(monitor, part).await {
            // Threads that touch memory there are only where the plan says so.
            if !part.id.starts_with("tc-") {
                tracing::warn!(part = part.id, %error, "QEMU keeps a part of a device that is gone");
                left.push(part.id.clone());
            }
        }
    }
    left
}

pub(super) async fn remove(monitor: &Monitor, part: &Part) -> Result<(), QmpError> {
    let id = part.id.as_str();
    match part.kind {
        Kind::Object => monitor.execute(&ObjectDel { id }, ANSWER).await.map(drop),
        Kind::Node => monitor.execute(&BlockdevDel { id }, ANSWER).await.map(drop),
        Kind::Chardev => monitor.execute(&ChardevRemove { id }, ANSWER).await.map(drop),
        Kind::Netdev => monitor.execute(&NetdevDel { id }, ANSWER).await.map(drop),
        Kind::Device => monitor.execute(&DeviceDel { id }, ANSWER).await.map(drop),
    }
}

/// Asks for a device.
///
/// # Errors
/// What QEMU says: there is none, it cannot be unplugged, or it was asked for already.
pub(crate) async fn ask_for(monitor: &Monitor, id: &str) -> Result<(), QmpError> {
    monitor.execute(&DeviceDel { id }, ANSWER).await.map(drop)
}
