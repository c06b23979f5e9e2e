use polyvirt::{
    VcpuState,
    placement::{GuestShape, HostTopology, NodeShare, PlacementProfile, Promised, Request, plan},
};

use super::*;
use crate::picture::{style::Style, svg, terminal};

/// A guest of 4 GiB, planned on node 0 with CPUs 0 to 3.
fn seen(shares: &[(u32, u64)], cpus: &str) -> Observation {
    let host = HostTopology::uniform(2, 4, Kib::from_gib(8)).build().unwrap();
    let request = Request::auto("g", GuestShape::flat(1, Kib::from_gib(4)));
    let plan = plan(&host, &Promised::default(), &PlacementProfile::qemu(), &request).unwrap();
    let memory = shares.iter().map(|(node, mib)| NodeShare::new(HostNode(*node), Kib::from_mib(*mib))).collect();
    let mut vcpu = VcpuState::new(0.into());
    vcpu.affinity = Some(cpus.parse().unwrap());
    Observation::new("g", plan, memory, vec![vcpu])
}

#[test]
fn drift_begins_beyond_the_threshold() {
    let limit = Limit { percent: 5 };
    assert!(!limit.is_exceeded(&seen(&[], "0-3")), "what is not touched yet lies nowhere wrong");
    assert!(!limit.is_exceeded(&seen(&[(0, 3900), (1, 204)], "0-3")));
    assert!(limit.is_exceeded(&seen(&[(0, 3800), (1, 205)], "0-3")));
    assert!(limit.is_exceeded(&seen(&[(0, 4096)], "0-4")));
    assert!(Limit { percent: 0 }.is_exceeded(&seen(&[(1, 1)], "0-3")));
}

#[test]
fn planned_and_found_in_pictures_and_json() {
    let limit = Limit { percent: 5 };
    let looked = [
        ("g".to_owned(), Ok(seen(&[(0, 2048), (1, 1024)], "4-5"))),
        ("gone".to_owned(), Err(polyvirt::Error::new(polyvirt::ErrorKind::Busy, "owned by another"))),
    ];
    let picture = picture(&looked, limit);
    assert_eq!(
        terminal::render(&picture, Style::plain()),
        "g: drifted: 1 GiB elsewhere
  node 0 2 GiB of 4 GiB
  node 1 1 GiB of 0 KiB: 1 GiB too much
  vCPU 0 on CPUs 4-5, planned 0-3
gone: unknown
   owned by another
"
    );
    let style = Style { drawn: true, ascii: true, width: 60, color: false };
    let drawn = terminal::render(&picture, style);
    assert!(drawn.contains("| node 1 !!!!!") && drawn.contains("| node 0 AAAAAAAAAA.........."), "{drawn}");
    let facts = json(&looked[0], limit);
    assert_eq!(facts["misplaced_kib"], 1 << 20);
    assert_eq!(facts["vcpus"][0], serde_json::json!({ "vcpu": 0, "planned": "0-3", "found": "4-5" }));
    let text = svg::tests::text_of(&svg::render(&picture));
    for list in ["planned", "observed"] {
        for share in facts[list].as_array().unwrap() {
            assert!(text.contains(&format!("({} KiB)", share["kib"])), "{text}");
        }
    }
    assert_eq!(json(&looked[1], limit)["error"], "owned by another");
}
