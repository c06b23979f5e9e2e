//! What QEMU has and the definition has not: put in by a process of ours that did not live to write it down.

use std::time::{Duration, Instant};

use polyvirt_qmp::{Command, Monitor, QmpError, QomList, QueryChardev, QueryJobs};
use serde::{Deserialize, Serialize};

use super::{Kind, Part, orders};
use crate::taps;

/// How long a guest may take to let go of what it was never meant to keep, before the rest waits for whoever looks next.
const LETTING_GO: Duration = Duration::from_secs(5);

/// Between two looks at what is still there.
const LOOK: Duration = Duration::from_millis(50);

/// Ids of vCPUs, which are plugged in and written down apart.
const VCPU: &str = "vcpu";

/// `query-named-block-nodes`, without what the nodes are based on.
#[derive(Serialize)]
struct QueryNodes {
    flat: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    #[serde(default)]
    node_name: String,
}

impl Command for QueryNodes {
    const NAME: &'static str = "query-named-block-nodes";
    type Reply = Vec<Node>;
}

/// `info network` of the monitor for people: no command of the other one names network backends.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct InfoNetwork {
    command_line: &'static str,
}

impl Command for InfoNetwork {
    const NAME: &'static str = "human-monitor-command";
    type Reply = String;
}

/// The ids of network backends that have the names we give; several queues are several lines.
fn netdevs(told: &str) -> Vec<String> {
    let names =
        told.lines().filter_map(|line| line.trim_start_matches([' ', '\\']).split_once(": index=").map(|it| it.0));
    let mut names: Vec<_> = names.filter(|it| it.starts_with("host")).map(str::to_owned).collect();
    names.dedup();
    names
}

/// The ids of all devices that QEMU has.
///
/// # Errors
/// What QEMU says.
pub(crate) async fn devices(monitor: &Monitor, within: Duration) -> Result<Vec<String>, QmpError> {
    let all = monitor.execute(&QomList { path: "/machine/peripheral" }, within).await?;
    Ok(all.into_iter().filter(|it| it.r#type.starts_with("child<")).map(|it| it.name).collect())
}

/// The names of all block nodes; `None` if they must not be asked for.
///
/// QEMU 7.2 crashes when it is asked while the filter of a `block-stream` that is over is still there, which is until the job is dismissed
/// (`bdrv_refresh_filename` looks for the filter's child, and there is none). Such a job may be over at any moment.
///
/// # Errors
/// What QEMU says.
pub(crate) async fn nodes(monitor: &Monitor, within: Duration) -> Result<Option<Vec<String>>, QmpError> {
    if monitor.execute(&QueryJobs {}, within).await?.iter().any(|it| it.kind == "stream") {
        return Ok(None);
    }
    let all = monitor.execute(&QueryNodes { flat: true }, within).await?;
    Ok(Some(all.into_iter().map(|it| it.node_name).collect()))
}

/// Takes out what is not among the parts of the definition; names it. What the guest does not let go of within some seconds stays
/// until somebody looks again.
///
/// # Errors
/// What QEMU says when it is asked what it has.
pub(crate) async fn strangers(monitor: &Monitor, parts: &[Part], within: Duration) -> Result<Vec<String>, QmpError> {
    let known = |kind: Kind, id: &str| parts.iter().any(|it| it.kind == kind && it.id == id);
    let mut found = Vec::new();
    for id in devices(monitor, within).await? {
        if !known(Kind::Device, &id) && !id.starts_with(VCPU) {
            orders::ask_for(monitor, &id).await.ok();
            found.push(id);
        }
    }
    // What the devices stand on can only go when they are gone.
    let until = Instant::now() + LETTING_GO;
    while Instant::now() < until && devices(monitor, within).await?.iter().any(|it| found.contains(it)) {
        tokio::time::sleep(LOOK).await;
    }
    let told = monitor.execute(&InfoNetwork { command_line: "info network" }, within).await?;
    let netdevs = netdevs(&told).into_iter().filter(|it| !known(Kind::Netdev, it));
    let chardevs = monitor.execute(&QueryChardev {}, within).await?.into_iter().map(|it| it.label);
    let chardevs = chardevs.filter(|it| it.starts_with("char") && it != "charmonitor" && !known(Kind::Chardev, it));
    let nodes = nodes(monitor, within).await?.unwrap_or_default();
    let mut nodes: Vec<_> =
        nodes.into_iter().filter(|it| it.starts_with("libvirt-") && !known(Kind::Node, it)).collect();
    // Formats stand on storage, and have the lower names.
    nodes.sort();
    let objects = monitor.execute(&QomList { path: "/objects" }, within).await?.into_iter().map(|it| it.name);
    let is_ours = |id: &String| ["obj", "mem", "tc-mem"].iter().any(|it| id.starts_with(it));
    // Of threads that touched memory the definition alone does not tell; they go with what they touched.
    let lost = |id: &String| is_ours(id) && !known(Kind::Object, id.strip_prefix("tc-").unwrap_or(id));
    let objects = objects.filter(lost).map(|id| (Kind::Object, id));
    let backends = netdevs.map(|id| (Kind::Netdev, id)).chain(objects);
    let backends = backends.chain(chardevs.map(|id| (Kind::Chardev, id)));
    let backends = backends.chain(nodes.into_iter().map(|id| (Kind::Node, id)));
    for (kind, id) in backends {
        let part = Part { kind, id, value: serde_json::Value::Null };
        if orders::remove(monitor, &part).await.is_ok() {
            found.push(part.id);
        }
    }
    if taps::forget(monitor, within).await? {
        found.push("descriptors of a tap".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_backends_are_read_with_and_without_a_card() {
        let told = "net0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:01\r\n \\ hostnet0: index=0,type=tap,fd=25\r\n\
                    net0: index=1,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:01\r\n \\ hostnet0: index=1,type=tap,fd=26\r\n\
                    hostua-x.1: index=0,type=user,net=10.0.2.0,restrict=off\r\nhub 0\r\n";
        assert_eq!(netdevs(told), ["hostnet0", "hostua-x.1"]);
    }
}
