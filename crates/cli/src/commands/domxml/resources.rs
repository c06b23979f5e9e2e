//! `domxml resources`: what a guest needs of its host beyond memory and CPUs.

use polyvirt::{LockedMemory, model::Kib};

use super::{
    super::Done,
    normalize::{Defined, define},
};
use crate::{args::DefinitionOptions, failure::Failure, output::Output, session::Session};

pub(super) fn resources(options: &DefinitionOptions, session: &Session, out: &mut Output) -> Done {
    let Defined { config, driver } = define(options, session, out)?;
    let driver = driver.ok_or_else(|| Failure::Usage("name the driver with --driver".to_owned()))?;
    let needed = driver.resources(&config)?;
    let bytes = |kib: Kib| kib.0.saturating_mul(1024);
    if out.json {
        let limit = match needed.locked_memory {
            LockedMemory::None => 0.into(),
            LockedMemory::UpTo(kib) => bytes(kib).into(),
            _ => serde_json::Value::Null,
        };
        out.line(&serde_json::json!({ "memlock_limit_bytes": limit }).to_string());
        return Ok(());
    }
    out.line(&match needed.locked_memory {
        LockedMemory::None => "locked memory: none".to_owned(),
        LockedMemory::UpTo(kib) => format!("locked memory: {} MiB", kib.0.div_ceil(1024)),
        _ => "locked memory: unlimited".to_owned(),
    });
    Ok(())
}
