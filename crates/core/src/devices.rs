//! Devices of a guest that runs: put in, taken out, changed.
//!
//! The engine makes the definition that is to be (`after`) from the one that is (`before`), by the same completion and checks as for
//! a definition that is stored. A driver does what lies between the two.

use std::time::Duration;

use async_trait::async_trait;
use polyvirt_numa_placement::Plan;

use crate::{LiveConfig, LiveEffect, Result};

/// A change of the devices of a running guest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeviceChange {
    /// The definition as it is.
    pub before: LiveConfig,
    /// As it is to be.
    pub after: LiveConfig,
    /// Where the guest's parts go, with what the change brings.
    pub plan: Option<Plan>,
}

impl DeviceChange {
    /// A change.
    #[must_use]
    pub fn new(before: LiveConfig, after: LiveConfig, plan: Option<Plan>) -> Self {
        Self { before, after, plan }
    }
}

/// Putting devices in.
#[async_trait]
pub trait DeviceAttach: Send + Sync {
    /// Writes into a definition what new devices are known by as long as the guest runs, their names, say, and what they consist of
    /// that only the host knows: the images that a new disk's image is based on.
    ///
    /// *Behaviour*: changes nothing but the definition; what has a name keeps it, and nothing new gets one that is in use in `before`.
    async fn resolve(&self, before: &LiveConfig, after: &mut LiveConfig) -> Result<()>;

    /// Puts in what `after` has and `before` has not.
    ///
    /// *Behaviour*: all or nothing; what cannot be put into a running guest is `Unsupported` before anything is done. A device is in
    /// when this returns; whether the guest uses it is the guest's affair.
    async fn attach(&self, change: &DeviceChange) -> Result<Vec<LiveEffect>>;
}

/// What became of a device that was to be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detached {
    /// It is gone.
    Gone,
    /// The guest was asked and has not let go yet. When it does, [`crate::Signal::DeviceRemoved`] tells; until then the device stays.
    Requested,
}

/// Taking devices out.
#[async_trait]
pub trait DeviceDetach: Send + Sync {
    /// Takes out what `before` has and `after` has not.
    ///
    /// *Behaviour*: asks the guest where its help is needed, and waits for it no longer than `within`. A guest that refuses is
    /// `InvalidState`; then, and with [`Detached::Requested`], the device stays and works. What served a device that is gone is gone.
    async fn detach(&self, change: &DeviceChange, within: Duration) -> Result<Detached>;
}

/// Changing devices in their places.
#[async_trait]
pub trait DeviceUpdate: Send + Sync {
    /// Changes what is different between `before` and `after`: a medium, a cable.
    ///
    /// *Behaviour*: what cannot be changed while the guest runs is `Unsupported`, naming it, before anything is done. With `force`, a
    /// drive that the guest has locked is opened all the same.
    async fn update(&self, change: &DeviceChange, force: bool) -> Result<Vec<LiveEffect>>;
}
