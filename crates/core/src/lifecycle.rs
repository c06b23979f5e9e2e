//! What happens when a guest stops, reboots or panics.

use async_trait::async_trait;
use polyvirt_model::DomainConfig;

use crate::Result;

/// Changing what the hypervisor does by itself when a guest powers off, reboots or panics.
#[async_trait]
pub trait LifecycleActions: Send + Sync {
    /// Puts the actions of a definition in place of those that there are: the live definition as it is to be, of which only
    /// `<on_poweroff>`, `<on_reboot>` and `<on_crash>` differ.
    ///
    /// *Behaviour*: what waits for a process that attends ([`crate::AttendedAction`]) is not the hypervisor's, and needs nothing here.
    async fn set(&self, config: &DomainConfig) -> Result<()>;
}
