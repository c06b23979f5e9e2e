//! `numa topology`: the host.

use super::{Done, devices::devices, promises, show, sitting};
use crate::{
    args::Topology,
    commands::host::{host_of, unreadable},
    output::Output,
    picture::host::{Facts, Sitting, picture},
    session::Session,
};

pub(super) async fn topology(args: &Topology, session: &mut Session, out: &mut Output) -> Done {
    let (host, _) = host_of(&args.tree(), session).await?;
    let topology = match &args.sysroot {
        Some(_) => host.topology().map_err(unreadable)?,
        None => session.connection().await?.topology().await?,
    };
    let devices = devices(host.root());
    let (promised, guests) = match &args.sysroot {
        Some(_) => Default::default(),
        None => {
            let connection = session.connection().await?;
            let promised = promises(&connection, out).await.promised;
            let guests = sitting(&connection, &promised).await?;
            (promised, guests)
        }
    };
    let facts = Facts { topology: &topology, promised: &promised, guests: &guests, devices: &devices, left: args.free };
    let picture = picture("The host's NUMA nodes", facts);
    let mut json = serde_json::json!({
        "topology": topology, "promised": promised, "devices": devices,
        "guests": guests.iter().map(guest).collect::<Vec<_>>(),
    });
    if args.free {
        let left = topology.nodes().iter().map(|node| {
            let pools = node.pools.iter().map(|pool| (pool.size.to_string(), promised.pages_left(node, pool.size)));
            serde_json::json!({
                "node": node.id, "memory_kib": promised.memory_left(node),
                "pages": pools.collect::<std::collections::BTreeMap<_, _>>(),
            })
        });
        json["left"] = left.collect();
    }
    show(&picture, &json, &args.drawing, out)
}

/// A guest as JSON.
pub(super) fn guest(guest: &Sitting) -> serde_json::Value {
    let mut nodes: Vec<_> = guest.memory.iter().map(|(node, _, _)| *node).collect();
    nodes.dedup();
    let memory: Vec<_> = nodes.iter().map(|node| (*node, guest.on(*node))).collect();
    serde_json::json!({ "name": guest.name, "cpus": guest.cpus.to_string(), "memory": memory })
}
