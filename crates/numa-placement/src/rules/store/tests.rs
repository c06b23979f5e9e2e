//! One test per rule, named after it.

use super::*;
use crate::set::CpuSet;

fn nodes(text: &str) -> NodeSet {
    text.parse().unwrap()
}

fn auto_vcpu() -> Written {
    Written { vcpu_placement: Some(VcpuPlacement::Auto), ..Written::default() }
}

fn with_memory(mode: Option<MemMode>, placement: Option<MemoryPlacement>, nodeset: Option<&str>) -> Written {
    let memory = WrittenMemory { mode, placement, nodeset: nodeset.map(nodes) };
    Written { numatune_elements: 1, memory: Some(memory), ..Written::default() }
}

fn with_cells(general: Option<(MemMode, &str)>, memnodes: &[(u32, Option<MemMode>, &str)]) -> Written {
    Written {
        numatune_elements: 1,
        memory: general.map(|(mode, set)| WrittenMemory {
            mode: Some(mode),
            placement: None,
            nodeset: Some(nodes(set)),
        }),
        memnodes: memnodes
            .iter()
            .map(|(cell, mode, set)| WrittenMemnode { cellid: Some(*cell), mode: *mode, nodeset: Some(nodes(set)) })
            .collect(),
        cells: 2,
        ..Written::default()
    }
}

fn broken(written: &Written) -> Vec<String> {
    store(written).unwrap_err().0.into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn p1_no_placement_means_static() {
    assert_eq!(store(&Written::default()).unwrap().vcpu_placement, VcpuPlacement::Static);
}

#[test]
fn p2_auto_drops_the_cpuset_and_does_not_even_look_at_it() {
    let mut written = auto_vcpu();
    written.vcpu_cpuset = Some(CpuSet::new());
    let stored = store(&written).unwrap();
    assert_eq!((stored.vcpu_placement, stored.vcpu_cpuset), (VcpuPlacement::Auto, None));
    written.vcpu_placement = None;
    assert_eq!(broken(&written), ["P2"]);
}

#[test]
fn p3_auto_vcpus_create_a_strict_automatic_policy() {
    assert_eq!(store(&auto_vcpu()).unwrap(), Stored::auto());
}

#[test]
fn p4_static_vcpus_create_nothing() {
    let stored = store(&Written::default()).unwrap();
    assert_eq!(stored.memory, None);
    assert!(!stored.prints_numatune());
}

#[test]
fn p5_a_memory_element_without_attributes_is_ignored_and_p3_with_it() {
    for vcpu_placement in [None, Some(VcpuPlacement::Auto)] {
        let written = Written { vcpu_placement, ..with_memory(None, None, None) };
        assert_eq!(store(&written).unwrap().memory, None);
    }
}

#[test]
fn p6_without_a_word_a_nodeset_or_static_vcpus_mean_static() {
    for placement in [None, Some(MemoryPlacement::Default)] {
        let named = with_memory(None, placement, Some("1"));
        let expected = Some(GeneralPolicy::named(MemMode::Strict, nodes("1")));
        assert_eq!(store(&named).unwrap().memory, expected);
        let mode_only = Written {
            vcpu_placement: Some(VcpuPlacement::Auto),
            ..with_memory(Some(MemMode::Interleave), placement, None)
        };
        assert_eq!(store(&mode_only).unwrap().memory, Some(GeneralPolicy::auto(MemMode::Interleave)));
    }
}

#[test]
fn p6_the_word_default_alone_counts_as_specified() {
    let written = with_memory(None, Some(MemoryPlacement::Default), None);
    assert_eq!(broken(&written), ["P7"], "static vCPUs make it static, and then the nodeset is missing");
    let auto = Written { vcpu_placement: Some(VcpuPlacement::Auto), ..written };
    assert_eq!(store(&auto).unwrap(), Stored::auto());
}

#[test]
fn p7_static_needs_a_nodeset() {
    assert_eq!(broken(&with_memory(Some(MemMode::Strict), None, None)), ["P7"]);
    assert_eq!(broken(&with_memory(None, Some(MemoryPlacement::Static), None)), ["P7"]);
    let auto_vcpu =
        Written { vcpu_placement: Some(VcpuPlacement::Auto), ..with_memory(None, Some(MemoryPlacement::Static), None) };
    assert_eq!(broken(&auto_vcpu), ["P7"]);
    let violation = &store(&auto_vcpu).unwrap_err().0[0];
    assert_eq!(violation.path, "/domain/numatune/memory");
    assert_eq!(
        violation.to_string(),
        "/domain/numatune/memory: static memory placement has no 'nodeset': add nodeset='…', or placement='auto' (rule P7)"
    );
}

#[test]
fn p8_auto_drops_a_nodeset_but_not_an_empty_one() {
    let written = with_memory(None, Some(MemoryPlacement::Auto), Some("3"));
    assert_eq!(store(&written).unwrap().memory, Some(GeneralPolicy::auto(MemMode::Strict)));
    let empty = with_memory(None, Some(MemoryPlacement::Auto), Some("0,^0"));
    assert_eq!(store(&empty).unwrap_err().0[0].path, "/domain/numatune/memory/@nodeset");
}

#[test]
fn p9_no_mode_means_strict() {
    let stored = store(&with_memory(None, None, Some("0-1"))).unwrap();
    assert_eq!(stored.memory.unwrap().mode, MemMode::Strict);
    let stored = store(&with_cells(None, &[(0, None, "1")])).unwrap();
    assert_eq!(stored.memnodes[0].mode, MemMode::Strict);
}

#[test]
fn p10_automatic_memory_makes_unpinned_vcpus_automatic() {
    for word in [None, Some(VcpuPlacement::Static)] {
        let written = Written { vcpu_placement: word, ..with_memory(None, Some(MemoryPlacement::Auto), None) };
        assert_eq!(store(&written).unwrap().vcpu_placement, VcpuPlacement::Auto);
    }
}

#[test]
fn p11_anything_pinned_keeps_the_vcpus_static() {
    let auto = with_memory(None, Some(MemoryPlacement::Auto), None);
    for pinned in [
        Written { vcpu_cpuset: Some(CpuSet::of_range(0, 3)), ..auto.clone() },
        Written { vcpu_pin: true, ..auto.clone() },
        Written { emulator_pin: true, ..auto.clone() },
        Written { io_thread_pin: true, ..auto },
    ] {
        let stored = store(&pinned).unwrap();
        assert_eq!(stored.vcpu_placement, VcpuPlacement::Static);
        assert!(stored.wants_advice(), "memory still is automatic");
    }
}

#[test]
fn p12_automatic_vcpus_with_named_memory_are_kept_so() {
    let written = Written { vcpu_placement: Some(VcpuPlacement::Auto), ..with_memory(None, None, Some("2")) };
    let stored = store(&written).unwrap();
    assert_eq!(stored.vcpu_placement, VcpuPlacement::Auto);
    assert_eq!(stored.memory, Some(GeneralPolicy::named(MemMode::Strict, nodes("2"))));
}

#[test]
fn p13_one_numatune_at_most() {
    let written = Written { numatune_elements: 2, ..Written::default() };
    assert_eq!(broken(&written), ["P13"]);
    assert_eq!(store(&written).unwrap_err().0[0].path, "/domain/numatune[2]");
}

#[test]
fn m1_no_memnode_beside_auto_and_it_comes_before_m2() {
    let mut written = with_cells(None, &[(0, None, "0")]);
    written.vcpu_placement = Some(VcpuPlacement::Auto); // P3 makes the general policy automatic
    assert_eq!(broken(&written), ["M1"]);
    written.cells = 0;
    assert_eq!(broken(&written), ["M1", "M2"]);
}

#[test]
fn m2_no_memnode_without_cells() {
    let written = Written { cells: 0, ..with_cells(None, &[(0, None, "0")]) };
    assert_eq!(broken(&written), ["M2"]);
}

#[test]
fn m3_cellid_is_required_exists_and_comes_once() {
    assert_eq!(broken(&with_cells(None, &[(2, None, "0")])), ["M3"]);
    assert_eq!(broken(&with_cells(None, &[(1, None, "0"), (1, None, "1")])), ["M3"]);
    let mut missing = with_cells(None, &[(0, None, "0")]);
    missing.memnodes[0].cellid = None;
    assert_eq!(broken(&missing), ["M3"]);
    let message = store(&with_cells(None, &[(0, None, "0"), (7, None, "0")])).unwrap_err().0.remove(0);
    assert_eq!(message.path, "/domain/numatune/memnode[2]/@cellid");
    assert_eq!(message.remedy, "cells are numbered 0 to 1");
}

#[test]
fn m4_nodeset_is_required_and_not_empty() {
    let mut written = with_cells(None, &[(0, None, "0,^0")]);
    assert_eq!(broken(&written), ["M4"]);
    written.memnodes[0].nodeset = None;
    assert_eq!(broken(&written), ["M4"]);
}

#[test]
fn m5_memnode_without_a_general_policy_counts_as_beside_strict() {
    let stored = store(&with_cells(None, &[(1, Some(MemMode::Interleave), "0-1")])).unwrap();
    assert_eq!(stored.memory, None);
    assert_eq!(stored.memnodes, [CellPolicy::new(GuestCell(1), MemMode::Interleave, nodes("0-1"))]);
    assert_eq!(broken(&with_cells(None, &[(1, Some(MemMode::Restrictive), "0")])), ["M7"]);
}

#[test]
fn m6_a_general_restrictive_allows_no_other_mode() {
    let general = Some((MemMode::Restrictive, "0"));
    assert_eq!(broken(&with_cells(general, &[(0, None, "0")])), ["M6"]);
    assert!(store(&with_cells(general, &[(0, Some(MemMode::Restrictive), "1")])).is_ok());
}

#[test]
fn m7_a_restrictive_cell_needs_a_restrictive_guest() {
    for general in [MemMode::Strict, MemMode::Preferred, MemMode::Interleave] {
        assert_eq!(broken(&with_cells(Some((general, "0")), &[(0, Some(MemMode::Restrictive), "0")])), ["M7"]);
    }
}

#[test]
fn m8_other_modes_mix_and_are_kept_ascending() {
    let written = with_cells(
        Some((MemMode::Preferred, "0")),
        &[(1, Some(MemMode::Interleave), "0-1"), (0, Some(MemMode::Strict), "1")],
    );
    let cells: Vec<_> = store(&written).unwrap().memnodes.into_iter().map(|policy| policy.cell.0).collect();
    assert_eq!(cells, [0, 1]);
}

#[test]
fn every_broken_rule_is_reported_in_the_order_of_checks() {
    let mut written = with_cells(None, &[(9, None, "0"), (0, Some(MemMode::Restrictive), "0,^0")]);
    written.numatune_elements = 2;
    written.memory = Some(WrittenMemory { mode: Some(MemMode::Strict), ..WrittenMemory::default() });
    assert_eq!(broken(&written), ["P13", "P7", "M3", "M4", "M7"]);
}
