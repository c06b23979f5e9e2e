//! A host to place guests on, simulated too: try a definition's placement on four nodes with a laptop that has one.

use polyvirt_core::{
    Error, ErrorKind, Result, TopologySource, async_trait,
    placement::{HostTopology, Kib},
};

use crate::config::MockSettings;

const MOST_CPUS: u32 = 1 << 16;
const HINT: &str = "change nodes, cpus_per_node or memory_per_node";

/// Nodes that are all alike, at the usual distances. What guests are promised is in the ledger; nothing uses memory.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedHost(HostTopology);

impl SimulatedHost {
    /// The host of the settings, if they have one.
    ///
    /// # Errors
    /// `InvalidArgument` for one that cannot be.
    pub(crate) fn of(settings: &MockSettings) -> Result<Option<Self>> {
        if settings.nodes == 0 {
            return Ok(None);
        }
        let cpus = settings.nodes.checked_mul(settings.cpus_per_node).filter(|all| *all <= MOST_CPUS);
        if cpus.is_none() {
            let message = format!("a simulated host has at most {MOST_CPUS} CPUs in all its nodes");
            return Err(Error::new(ErrorKind::InvalidArgument, message).hint(HINT));
        }
        let memory = Kib(settings.memory_per_node.saturating_mul(1024));
        let built = HostTopology::uniform(settings.nodes, settings.cpus_per_node, memory).build();
        built.map(|host| Some(Self(host))).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, format!("the settings of the mock driver make no host: {error}"))
                .hint(HINT)
                .source(error)
        })
    }
}

#[async_trait]
impl TopologySource for SimulatedHost {
    async fn topology(&self) -> Result<HostTopology> {
        Ok(self.0.clone())
    }
}
