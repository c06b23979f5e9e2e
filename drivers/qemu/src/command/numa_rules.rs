//! The rules for QEMU's command line (Q2 to Q15), a test of each name. Q1 and Q8 are the placement engine's.

use polyvirt_core::model::DomainConfig;

use super::{
    hmat,
    tests::{arguments, planned_for},
};
use crate::{
    probe::Binary,
    testing::{recorded, stored},
};

/// A guest of 1 GiB and 4 vCPUs on this machine.
fn guest(machine: &str, elements: &str) -> String {
    format!(
        "<domain type='qemu'><name>rules</name><uuid>11111111-2222-4333-8444-555555555558</uuid><memory unit='GiB'>1</memory>\
         <vcpu>4</vcpu>{elements}<os><type arch='x86_64' machine='{machine}'>hvm</type></os></domain>"
    )
}

const CELLS: &str =
    "<cell id='0' cpus='0,2-3' memory='512' unit='MiB'/><cell id='1' cpus='1' memory='512' unit='MiB'/>";

fn with_cells(elements: &str, cells: &str) -> String {
    guest("q35", &format!("{elements}<cpu><numa>{cells}</numa></cpu>"))
}

fn config(text: &str) -> DomainConfig {
    stored(text, &recorded())
}

/// Values of these options, in order.
fn values(args: &[String], option: &str) -> Vec<String> {
    args.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].clone()).collect()
}

fn of(text: &str, option: &str) -> Vec<String> {
    values(&arguments(&config(text), &recorded()).unwrap(), option)
}

fn objects(text: &str) -> Vec<serde_json::Value> {
    let objects = of(text, "-object");
    objects.iter().map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn backing(inner: &str) -> String {
    format!("<memoryBacking>{inner}</memoryBacking>")
}

#[test]
fn q2_without_cells_the_machine_names_its_memory() {
    for (machine, id) in [("q35", "pc.ram"), ("pc", "pc.ram"), ("microvm", "microvm.ram")] {
        let text = guest(machine, "");
        let machine = &of(&text, "-machine")[0];
        assert!(machine.contains(&format!(",memory-backend={id}")), "{machine}");
        let objects = objects(&text);
        assert_eq!(objects.len(), 1);
        assert_eq!((objects[0]["id"].as_str(), objects[0]["size"].as_u64()), (Some(id), Some(1 << 30)));
        assert!(of(&text, "-numa").is_empty());
    }
    let machine = &of(&with_cells("", CELLS), "-machine")[0];
    assert!(!machine.contains("memory-backend"), "{machine}");
}

#[test]
fn q3_cells_are_numbered_with_their_cpus_by_runs() {
    let numa = of(&with_cells("", CELLS), "-numa");
    assert_eq!(numa, ["node,nodeid=0,cpus=0,cpus=2-3,memdev=ram-node0", "node,nodeid=1,cpus=1,memdev=ram-node1"]);
    let memory_only = "<cell id='0' cpus='0-3' memory='512' unit='MiB'/><cell id='1' memory='512' unit='MiB'/>";
    assert_eq!(of(&with_cells("", memory_only), "-numa")[1], "node,nodeid=1,memdev=ram-node1");
    // A machine of before QEMU 5.1 takes sizes while nothing needs a backend.
    let old = |elements: &str| guest("pc-i440fx-4.2", &format!("{elements}<cpu><numa>{CELLS}</numa></cpu>"));
    assert_eq!(of(&old(""), "-numa")[1], "node,nodeid=1,cpus=1,mem=512");
    assert_eq!(of(&old(&backing("<source type='memfd'/>")), "-numa")[1], "node,nodeid=1,cpus=1,memdev=ram-node1");
}

#[test]
fn q4_one_cell_with_a_backend_gives_all_cells_one() {
    let old = |elements: &str, cells: &str| {
        of(&guest("pc-i440fx-4.2", &format!("{elements}<cpu><numa>{cells}</numa></cpu>")), "-numa").join("\n")
    };
    assert_eq!(old("", CELLS).matches("memdev").count(), 0);
    let memnode = "<numatune><memnode cellid='1' mode='strict' nodeset='1'/></numatune>";
    assert_eq!(old(memnode, CELLS).matches("memdev").count(), 2);
    let shared = CELLS.replace("id='1'", "id='1' memAccess='shared'");
    assert_eq!(old("", &shared).matches("memdev").count(), 2);
    for needed in
        ["<source type='file'/>", "<source type='memfd'/>", "<access mode='shared'/>", "<access mode='private'/>"]
    {
        assert_eq!(old(&backing(needed), CELLS).matches("memdev").count(), 2, "{needed}");
    }
    let pages = "<hugepages><page size='2' unit='MiB' nodeset='1'/></hugepages>";
    assert_eq!(old(&backing(pages), CELLS).matches("memdev").count(), 2);
}

#[test]
fn q5_the_kind_of_backend_follows_from_source_and_pages() {
    for (inner, kind, share) in [
        ("", "memory-backend-ram", None),
        ("<access mode='private'/>", "memory-backend-ram", None),
        ("<access mode='shared'/>", "memory-backend-memfd", Some(true)),
        ("<source type='anonymous'/>", "memory-backend-ram", None),
        ("<source type='memfd'/>", "memory-backend-memfd", None),
        ("<source type='memfd'/><access mode='private'/>", "memory-backend-memfd", Some(false)),
        ("<source type='file'/>", "memory-backend-file", None),
        ("<hugepages/>", "memory-backend-memfd", None),
    ] {
        let objects = objects(&guest("q35", &backing(inner)));
        let found = objects.last().unwrap();
        assert_eq!(found["qom-type"].as_str(), Some(kind), "{inner}");
        assert_eq!(found.get("share").and_then(serde_json::Value::as_bool), share, "{inner}");
        assert_eq!(found.get("hugetlbsize").is_some(), inner.contains("hugepages"), "{inner}");
        assert_eq!(found.get("mem-path").is_some(), inner.contains("'file'"), "{inner}");
    }
}

#[test]
fn q6_and_q7_the_governing_mode_decides_about_nodes_and_policy() {
    for (mode, policy) in [
        ("strict", Some("bind")),
        ("preferred", Some("preferred")),
        ("interleave", Some("interleave")),
        ("restrictive", None),
    ] {
        let tune = format!("<numatune><memory mode='{mode}' nodeset='1'/></numatune>");
        let found = objects(&guest("q35", &tune)).remove(0);
        assert_eq!(found.get("policy").and_then(serde_json::Value::as_str), policy, "{mode}");
        assert_eq!(found.get("host-nodes").is_some(), policy.is_some(), "{mode}");
    }
    let found = objects(&guest("q35", "")).remove(0);
    assert!(found.get("policy").is_none() && found.get("host-nodes").is_none());
}

#[test]
fn q9_sharing_and_discarding_follow_the_cell_then_the_guest() {
    let private = CELLS.replace("id='0'", "id='0' memAccess='private'");
    let found = objects(&with_cells(&backing("<access mode='shared'/>"), &private));
    assert_eq!(found[0].get("share"), None);
    assert_eq!(found[1]["share"], true);
    let file = backing("<source type='file'/><discard/>");
    let found = objects(&with_cells(&file, &CELLS.replace("id='1'", "id='1' discard='no'")));
    assert_eq!((&found[0]["discard-data"], &found[1]["discard-data"]), (&true.into(), &false.into()));
}

#[test]
fn q10_sizes_are_bytes_of_rounded_cells_and_m_is_their_sum() {
    let cells = "<cell id='0' cpus='0-3' memory='1000' unit='KiB'/><cell id='1' memory='1025' unit='KiB'/>";
    let text = with_cells("", cells);
    let sizes: Vec<_> = objects(&text).iter().map(|it| it["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1 << 20, 2 << 20]);
    assert_eq!(of(&text, "-m"), ["size=3072k"]);
    let ppc = Binary { arch: "ppc64".into(), ..recorded() };
    let args = arguments(&config(&text), &ppc).unwrap();
    assert_eq!(values(&args, "-m"), ["size=524288k"]);
}

#[test]
fn q11_preallocating_threads_run_near_the_memory() {
    let tune = "<numatune><memory mode='strict' nodeset='2'/></numatune>";
    let immediate = backing("<allocation mode='immediate' threads='3'/>");
    let found = objects(&guest("q35", &format!("{immediate}{tune}")));
    assert_eq!(found.len(), 2);
    assert_eq!((found[0]["qom-type"].as_str(), found[0]["id"].as_str()), (Some("thread-context"), Some("tc-pc.ram")));
    assert_eq!(found[0]["node-affinity"], serde_json::json!([2]));
    assert_eq!((&found[1]["prealloc"], &found[1]["prealloc-threads"]), (&true.into(), &3.into()));
    assert_eq!(found[1]["prealloc-context"], "tc-pc.ram");
    let elsewhere = "<cputune><emulatorpin cpuset='0'/></cputune>";
    let found = objects(&guest("q35", &format!("{immediate}{elsewhere}{tune}")));
    assert_eq!(found.len(), 1, "an empty intersection");
    assert!(found[0].get("prealloc-context").is_none());
    assert!(objects(&guest("q35", &backing("<hugepages/>")))[0]["prealloc"] == true);
    assert!(objects(&guest("q35", tune))[0].get("prealloc").is_none());
}

#[test]
fn q12_some_cell_has_vcpus() {
    let mut config = config(&with_cells("", CELLS));
    let plan = planned_for(&config);
    for cell in &mut config.cpu.as_mut().unwrap().numa.as_mut().unwrap().cell {
        cell.cpus = None;
    }
    let error = super::tests::arguments_as(&config, &plan, &recorded()).unwrap_err();
    assert!(error.to_string().contains("no guest cell has a vCPU"), "{error}");
}

#[test]
fn q13_one_distance_gives_all_of_them_row_by_row() {
    let cells = CELLS.replacen("/>", "><distances><sibling id='1' value='31'/></distances></cell>", 1)
        + "<cell id='2' memory='1' unit='MiB'/>";
    let numa = of(&with_cells("", &cells), "-numa");
    let found: Vec<_> = numa.iter().filter_map(|it| it.strip_prefix("dist,")).collect();
    let expected =
        [(0, 0, 10), (0, 1, 31), (0, 2, 20), (1, 0, 31), (1, 1, 10), (1, 2, 20), (2, 0, 20), (2, 1, 20), (2, 2, 10)];
    assert_eq!(found, expected.map(|(from, to, value)| format!("src={from},dst={to},val={value}")));
    assert!(!of(&with_cells("", CELLS), "-numa").iter().any(|it| it.starts_with("dist")));
}

#[test]
fn q14_speeds_make_a_table_and_name_who_is_nearest() {
    let links = |links: &str| {
        let cells = "<cell id='0' cpus='0-1' memory='512' unit='MiB'/><cell id='1' cpus='2-3' memory='256' unit='MiB'/>\
                     <cell id='2' memory='256' unit='MiB'><cache level='1' associativity='full' policy='writeback'>\
                     <size value='8' unit='KiB'/><line value='5' unit='B'/></cache></cell>";
        with_cells("", &format!("{cells}<interconnects>{links}</interconnects>"))
    };
    let text = links(
        "<latency initiator='0' target='2' type='access' value='9'/><latency initiator='1' target='2' cache='1' type='read' value='2'/>\
         <bandwidth initiator='1' target='2' type='write' value='204800' unit='KiB'/>",
    );
    assert!(of(&text, "-machine")[0].contains(",hmat=on"));
    let numa = of(&text, "-numa");
    assert_eq!(
        numa[..3]
            .iter()
            .map(|it| it.rsplit_once(",initiator=").unwrap().1.split(',').next().unwrap())
            .collect::<Vec<_>>(),
        ["0", "1", "0"]
    );
    assert_eq!(
        numa[3..],
        [
            "hmat-lb,initiator=0,target=2,hierarchy=memory,data-type=access-latency,latency=9",
            "hmat-lb,initiator=1,target=2,hierarchy=first-level,data-type=read-latency,latency=2",
            "hmat-lb,initiator=1,target=2,hierarchy=memory,data-type=write-bandwidth,bandwidth=204800K",
            "hmat-cache,node-id=2,size=8K,level=1,associativity=complex,policy=write-back,line=5",
        ]
    );
    let widest = config(&links("<bandwidth initiator='1' target='2' type='access' value='1024'/>"));
    assert_eq!(hmat::nearest(&widest)[2].map(|it| it.0), Some(1));
    assert!(!of(&with_cells("", CELLS), "-machine")[0].contains("hmat"));
}

#[test]
fn q15_whoever_serves_a_device_from_outside_sees_all_memory() {
    let folder = "<filesystem><driver type='virtiofs'/><source dir='/d'/><target dir='t'/></filesystem>";
    let disk = "<disk type='vhostuser' device='disk'><source type='unix' path='/s'/><target dev='vda'/></disk>";
    let refused = |text: &str, device: &str| {
        let text = text.replace("</domain>", &format!("<devices>{device}</devices></domain>"));
        let found = crate::check::definable(&config(&text), &crate::driver::Facts::of(recorded().into()));
        found.is_err_and(|it| it.to_string().contains("<access mode='shared'/>"))
    };
    let shared = backing("<access mode='shared'/>");
    let both = CELLS.replace("id='", "memAccess='shared' id='");
    let one = CELLS.replace("id='1'", "memAccess='shared' id='1'");
    let private = CELLS.replace("id='1'", "memAccess='private' id='1'");
    for device in [folder, disk] {
        for (text, wrong) in [
            (guest("q35", ""), true),
            (guest("q35", &shared), false),
            (with_cells("", &both), false),
            (with_cells("", &one), true),
            (with_cells(&shared, &one), false),
            (with_cells(&shared, &private), true),
        ] {
            assert_eq!(refused(&text, device), wrong, "{text} {device}");
        }
    }
    assert!(!refused(&guest("q35", ""), "<disk><source file='/a'/><target dev='vda'/></disk>"));
}
