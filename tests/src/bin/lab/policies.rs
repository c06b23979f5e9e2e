//! Policies that the definition names: the pages must follow them.

use polyvirt::{
    Affect,
    placement::{MemMode, NodeSet},
};

use crate::{
    bench::{Bench, Outcome, Started, TOUCHED, domain, ensure, explain},
    kernel::{self, Block},
};

/// Cells of sizes that nothing else in the process has, so that each mapping can be told.
const CELL_MIB: [u64; 4] = [44, 52, 60, 68];

fn four_cells(numatune: &str) -> String {
    let cells: Vec<_> = (0..4)
        .map(|cell| format!("<cell id='{cell}' cpus='{cell}' memory='{}' unit='MiB'/>", CELL_MIB[cell]))
        .collect();
    let more = format!("{TOUCHED}<numatune>{numatune}</numatune><cpu><numa>{}</numa></cpu>", cells.concat());
    domain("cells", "<vcpu>4</vcpu>", CELL_MIB.iter().sum(), &more)
}

/// Every page of `mib` MiB is there, on these nodes only.
pub(crate) async fn pages_on(guest: &Started, mib: u64, nodes: &str) -> Result<Block, String> {
    let block = kernel::block(guest.pid, mib).await?;
    let nodes: NodeSet = nodes.parse().map_err(|e| format!("{e}"))?;
    ensure!(block.total() == mib << 10, "{} KiB of {mib} MiB are there: {block:?}", block.total());
    ensure!(block.nodes().is_subset(&nodes), "{mib} MiB should be on {nodes}, but: {block:?}");
    println!("{mib} MiB: {} {:?}", block.policy, block.kib);
    Ok(block)
}

pub(crate) fn has_policy(block: &Block, policy: &str) -> Outcome {
    ensure!(block.policy == policy, "the policy should be {policy}: {block:?}");
    Ok(())
}

/// One cell is bound, nothing is said of the others.
pub(crate) async fn memnode_alone(bench: &Bench) -> Outcome {
    let guest = bench.start(&four_cells("<memnode cellid='1' mode='strict' nodeset='2'/>")).await?;
    has_policy(&pages_on(&guest, CELL_MIB[1], "2").await?, "bind:2")?;
    for cell in [0, 2, 3] {
        has_policy(&pages_on(&guest, CELL_MIB[cell], "0-3").await?, "default")?;
    }
    guest.end().await
}

/// Each cell follows its own policy, or the general one.
pub(crate) async fn memnode_among_others(bench: &Bench) -> Outcome {
    let numatune = "<memory mode='strict' nodeset='0,3'/>
        <memnode cellid='1' mode='strict' nodeset='2'/>
        <memnode cellid='2' mode='interleave' nodeset='1-2'/>
        <memnode cellid='3' mode='preferred' nodeset='1'/>";
    let guest = bench.start(&four_cells(numatune)).await?;
    has_policy(&pages_on(&guest, CELL_MIB[0], "0,3").await?, "bind:0,3")?;
    has_policy(&pages_on(&guest, CELL_MIB[1], "2").await?, "bind:2")?;
    let interleaved = pages_on(&guest, CELL_MIB[2], "1-2").await?;
    has_policy(&interleaved, "interleave:1-2")?;
    evenly(&interleaved)?;
    has_policy(&pages_on(&guest, CELL_MIB[3], "1").await?, "prefer:1")?;
    guest.end().await
}

/// Pages alternate, huge ones too: no node has two transparent huge pages (4 MiB) more than another.
pub(crate) fn evenly(block: &Block) -> Outcome {
    let (least, most) = (block.kib.values().min().unwrap_or(&0), block.kib.values().max().unwrap_or(&0));
    ensure!(block.nodes().len() > 1 && most - least <= 4 << 10, "pages are not spread evenly: {block:?}");
    Ok(())
}

async fn general(bench: &Bench, mode: &str, nodes: &str, mib: u64) -> Result<Started, String> {
    let more = format!("{TOUCHED}<numatune><memory mode='{mode}' nodeset='{nodes}'/></numatune>");
    bench.start(&domain(mode, "<vcpu>2</vcpu>", mib, &more)).await
}

/// The whole guest is bound, also what QEMU itself takes from now on.
pub(crate) async fn strict(bench: &Bench) -> Outcome {
    let guest = general(bench, "strict", "3", 92).await?;
    has_policy(&pages_on(&guest, 92, "3").await?, "bind:3")?;
    let threads = kernel::threads(guest.pid)?;
    let elsewhere: Vec<_> = threads.iter().filter(|t| t.mems != NodeSet::of(3)).collect();
    ensure!(elsewhere.is_empty(), "threads may take memory elsewhere: {elsewhere:?}");
    guest.end().await
}

/// There is room on the preferred node, so all pages are there.
pub(crate) async fn preferred(bench: &Bench) -> Outcome {
    let guest = general(bench, "preferred", "1", 92).await?;
    has_policy(&pages_on(&guest, 92, "1").await?, "prefer:1")?;
    guest.end().await
}

/// Several nodes are preferred alike: what QEMU itself takes, and the guest's memory where QEMU was built with a libnuma that knows of
/// it. Others bind that to the first of the nodes.
pub(crate) async fn preferred_many(bench: &Bench) -> Outcome {
    let guest = general(bench, "preferred", "1-2", 92).await?;
    let block = pages_on(&guest, 92, "1-2").await?;
    let known = ["prefer (many):1-2", "prefer:1"];
    ensure!(known.contains(&block.policy.as_str()), "the policy should be one of {known:?}: {block:?}");
    let own = kernel::policies(guest.pid).await?;
    ensure!(own.contains("prefer (many):1-2"), "QEMU's own memory follows {own:?}");
    guest.end().await
}

/// Pages alternate between the nodes.
pub(crate) async fn interleave(bench: &Bench) -> Outcome {
    let guest = general(bench, "interleave", "1-2", 92).await?;
    let block = pages_on(&guest, 92, "1-2").await?;
    has_policy(&block, "interleave:1-2")?;
    evenly(&block)?;
    guest.end().await
}

/// No policy in the kernel, the cpuset confines; when its nodes change, threads and pages move.
pub(crate) async fn restrictive_moves_pages(bench: &Bench) -> Outcome {
    let guest = general(bench, "restrictive", "1", 92).await?;
    has_policy(&pages_on(&guest, 92, "1").await?, "default")?;
    let to = NodeSet::of(0);
    let changed = guest.guest.set_numatune(Some(MemMode::Restrictive), Some(&to), Affect::Live).await;
    changed.map_err(|e| explain("numatune --live", &e))?;
    let threads = kernel::threads(guest.pid)?;
    let behind: Vec<_> = threads.iter().filter(|t| t.mems != to).collect();
    ensure!(behind.is_empty(), "threads may still take memory elsewhere: {behind:?}");
    pages_on(&guest, 92, "0").await?;
    let live = guest.guest.view().await.map_err(|e| explain("view", &e))?;
    let plan = live.plan.ok_or("no plan any more")?;
    ensure!(plan.process.mems.as_ref() == Some(&to), "the plan still says {:?}", plan.process.mems);
    // Only a restrictive policy is the cgroup's alone; any other stays for the life of the guest.
    let refused = guest.guest.set_numatune(Some(MemMode::Strict), Some(&to), Affect::Live).await;
    ensure!(refused.is_err(), "the mode of a running guest was changed");
    guest.end().await
}
