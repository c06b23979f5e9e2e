//! How far memory is in nanoseconds and how much passes, as the firmware tells it (ACPI HMAT).
//!
//! Source: Documentation/admin-guide/mm/numaperf.rst.

use serde::{Deserialize, Serialize};

use crate::{Host, HostError};

/// What one node sees of another one's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interconnect {
    /// The node with the CPUs.
    pub initiator: u32,
    /// The node with the memory.
    pub target: u32,
    /// Nanoseconds until a read is answered.
    pub read_latency: Option<u64>,
    /// Nanoseconds until a write is answered.
    pub write_latency: Option<u64>,
    /// Reads per second in MiB.
    pub read_bandwidth: Option<u64>,
    /// Writes per second in MiB.
    pub write_bandwidth: Option<u64>,
}

/// For each pair that the kernel has figures for, by initiator and target. The kernel tells those of the nearest initiators.
pub(crate) fn read(host: &Host) -> Result<Vec<Interconnect>, HostError> {
    let mut found = Vec::new();
    for target in host.numbered("sys/devices/system/node", "node")? {
        // Class 1 is of CPUs alone; class 0 may be of a device that initiates too.
        for class in [1, 0] {
            let dir = format!("sys/devices/system/node/node{target}/access{class}/initiators");
            let natural = |file: &str| host.natural(&format!("{dir}/{file}"));
            let initiators = host.numbered(&dir, "node")?;
            for initiator in &initiators {
                found.push(Interconnect {
                    initiator: *initiator,
                    target,
                    read_latency: natural("read_latency")?,
                    write_latency: natural("write_latency")?,
                    read_bandwidth: natural("read_bandwidth")?,
                    write_bandwidth: natural("write_bandwidth")?,
                });
            }
            if !initiators.is_empty() {
                break;
            }
        }
    }
    found.sort_by_key(|it| (it.initiator, it.target));
    Ok(found)
}
