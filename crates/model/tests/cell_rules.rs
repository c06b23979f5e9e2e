//! The rules for guest cells (C1 to C13), a test of each name. C5 and parts of C12 are QEMU's: see the driver.

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

use polyvirt_model::{DomainConfig, Guest, ParseOptions, Positions, complete, complete_and_check};
use polyvirt_numa_placement::{GuestCell, Kib, PageRequest};

/// A definition with these elements, 8 vCPUs, and 4 GiB.
fn domain(elements: &str) -> String {
    format!("<domain type='kvm'><name>a</name><memory unit='GiB'>4</memory><vcpu>8</vcpu>{elements}<devices/></domain>")
}

/// Cells within a definition.
fn cells(cells: &str) -> String {
    domain(&format!("<cpu><numa>{cells}</numa></cpu>"))
}

fn accepted(text: &str) -> DomainConfig {
    let mut parsed = DomainConfig::parse(text, &ParseOptions::default()).unwrap();
    complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions)
        .unwrap_or_else(|e| panic!("{e}\n{text}"));
    parsed.config
}

/// Everything that is wrong, one problem a line.
fn refused(text: &str) -> String {
    let mut parsed = match DomainConfig::parse(text, &ParseOptions::default()) {
        Ok(parsed) => parsed,
        Err(problems) => return problems.to_string(),
    };
    match complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string(),
    }
}

/// Each of these cells is refused with words like those beside it.
fn refuses(all: &[(&str, &str)]) {
    for (inner, expected) in all {
        let shown = refused(&cells(inner));
        assert!(shown.contains(expected), "{inner}\n{shown}");
    }
}

const TWO: &str = "<cell id='0' cpus='0-3' memory='1' unit='GiB'/><cell id='1' cpus='4-7' memory='1' unit='GiB'/>";

#[test]
fn c1_cells_are_numbered_from_0_without_gaps() {
    refuses(&[
        ("", "/domain/cpu/numa, line 1 column 82: <numa> has no <cell>: add one or remove it [C1]"),
        ("<cell id='2' memory='1'/>", "/domain/cpu/numa/cell/@id, line 1 column 98: cell 2 leaves a gap"),
        (
            "<cell id='0' memory='1'/><cell id='0' memory='1'/>",
            "/domain/cpu/numa/cell[2]/@id, line 1 column 123: there are two cells 0",
        ),
    ]);
    let config = accepted(&cells("<cell id='1' cpus='4-7' memory='1'/><cell id='0' cpus='0' memory='2'/>"));
    assert_eq!(
        config.cells().iter().map(|cell| (cell.id, cell.memory.0)).collect::<Vec<_>>(),
        [(Some(0), 2), (Some(1), 1)]
    );
    let config = accepted(&cells("<cell memory='1'/><cell memory='1'/>"));
    assert_eq!(config.cells()[1].id, Some(1));
}

#[test]
fn c2_a_cell_has_memory_in_kib_if_nothing_else_is_said() {
    refuses(&[("<cell/>", "/domain/cpu/numa/cell, line 1 column 88: <cell> lacks its attribute 'memory'")]);
    let config = accepted(&cells("<cell memory='2048'/><cell memory='1' unit='GiB'/>"));
    assert_eq!(config.cells().iter().map(|cell| cell.memory).collect::<Vec<_>>(), [Kib(2048), Kib::from_gib(1)]);
    assert!(config.to_xml().contains("<cell id='1' memory='1048576' unit='KiB'/>"));
}

#[test]
fn c3_no_vcpu_is_in_two_cells_and_no_cpus_are_none() {
    refuses(&[(
        "<cell cpus='0-3' memory='1'/><cell cpus='3' memory='1'/>",
        "vCPU 3 is in another cell already, each is in one [C3]",
    )]);
    let config = accepted(&cells("<cell cpus='0-3' memory='1'/><cell cpus='5,^5' memory='1'/>"));
    assert_eq!(config.cells()[1].cpus, None);
}

#[test]
fn c4_cells_name_vcpus_that_there_can_be() {
    refuses(&[("<cell cpus='0-8' memory='1'/>", "there is no vCPU 8, the maximum is 8: they are 0 to 7 [C4]")]);
    accepted(&cells("<cell cpus='0-7' memory='1'/>"));
}

#[test]
fn c6_access_and_discard_are_words() {
    refuses(&[
        ("<cell memory='1' memAccess='default'/>", "'default' is not one of 'shared', 'private'"),
        ("<cell memory='1' discard='maybe'/>", "/domain/cpu/numa/cell/@discard"),
    ]);
    let xml = accepted(&cells("<cell memory='1' memAccess='shared' discard='yes'/>")).to_xml();
    assert!(xml.contains("memAccess='shared' discard='yes'"), "{xml}");
}

#[test]
fn c7_the_total_is_what_is_written_or_the_sum() {
    let none = "<domain type='kvm'><name>a</name><devices/></domain>";
    assert!(refused(none).contains("/domain/memory, line 1 column 1: the guest has no memory"));
    let only_cells = format!("<domain type='kvm'><name>a</name><vcpu>8</vcpu><cpu><numa>{TWO}</numa></cpu></domain>");
    assert_eq!(accepted(&only_cells).memory_total(), Kib::from_gib(2));
    // What an existing guest says is kept; a new one gets the sum.
    let both = cells(TWO);
    assert_eq!(accepted(&both).memory_total(), Kib::from_gib(4));
    let mut new = DomainConfig::parse(&both, &ParseOptions::default()).unwrap().config;
    complete(&mut new, Guest::New, &Positions::default()).unwrap();
    assert_eq!(new.memory_total(), Kib::from_gib(2));
    assert_eq!(new.guest_shape().memory, Kib::from_gib(2));
    for current in ["0", "99999999"] {
        let config = accepted(&domain(&format!("<currentMemory>{current}</currentMemory>")));
        assert_eq!(config.current_memory.unwrap().size, Kib::from_gib(4));
    }
}

#[test]
fn c8_distances_are_10_to_oneself_and_more_to_others() {
    let third = |inner: &str| format!("{TWO}<cell memory='1'>{inner}</cell>");
    refuses(&[
        ("<cell memory='1'><distances/></cell>", "<distances> has no <sibling>: add one or remove it [C8]"),
        (&third("<distances><sibling id='7' value='20'/></distances>"), "/cell[3]/distances/sibling/@id"),
        (&third("<distances><sibling id='0' value='9'/></distances>"), "9 is no distance, 10 to 255 are possible [C8]"),
        (&third("<distances><sibling id='0' value='256'/></distances>"), "256 is no distance"),
        (&third("<distances><sibling id='0' value='10'/></distances>"), "10 is for a cell to itself"),
        (&third("<distances><sibling id='2' value='20'/></distances>"), "the distance from 2 to 2 is 20"),
    ]);
}

#[test]
fn c9_the_way_back_is_as_far_unless_it_is_given() {
    let text = cells(
        "<cell cpus='0' memory='1'><distances><sibling id='1' value='21'/></distances></cell><cell memory='1'/><cell memory='1'/>",
    );
    let config = accepted(&text);
    let back = &config.cells()[1].distances.as_ref().unwrap().sibling;
    assert_eq!(back.iter().map(|s| (s.id, s.value)).collect::<Vec<_>>(), [(0, 21), (1, 10)]);
    assert!(config.cells()[2].distances.is_none());
    assert_eq!(config.guest_shape().distances, [10, 21, 20, 21, 10, 20, 20, 20, 10]);
    let both = text.replacen(
        "<cell memory='1'/>",
        "<cell memory='1'><distances><sibling id='0' value='31'/></distances></cell>",
        1,
    );
    assert_eq!(accepted(&both).guest_shape().distances, [10, 21, 20, 31, 10, 20, 20, 20, 10]);
}

#[test]
fn c10_caches_and_links_are_whole_and_between_cells() {
    const CACHE: &str = "<cache level='1' associativity='direct' policy='writeback'><size value='8' unit='KiB'/><line value='5' unit='B'/></cache>";
    let cached = |inner: &str| format!("<cell cpus='0-7' memory='1'>{inner}</cell>");
    let linked =
        |links: &str| format!("{}<cell id='2' memory='1'>{CACHE}</cell><interconnects>{links}</interconnects>", TWO);
    let latency = |from: u32, to: u32| format!("<latency initiator='{from}' target='{to}' type='read' value='1'/>");
    for (inner, expected) in [
        (cached(&CACHE.replace("'1'", "'4'")), "cache level 4, 1 to 3 are possible [C10]"),
        (cached(&CACHE.repeat(2)), "a second cache of level 1, a cell has one of each [C10]"),
        (cached("<cache level='1'/>"), "<cache> lacks its attribute 'associativity' [C10]"),
        (cached(&CACHE.replace("<line value='5' unit='B'/>", "")), "<cache> lacks its element <line> [C10]"),
        (linked(&latency(0, 5)), "/interconnects/latency/@target"),
        (linked(&latency(5, 0)), "/interconnects/latency/@initiator"),
        (linked(&latency(2, 0)), "cell 2 has no vCPUs and initiates nothing"),
        (linked(&latency(0, 2).replace("type", "cache='2' type")), "cell 2 has no cache of level 2"),
        (linked(&latency(0, 2).replace(" type='read'", "")), "lacks its attribute 'type'"),
        (linked(&latency(0, 2).repeat(2)), "a second <latency> from 0 to 2 of the same kind"),
        (linked(&(latency(0, 1) + &latency(1, 0))), "there is an entry from 1 to 0 already"),
    ] {
        // The direction that exists is told from the point of view of the second entry.
        let shown = refused(&cells(&inner));
        let expected = if inner.contains("initiator='1'") { "there is an entry from 0 to 1 already" } else { expected };
        assert!(shown.contains(expected), "{inner}\n{shown}");
    }
    accepted(&cells(&linked(&(latency(0, 0) + &latency(0, 2) + &latency(0, 2).replace("type", "cache='1' type")))));
}

#[test]
fn c11_pages_are_for_cells_each_once() {
    let pages = |pages: &str| {
        domain(&format!("<memoryBacking><hugepages>{pages}</hugepages></memoryBacking><cpu><numa>{TWO}</numa></cpu>"))
    };
    assert!(refused(&pages("<page size='2048'/><page size='1' unit='G'/>")).contains("[C11]"));
    assert!(refused(&pages("<page size='2048' nodeset='2'/>")).contains("there is no cell 2"));
    let twice = "<page size='2048' nodeset='0-1'/><page size='1' unit='G' nodeset='1'/>";
    assert!(refused(&pages(twice)).contains("cell 1 has a page size already"));
    let request =
        accepted(&pages("<page size='2048'/><page size='1' unit='G' nodeset='1'/>")).placement_request().unwrap();
    assert_eq!(request.page, PageRequest::Size(Kib(2048)));
    assert_eq!(request.cell_pages[&GuestCell(1)], PageRequest::Size(Kib::from_gib(1)));
    let without = |set: &str| {
        domain(&format!("<memoryBacking><hugepages><page size='2048' nodeset='{set}'/></hugepages></memoryBacking>"))
    };
    assert!(accepted(&without("0")).to_xml().contains("<page size='2048' unit='KiB'/>"));
    assert!(refused(&without("0-1")).contains("[C11]"));
}

#[test]
fn c12_memory_devices_are_in_cells_that_there_are() {
    let dimm = |node: &str, cells: &str| {
        format!(
            "<domain type='kvm'><name>a</name><maxMemory slots='4' unit='GiB'>8</maxMemory><memory unit='GiB'>2</memory><vcpu>8</vcpu>\
             {cells}<devices><memory model='dimm'><target><size unit='MiB'>512</size>{node}</target></memory></devices></domain>"
        )
    };
    let numa = format!("<cpu><numa>{TWO}</numa></cpu>");
    accepted(&dimm("<node>1</node>", &numa));
    assert!(refused(&dimm("<node>2</node>", &numa)).contains("there is no cell 2, the guest has 2 cells [C12]"));
    assert!(refused(&dimm("<node>0</node>", "")).contains("there is no cell 0, the guest has 0 cells [C12]"));
}

#[test]
fn c13_an_expander_bus_is_in_a_cell_that_there_is() {
    let bus = |index: u32, node: u32| {
        format!(
            "<domain type='kvm'><name>a</name><memory unit='GiB'>2</memory><vcpu>8</vcpu><cpu><numa>{TWO}</numa></cpu><devices>\
             <controller type='pci' index='0' model='pcie-root'/>\
             <controller type='pci' index='{index}' model='pcie-expander-bus'><target><node>{node}</node></target></controller></devices></domain>"
        )
    };
    accepted(&bus(1, 1));
    assert!(refused(&bus(1, 2)).contains("there is no cell 2, the guest has 2 cells [C13]"));
    let first = "<domain type='kvm'><name>a</name><memory unit='GiB'>2</memory><vcpu>8</vcpu><cpu><numa><cell memory='1'/></numa></cpu>\
                 <devices><controller type='pci' index='0' model='pci-root'><target><node>0</node></target></controller></devices></domain>";
    assert!(refused(first).contains("[C13]"), "{}", refused(first));
}
