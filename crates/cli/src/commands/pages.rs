//! Huge pages of the host: how many are free, and how many there shall be.

use polyvirt::{
    Error, ErrorKind, HostError, PoolSize,
    placement::{HostNode, Kib},
};

use super::Done;
use crate::{
    args::{Allocpages, Freepages},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn freepages(wanted: &Freepages, session: &mut Session, out: &mut Output) -> Done {
    let topology = session.connection().await?.host().topology().map_err(super::host::unreadable)?;
    let base = topology.base_page();
    let mut nodes = Vec::new();
    for node in topology.nodes().iter().filter(|node| wanted.cellno.is_none_or(|id| node.id.0 == id)) {
        // Memory that nobody uses is free in small pages.
        let small = (base.0, node.free.0.checked_div(base.0).unwrap_or(0));
        let pools = node.pools.iter().map(|pool| (pool.size.0, pool.free));
        let free = [small].into_iter().chain(pools);
        nodes.push((
            node.id.0,
            free.filter(|(size, _)| wanted.pagesize.is_none_or(|it| it == *size)).collect::<Vec<_>>(),
        ));
    }
    if nodes.is_empty() {
        let known: Vec<_> = topology.nodes().iter().map(|n| n.id.0.to_string()).collect();
        return Err(Failure::argument(format!("there is no such node; the host has {}", known.join(", "))));
    }
    if let Some(size) = wanted.pagesize.filter(|_| nodes.iter().all(|(_, free)| free.is_empty())) {
        return Err(Failure::argument(format!("the host has no pages of {size} KiB; see `polyvirt freepages`")));
    }
    if out.json {
        let list: Vec<_> = nodes
            .iter()
            .map(|(node, free)| {
                let pages: Vec<_> =
                    free.iter().map(|(size, count)| serde_json::json!({ "size_kib": size, "free": count })).collect();
                serde_json::json!({ "node": node, "pages": pages })
            })
            .collect();
        out.json(&list);
        return Ok(());
    }
    for (node, free) in nodes {
        out.line(&format!("Node {node}:"));
        for (size, count) in free {
            out.line(&format!("{:<10}{count}", format!("{size}KiB:")));
        }
    }
    Ok(())
}

pub(super) async fn allocpages(wanted: &Allocpages, session: &mut Session, out: &mut Output) -> Done {
    let host = session.connection().await?.host().clone();
    let pools: Vec<Option<HostNode>> = match wanted.cellno {
        Some(node) => vec![Some(HostNode(node))],
        None if wanted.all => {
            host.topology().map_err(super::host::unreadable)?.nodes().iter().map(|node| Some(node.id)).collect()
        }
        None => vec![None],
    };
    let size = if wanted.add { PoolSize::More(wanted.pagecount) } else { PoolSize::Exactly(wanted.pagecount) };
    let mut done = Vec::new();
    for node in pools {
        let before = match (size, node) {
            (PoolSize::Exactly(count), _) => Some(count),
            _ => None,
        };
        let now = host.resize_pool(node, Kib(wanted.pagesize), size).map_err(refused)?;
        let pool = node.map_or_else(|| "the host".to_owned(), |node| format!("node {node}"));
        if before.is_some_and(|count| now < count) {
            out.warning(&format!("{pool} has {now} pages: the kernel found no memory for more in one piece"));
        }
        done.push((pool, now));
    }
    if out.json {
        let list: Vec<_> =
            done.iter().map(|(pool, pages)| serde_json::json!({ "pool": pool, "pages": pages })).collect();
        out.json(&list);
        return Ok(());
    }
    for (pool, pages) in done {
        out.line(&format!("{pool}: {pages} pages of {} KiB", wanted.pagesize));
    }
    Ok(())
}

fn refused(error: HostError) -> Failure {
    let (kind, hint) = match &error {
        HostError::Missing(_) => {
            (ErrorKind::InvalidArgument, "`polyvirt freepages` shows the sizes and nodes there are")
        }
        _ => (ErrorKind::Denied, "run as root, on a host whose /sys can be written"),
    };
    Failure::Error(Error::new(kind, format!("cannot resize the pool of huge pages: {error}")).hint(hint).source(error))
}
