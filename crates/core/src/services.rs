//! What a guest needs from its host and no driver should own: the consuming side.
//!
//! A service is a crate of its own that registers itself, as drivers do. Drivers hold no code for labels; they say in the
//! [`Manifest`] what a guest touches and who its process is, and the engine has the service see to it. Whatever a service does
//! for a guest carries its [`OwnerRef`], so that it is undone also by a process that did not do it.

use std::{fmt::Debug, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{GuestRef, Identity, Manifest, Result, Roots};

/// For whom a service does something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnerRef {
    /// The guest.
    pub guest: GuestRef,
    /// The status record of this run: without it, or on another boot, what was done for it is to be undone.
    pub record: PathBuf,
}

impl OwnerRef {
    /// An owner.
    #[must_use]
    pub fn new(guest: GuestRef, record: impl Into<PathBuf>) -> Self {
        Self { guest, record: record.into() }
    }
}

/// Who a guest's process is, as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessIdentity {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its other groups.
    pub groups: Vec<u32>,
}

impl ProcessIdentity {
    /// An identity.
    #[must_use]
    pub fn new(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        Self { uid, gid, groups }
    }
}

/// Gives guests the right to use what they touch, and takes it back.
#[async_trait]
pub trait Labels: Send + Sync + Debug {
    /// Security models that it carries out, as `<seclabel model=…>` names them.
    fn models(&self) -> &'static [&'static str];

    /// Makes everything in the manifest usable for the process that it names.
    ///
    /// *Behaviour*: every directory on the way to every file is looked at first; what the process could not use all the same is
    /// `Denied`, naming the directory or file, its mode, owner and access list, and the remedy. All or nothing; what the process may
    /// use already is left as it is. What several guests use is counted.
    async fn apply(&self, owner: &OwnerRef, items: &Manifest) -> Result<()>;

    /// Gives back what of these items was taken for this owner; the rest stays.
    ///
    /// *Behaviour*: as [`Labels::restore`].
    async fn release(&self, owner: &OwnerRef, items: &Manifest) -> Result<()>;

    /// Gives back what was taken for this owner.
    ///
    /// *Behaviour*: idempotent; nothing to do is no error. What another guest still uses stays. What somebody changed meanwhile is left
    /// alone. What was done for owners that are gone is undone too.
    async fn restore(&self, owner: &OwnerRef) -> Result<()>;
}

/// What a service gets when it is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceContext {
    /// Where the connection keeps its state.
    pub roots: Roots,
    /// Who calls.
    pub identity: Identity,
}

impl ServiceContext {
    /// A context.
    #[must_use]
    pub fn new(roots: Roots, identity: Identity) -> Self {
        Self { roots, identity }
    }
}

/// A service, opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Service {
    /// Labels.
    Labels(Arc<dyn Labels>),
}

/// What a service's crate registers.
#[derive(Debug)]
pub struct ServiceDescriptor {
    /// Name of the service, `security`.
    pub name: &'static str,
    /// One sentence about it.
    pub summary: &'static str,
    /// Opens it.
    pub open: fn(&ServiceContext) -> Result<Service>,
}

/// What [`register_service!`](crate::register_service) collects.
#[doc(hidden)]
#[derive(Debug)]
pub struct ServiceRegistration(pub &'static ServiceDescriptor);

inventory::collect!(ServiceRegistration);

/// Registers a service: `polyvirt_core::register_service!(DESCRIPTOR);` with a `static DESCRIPTOR: ServiceDescriptor`.
///
/// As with drivers, the program that wants it says `use my_service as _;`.
#[macro_export]
macro_rules! register_service {
    ($descriptor:path) => {
        $crate::__inventory::submit! { $crate::ServiceRegistration(&$descriptor) }
    };
}
