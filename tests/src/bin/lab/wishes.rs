//! What a definition asks for in polyvirt's own namespace, and hosts that are not alike all over.

use std::fs;

use polyvirt::placement::{CpuSet, NodeSet, PageSize};

use crate::{
    auto::{AUTO, Filling, is_where_planned},
    bench::{Bench, Outcome, TOUCHED, domain, ensure},
    kernel, policies, threads,
};

/// These wishes, as metadata.
pub(crate) fn wishes(content: &str) -> String {
    let namespace = "https://polyvirt.org/xmlns/placement/1.0";
    format!("<metadata><p:placement xmlns:p='{namespace}'>{content}</p:placement></metadata>")
}

/// The PCI functions that are next to node 1.
fn at_node_1() -> Result<Vec<String>, String> {
    let entries = fs::read_dir("/sys/bus/pci/devices").map_err(|e| format!("no PCI devices: {e}"))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let node = |name: &String| fs::read_to_string(format!("/sys/bus/pci/devices/{name}/numa_node"));
    Ok(names.filter(|name| node(name).is_ok_and(|node| node.trim() == "1")).collect())
}

/// A device at node 1 draws a guest that would else be put on node 0.
pub(crate) async fn a_device_draws_its_guest(bench: &Bench) -> Outcome {
    let devices = at_node_1()?;
    let device = devices.first().ok_or("no PCI device is at node 1 here")?;
    println!("at node 1: {devices:?}");
    // Else nodes that are alike may be chosen by a few pages.
    let filling = Filling::leaving(1, 240 << 10)?;
    let plain = bench.start(&domain("plain", AUTO, 96, TOUCHED)).await?;
    let nodes = is_where_planned(&plain, 96).await?;
    ensure!(!nodes.contains(1), "without a device it goes to {nodes}, which proves nothing");
    plain.end().await?;
    let more = format!("{TOUCHED}{}", wishes(&format!("<p:near pci='{device}'/>")));
    let near = bench.start(&domain("near", AUTO, 96, &more)).await?;
    let nodes = is_where_planned(&near, 96).await?;
    ensure!(nodes == NodeSet::of(1), "the device is at node 1, the guest on {nodes}: {:?}", near.plan.trace.notes);
    drop(filling);
    near.end().await
}

const BY_WEIGHT: &str = "<numatune><memory mode='interleave' nodeset='0-3'/></numatune>";

/// Pages follow the weights of the nodes, by the policy of the process.
pub(crate) async fn interleaved_by_weight(bench: &Bench) -> Outcome {
    let weights = [4u64, 2, 1, 1];
    for (node, weight) in weights.iter().enumerate() {
        let path = format!("/sys/kernel/mm/mempolicy/weighted_interleave/node{node}");
        fs::write(&path, weight.to_string()).map_err(|e| format!("{path}: {e}"))?;
    }
    let more = format!("{TOUCHED}{BY_WEIGHT}{}", wishes("<p:memory interleave='weighted'/>"));
    let guest = bench.start(&domain("weighted", "<vcpu>2</vcpu>", 128, &more)).await?;
    let block = policies::pages_on(&guest, 128, "0-3").await?;
    policies::has_policy(&block, "weighted interleave:0-3")?;
    for (share, (node, weight)) in guest.plan.cells[0].memory.iter().zip((0u32..).zip(weights)) {
        let (is, planned) = (block.kib.get(&node).copied().unwrap_or(0), share.size.0);
        ensure!(planned == weight * (16 << 10), "node {node} was promised {planned} KiB for its weight of {weight}");
        // A few transparent huge pages more or less: threads that touch memory count the weights each for itself.
        ensure!(is.abs_diff(planned) <= 12 << 10, "node {node} should have {planned} KiB: {block:?}");
    }
    let told = guest.plan.weakened.iter().any(|weak| weak.what.contains("weights"));
    ensure!(!told, "the plan says it is not by weight: {:?}", guest.plan.weakened);
    guest.end().await
}

/// A kernel without weights deals out evenly, and the plan says that it was wished otherwise.
pub(crate) async fn without_weights_evenly(bench: &Bench) -> Outcome {
    let more = format!("{TOUCHED}{BY_WEIGHT}{}", wishes("<p:memory interleave='weighted'/>"));
    let guest = bench.start(&domain("evenly", "<vcpu>2</vcpu>", 96, &more)).await?;
    let block = policies::pages_on(&guest, 96, "0-3").await?;
    policies::has_policy(&block, "interleave:0-3")?;
    policies::evenly(&block)?;
    let told = guest.plan.weakened.iter().any(|weak| weak.what.contains("weights"));
    ensure!(told, "the plan does not say so: {:?}", guest.plan.weakened);
    guest.end().await
}

/// One cell's memory is where the definition says, the others' is placed beside it.
pub(crate) async fn a_fixed_cell_beside_automatic_ones(bench: &Bench) -> Outcome {
    let cells: Vec<_> =
        (0..2).map(|cell| format!("<cell id='{cell}' cpus='{cell}' memory='{}' unit='MiB'/>", 76 + 8 * cell)).collect();
    let cells = format!("<cpu><numa>{}</numa></cpu>", cells.concat());
    let more = format!("{TOUCHED}{cells}{}", wishes("<p:memnode cellid='1' nodeset='3'/>"));
    let guest = bench.start(&domain("fixed", AUTO, 160, &more)).await?;
    let block = policies::pages_on(&guest, 84, "3").await?;
    policies::has_policy(&block, "bind:3")?;
    let advice = guest.plan.advice.as_ref().ok_or("an automatic plan without advice")?.nodeset.to_string();
    ensure!(advice != "3", "the other cell was put on node {advice} too, which proves nothing");
    policies::pages_on(&guest, 76, &advice).await?;
    threads::are_where_planned(&guest).await?;
    guest.end().await
}

/// Every vCPU has a CPU that no other guest's vCPU with that wish has.
pub(crate) async fn cpus_of_its_own(bench: &Bench) -> Outcome {
    let more = wishes("").replace("<p:placement", "<p:placement cpus='dedicated'");
    let mut guests = Vec::new();
    let mut taken = CpuSet::new();
    for name in ["own1", "own2", "own3"] {
        let guest = bench.start(&domain(name, AUTO, 48, &more)).await?;
        threads::are_where_planned(&guest).await?;
        for vcpu in &guest.plan.cells[0].vcpus {
            ensure!(vcpu.hard.len() == 1 && vcpu.hard.is_disjoint(&taken), "{name}: {} of {taken} again", vcpu.hard);
            taken = taken.union(&vcpu.hard);
        }
        guests.push(guest);
    }
    println!("CPUs {taken} are three guests' own");
    for guest in guests {
        guest.end().await?;
    }
    Ok(())
}

/// Memory without CPUs: used where it is named, and the threads run elsewhere.
pub(crate) async fn memory_without_cpus(bench: &Bench) -> Outcome {
    let host = bench.connection.host().topology().map_err(|e| e.to_string())?;
    let bare: NodeSet = host.nodes().iter().filter(|node| node.cpus.is_empty()).map(|node| node.id).collect();
    let node = bare.first().ok_or("every node has CPUs here")?;
    let more = format!("{TOUCHED}<numatune><memory mode='strict' nodeset='{node}'/></numatune>");
    let named = bench.start(&domain("bare", "<vcpu>2</vcpu>", 92, &more)).await?;
    let block = policies::pages_on(&named, 92, &node.to_string()).await?;
    policies::has_policy(&block, &format!("bind:{node}"))?;
    threads::are_where_planned(&named).await?;
    named.end().await?;
    let auto = bench.start(&domain("auto", AUTO, 96, TOUCHED)).await?;
    let nodes = is_where_planned(&auto, 96).await?;
    ensure!(nodes.is_disjoint(&bare), "there is room beside CPUs, yet memory is on {nodes}");
    auto.end().await
}

/// A guest of huge pages of this size, placed automatically; its pages are of that size and where they were promised.
async fn huge(bench: &Bench, unit: &str, mib: u64, kib: u64) -> Outcome {
    let more = format!("<memoryBacking><hugepages><page size='1' unit='{unit}'/></hugepages></memoryBacking>");
    let more = if unit == "MiB" { more.replace("size='1'", "size='2'") } else { more };
    let guest = bench.start(&domain("huge", AUTO, mib, &more)).await?;
    let page = guest.plan.cells[0].page;
    ensure!(page == PageSize::Huge(polyvirt::model::Kib(kib)), "the plan has pages of {page:?}");
    let nodes = is_where_planned(&guest, mib).await?;
    let sizes = kernel::page_sizes(guest.pid, mib).await?;
    ensure!(sizes == [kib], "{mib} MiB on {nodes} are in pages of {sizes:?} KiB");
    let pool = |node: u32, file: &str| {
        let path = format!("/sys/devices/system/node/node{node}/hugepages/hugepages-{kib}kB/{file}");
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    for share in &guest.plan.cells[0].memory {
        let node = u32::from(share.node);
        let taken = pool(node, "nr_hugepages") - pool(node, "free_hugepages");
        ensure!(taken * kib == share.size.0, "{taken} pages are taken on node {node} for {} KiB", share.size.0);
    }
    guest.end().await
}

/// 2 MiB pages.
pub(crate) async fn pages_of_2_mib(bench: &Bench) -> Outcome {
    huge(bench, "MiB", 64, 2048).await
}

/// 1 GiB pages.
pub(crate) async fn pages_of_1_gib(bench: &Bench) -> Outcome {
    huge(bench, "GiB", 1024, 1 << 20).await
}

/// More pages than any pool has are refused with what is missing.
pub(crate) async fn more_pages_than_there_are(bench: &Bench) -> Outcome {
    let more = "<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>";
    match bench.start(&domain("toolarge", AUTO, 2048, more)).await {
        Ok(_) => Err("2 GiB of huge pages were found".to_owned()),
        Err(why) => {
            println!("{why}");
            ensure!(why.contains("2 MiB pages"), "the refusal does not name the pages: {why}");
            let guest = bench.connection.lookup_by_name("toolarge").await.map_err(|e| e.to_string())?;
            guest.undefine().await.map_err(|e| e.to_string())
        }
    }
}
