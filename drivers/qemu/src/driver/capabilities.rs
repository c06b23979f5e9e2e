//! What guests can have with a QEMU of this host: what the binary says, the firmware that is installed, and whether KVM runs guests.

use std::sync::Arc;

use polyvirt_core::{DomainCapabilities, DomainCaps, DomainCapsQuery, Error, ErrorKind, Result, async_trait};

use super::{Qemu, abilities, default_name, unusable};
use crate::{kvm::Verdict, probe::Binary};

/// Any guest: KVM is told to run CPUs as they are.
const HOST_CPU: &str = "host";

#[async_trait]
impl DomainCapabilities for Qemu {
    async fn capabilities(&self, query: &DomainCapsQuery) -> Result<DomainCaps> {
        let binary = self.asked_for(query).await?;
        let binary = match query.virttype.as_deref() {
            Some("kvm") | None => match self.kvm(&binary, HOST_CPU).await {
                Verdict::Usable => Arc::new(self.with_kvm(&binary).await?),
                Verdict::Unusable { reason, remedy } if query.virttype.is_some() => {
                    let message = format!("KVM cannot be used: {reason}");
                    return Err(Error::new(ErrorKind::Unsupported, message).hint(remedy));
                }
                Verdict::Unusable { .. } => binary,
            },
            Some(_) => binary,
        };
        let firmware = self.firmware().await?;
        let around = abilities::Around { settings: &self.config, firmware: &firmware, host_cpu: None };
        abilities::domain(&binary, query, &around)
    }
}

impl Qemu {
    /// The emulator of a query: its own, the settings', or the one of its architecture.
    async fn asked_for(&self, query: &DomainCapsQuery) -> Result<Arc<Binary>> {
        let own = query.emulator.as_ref().map(|it| it.to_string_lossy().into_owned());
        let usual = || default_name(query.arch.as_deref().unwrap_or(std::env::consts::ARCH));
        let of_settings = || self.config.emulator.clone().filter(|_| query.arch.is_none());
        let path = self.find(&own.or_else(of_settings).unwrap_or_else(usual))?;
        let binary = self.probe(&path).await?;
        let arch = abilities::arch(&binary);
        match query.arch.as_deref() {
            Some(wanted) if wanted != arch && default_name(wanted) != default_name(arch) => {
                let message = format!("{} runs {arch} guests, not '{wanted}'", path.display());
                Err(Error::new(ErrorKind::InvalidArgument, message).hint("name another emulator or architecture"))
            }
            _ => Ok(binary),
        }
    }

    /// The binary with what it can do on KVM before what it emulates.
    async fn with_kvm(&self, binary: &Binary) -> Result<Binary> {
        let virtualised = self.cache.virtualised(&binary.path, self.run_as.credentials.as_ref()).await;
        let virtualised = virtualised.map_err(unusable)?;
        Ok(Binary { emulation: Some(binary.best.clone()), ..virtualised })
    }
}
