//! vCPUs that come while the guest runs. That they go is the guest's doing: a driver's own tests have a guest that does it.

use std::time::Duration;

use polyvirt_core::{
    Deadline, Domain, ErrorKind, OpContext,
    placement::{Plan, VcpuId, VcpuSet},
};

use crate::bench::{Bench, Run};

/// The subject's guest with two more vCPUs that it can have.
async fn start(bench: &Bench, name: &str) -> (Run, OpContext) {
    let run = bench
        .start_changed(name, true, |config| {
            let vcpu = config.vcpu.get_or_insert_default();
            (vcpu.count, vcpu.current) = (Some(4), Some(2));
        })
        .await;
    let cx = OpContext::new(bench.plan(&run.live.config), Deadline::after(Duration::from_secs(30)));
    (run, cx)
}

fn set(text: &str) -> VcpuSet {
    text.parse().expect("a set")
}

async fn are_where_planned(domain: &dyn Domain, plan: Option<&Plan>, online: &VcpuSet) {
    let Some(info) = domain.vcpu_info() else { return };
    let vcpus = info.vcpus().await.expect("vCPUs");
    let ids: Vec<VcpuId> = vcpus.iter().map(|it| it.vcpu).collect();
    assert_eq!(ids, online.iter().collect::<Vec<_>>());
    for vcpu in &vcpus {
        let Some(planned) = plan.and_then(|plan| plan.vcpu(vcpu.vcpu)) else { continue };
        let affinity = vcpu.affinity.as_ref();
        assert!(affinity.is_none_or(|real| real.is_subset(&planned.hard)), "vCPU {} may leave its plan", vcpu.vcpu);
    }
}

pub(crate) async fn plugged_to_a_number(bench: &Bench) {
    let (run, cx) = start(bench, "count").await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(count) = domain.vcpu_count() {
        let before = count.now().await.expect("what there is");
        assert_eq!((before.online, before.removable), (set("0-1"), VcpuSet::new()));
        let change = count.set(&cx, 3).await.expect("plugged");
        assert!(change.failed.is_none() && change.weakened.is_empty(), "{change:?}");
        assert_eq!((&change.now.online, &change.now.removable), (&set("0-2"), &set("2")));
        are_where_planned(&*domain, cx.plan.as_ref(), &set("0-2")).await;
        let again = count.set(&cx, 3).await.expect("there already");
        assert_eq!(again.now, change.now);
        let many = count.set(&cx, 5).await.expect_err("it can have four");
        assert_eq!(many.kind(), ErrorKind::InvalidArgument, "{many}");
        let few = count.set(&cx, 1).await.expect_err("two stay");
        assert_eq!(few.kind(), ErrorKind::InvalidState, "{few}");
        assert_eq!(count.now().await.expect("what there is"), change.now, "a refusal changes nothing");
    }
    bench.end(run).await;
}

pub(crate) async fn single_ones(bench: &Bench) {
    let (run, cx) = start(bench, "select").await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(select) = domain.vcpu_select() {
        let change = select.select(&cx, &set("3"), true).await.expect("plugged");
        assert!(change.failed.is_none(), "{change:?}");
        assert_eq!((change.now.online, change.now.removable), (set("0-1,3"), set("3")));
        are_where_planned(&*domain, cx.plan.as_ref(), &set("0-1,3")).await;
        let none = select.select(&cx, &set("4"), true).await.expect_err("there is no such vCPU");
        assert_eq!(none.kind(), ErrorKind::InvalidArgument, "{none}");
        let stays = select.select(&cx, &set("1"), false).await.expect_err("it was there from the start");
        assert_eq!(stays.kind(), ErrorKind::InvalidState, "{stays}");
        let off = select.select(&cx, &set("2"), false).await.expect("it is out already");
        assert_eq!(off.now.online, set("0-1,3"));
    }
    bench.end(run).await;
}
