//! Commands that plug virtual CPUs in and out.

use serde::Serialize;

use crate::{Command, CpuPlace, Empty};

/// Plugs a virtual CPU into its slot ([`crate::QueryHotpluggableCpus`]).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlugCpu<'a> {
    /// The slot's type.
    pub driver: &'a str,
    /// The id it gets.
    pub id: &'a str,
    /// The slot's place.
    #[serde(flatten)]
    pub place: &'a CpuPlace,
}

impl Command for PlugCpu<'_> {
    const NAME: &'static str = "device_add";
    type Reply = Empty;
}

/// Asks the guest to let go of a virtual CPU. `DEVICE_DELETED` says that it did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UnplugCpu<'a> {
    /// Its id.
    pub id: &'a str,
}

impl Command for UnplugCpu<'_> {
    const NAME: &'static str = "device_del";
    type Reply = Empty;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_a_machine_lacks_are_not_sent() {
        let place = CpuPlace { socket_id: Some(1), core_id: Some(0), ..CpuPlace::default() };
        let sent = serde_json::to_value(PlugCpu { driver: "x-cpu", id: "vcpu1", place: &place }).unwrap();
        assert_eq!(sent, serde_json::json!({"driver": "x-cpu", "id": "vcpu1", "socket-id": 1, "core-id": 0}));
    }
}
