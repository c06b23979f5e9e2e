//! What happened to guests, in order.
//!
//! A driver reports [`Signal`]s into the sink it is handed with the call, so that nothing is lost between spawn and subscribe.
//! The engine turns them into [`Event`]s with (epoch, sequence): the sequence has no holes within an epoch, and the epoch
//! changes with the process that numbers them.

use std::time::SystemTime;

use polyvirt_numa_placement::Kib;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{GuestRef, JobKind, Noticed, Stage, StateReason, VcpusNow};

/// Why a guest does not run any more; the words are libvirt's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StopReason {
    /// The guest powered itself off, or was asked to and did.
    Shutdown,
    /// Destroyed on request.
    Destroyed,
    /// The guest or its hypervisor crashed: the hypervisor's last words.
    Crashed(String),
    /// The start failed.
    Failed(String),
    /// It was written into a file, and can be continued from it.
    Saved,
    /// It was found gone; nobody was attached who could have seen why.
    Unknown,
}

impl StopReason {
    /// The reason in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Destroyed => "destroyed",
            Self::Crashed(_) => "crashed",
            Self::Failed(_) => "failed",
            Self::Saved => "saved",
            Self::Unknown => "unknown",
        }
    }
}

/// What a driver reports about a running guest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The guest's CPUs stopped; they can be resumed.
    Paused,
    /// The same, for a reason of which nobody asked for it.
    PausedBy(StateReason),
    /// The guest's CPUs run again.
    Resumed,
    /// The guest began to power off.
    ShutdownBegan,
    /// The guest was reset.
    Reset,
    /// The guest panicked and says so.
    Panicked(String),
    /// The guest sleeps; it can be woken.
    Asleep,
    /// The guest sleeps no more.
    Woken,
    /// A device is gone: the guest let go of it.
    DeviceRemoved(String),
    /// The guest does not let go of a device that it was asked for.
    DeviceRefused(String),
    /// The guest uses so much of a memory device now.
    MemoryDevice {
        /// Its alias.
        alias: String,
        /// How much.
        size: Kib,
    },
    /// Its vCPUs are others: the guest let go of one.
    Vcpus(VcpusNow),
    /// A block job of this id is over, or in step with the guest.
    BlockJob(String),
    /// Something that changes neither its state nor its devices.
    Noticed(Noticed),
    /// Nothing runs any more. The last signal of a guest.
    Stopped(StopReason),
}

/// The sink of one guest's signals.
#[derive(Clone, Debug)]
pub struct DomainEvents(mpsc::Sender<Signal>);

impl DomainEvents {
    /// A sink and its reading end; holds up to 64 signals before a sender waits.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Signal>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    /// Reports; waits while the reader is behind, and is lost if nobody reads any more.
    pub async fn send(&self, signal: Signal) {
        if self.0.send(signal).await.is_err() {
            tracing::debug!("a signal of a guest that nobody attends");
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum EventKind {
    /// A definition was stored.
    Defined {
        /// False for the first definition.
        updated: bool,
    },
    /// A definition was removed.
    Undefined,
    /// A start reached a stage.
    Starting {
        /// The stage.
        stage: Stage,
    },
    /// The guest runs.
    Started {
        /// True if its CPUs wait for `resume`.
        paused: bool,
    },
    /// The guest's CPUs stopped.
    Suspended,
    /// The guest's CPUs run again.
    Resumed,
    /// The guest began to power off.
    Shutdown,
    /// The guest went to sleep; its memory is kept.
    Asleep,
    /// The guest sleeps no more.
    Woken,
    /// The guest was reset.
    Rebooted,
    /// The guest panicked.
    Panicked {
        /// What it said.
        message: String,
    },
    /// Nothing of the guest runs any more.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// vCPU pins, the memory policy or other parameters were changed.
    Tuned,
    /// A definition got another name.
    Renamed {
        /// The one it had.
        from: String,
    },
    /// What is written about a running guest was changed.
    MetadataChanged {
        /// `title`, `description`, or the namespace of an application's element.
        part: String,
    },
    /// The guest has so many vCPUs now.
    VcpusChanged {
        /// How many.
        online: u32,
    },
    /// A device was put into a running guest.
    DeviceAdded {
        /// Its name.
        alias: String,
    },
    /// A device of a running guest was changed.
    DeviceUpdated {
        /// Its name.
        alias: String,
    },
    /// A device of a running guest is gone: the guest let go of it.
    DeviceRemoved {
        /// Its alias.
        alias: String,
    },
    /// The guest does not let go of a device that it was asked for.
    DeviceRefused {
        /// Its alias.
        alias: String,
    },
    /// A block job of a disk began, is in step with the guest, or is over.
    BlockJob {
        /// The target of the disk.
        disk: String,
        /// What it does.
        job: JobKind,
        /// `started`, `ready`, `completed`, `canceled` or `failed`.
        status: String,
    },
    /// The guest uses so much of a memory device (virtio-mem) now.
    MemoryDeviceSizeChange {
        /// Its alias.
        alias: String,
        /// How much.
        size: Kib,
    },
    /// Something that changes neither its state nor its devices; it has a name of its own.
    #[serde(untagged)]
    Noticed(Noticed),
}

impl From<Noticed> for EventKind {
    fn from(noticed: Noticed) -> Self {
        Self::Noticed(noticed)
    }
}

/// An event of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Identifies the process that numbered it.
    pub epoch: u64,
    /// Counts from 1 within the epoch, without holes.
    pub sequence: u64,
    /// When, by the host's clock.
    pub time: SystemTime,
    /// Which guest.
    pub guest: GuestRef,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// An event of now.
    #[must_use]
    pub fn new(epoch: u64, sequence: u64, guest: GuestRef, kind: EventKind) -> Self {
        Self { epoch, sequence, time: SystemTime::now(), guest, kind }
    }
}
