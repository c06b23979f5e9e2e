//! What is recorded of a guest, so that a later process finds it again.

use std::path::PathBuf;

use polyvirt_core::{DriverRecord, Error, ErrorKind, Result};
use polyvirt_lease::Owner;
use polyvirt_process::ProcessId;
use serde::{Deserialize, Serialize};

use crate::companions::Recorded;

/// Version of the data; a reader refuses what is newer.
const VERSION: u32 = 1;

/// The facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) process: ProcessId,
    /// The same process as the ledger knows it, with the boot it belongs to.
    pub(crate) owner: Owner,
    pub(crate) uuid: String,
    pub(crate) monitor: PathBuf,
    pub(crate) log: PathBuf,
    /// Where in the log this run begins.
    pub(crate) log_begins: u64,
    /// What serves its devices.
    #[serde(default)]
    pub(crate) companions: Vec<Recorded>,
    /// Whether QEMU has answered; before that a start is unfinished.
    pub(crate) answered: bool,
}

impl Record {
    pub(crate) fn write(&self) -> Result<DriverRecord> {
        let data = serde_json::to_value(self)
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot encode the status record").source(error))?;
        Ok(DriverRecord::new(crate::NAME, VERSION, data))
    }

    /// Reads one of this version or an older one.
    ///
    /// # Errors
    /// `Unsupported` for a newer one, `Storage` for one that is damaged.
    pub(crate) fn read(record: &DriverRecord) -> Result<Self> {
        if record.version > VERSION {
            let problem =
                format!("the status record is of version {}, this driver reads up to {VERSION}", record.version);
            return Err(Error::new(ErrorKind::Unsupported, problem).hint("use the newer polyvirt that wrote it"));
        }
        Self::deserialize(&record.data)
            .map_err(|error| Error::new(ErrorKind::Storage, format!("the status record is damaged: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_newer_ones_are_refused() {
        let record = Record {
            process: ProcessId::current().unwrap(),
            owner: Owner::this_process().unwrap(),
            uuid: "u".into(),
            monitor: "/m".into(),
            log: "/l".into(),
            log_begins: 7,
            companions: Vec::new(),
            answered: true,
        };
        let mut written = record.write().unwrap();
        assert_eq!(Record::read(&written).unwrap(), record);
        written.version += 1;
        assert_eq!(Record::read(&written).unwrap_err().kind(), ErrorKind::Unsupported);
        let damaged = DriverRecord::new(crate::NAME, 1, serde_json::json!({"process": 3}));
        assert_eq!(Record::read(&damaged).unwrap_err().kind(), ErrorKind::Storage);
    }
}
