//! The plan, put together from what was decided.

use super::Context;
use super::choose::Choice;
use super::demand::{Demand, Part};
use super::promise::{PartPromise, Promise, milli_vcpus};
use crate::binding;
use crate::plan::{
    Advice, CellPlan, CpuLoad, Headroom, MemoryDevicePlan, Origin, PLAN_SCHEMA, Plan, ThreadPlan, VcpuPlan, Weakening,
};
use crate::policy::{MemMode, MemPolicy, PageSize};
use crate::profile::{CellSupport, NodesPerCell};
use crate::set::{CpuSet, NodeSet};
use crate::shape::CellShape;
use crate::units::GuestCell;

pub(super) fn assemble(cx: Context<'_>, demand: &Demand, choice: Choice, promise: Promise) -> Plan {
    let load = milli_vcpus(cx, demand, &choice);
    let mut weakened = choice.weakened.clone();
    weakened.extend(promise.weakened);
    weaken_pins(cx, &mut weakened);
    weaken_policies(cx, &mut weakened);
    let process = process(cx, demand, &choice);
    let (mut cells, mut devices) = (Vec::new(), Vec::new());
    let vcpus = cx.request.shape.vcpus_max - demand.vcpus;
    let mut headroom = Headroom { memory: Vec::new(), page: PageSize::Base, vcpus };
    for (item, part) in demand.items.iter().zip(promise.parts) {
        match item.part {
            Part::Cell(at) => cells.push(cell(cx, &demand.cells[at], &choice, &process, part, item.page)),
            Part::Device(index) => devices.push(MemoryDevicePlan {
                index,
                cell: cx.request.devices[index].cell,
                memory: part.memory,
                policy: part.policy,
                page: item.page,
            }),
            Part::Headroom => (headroom.memory, headroom.page) = (part.memory, item.page),
        }
    }
    let node = |at: usize| cx.host.nodes()[at].id;
    Plan {
        schema: PLAN_SCHEMA,
        revision: 1,
        lease: None,
        shape: cx.request.shape.clone(),
        cells,
        io_threads: io_threads(cx, &choice, &process),
        process,
        devices,
        headroom,
        cpu_load: load.into_iter().map(|(at, milli)| CpuLoad { node: node(at), milli_vcpus: milli }).collect(),
        dedicated: choice.own.map(|own| own.booked).unwrap_or_default(),
        advice: choice.advice,
        weakened,
        trace: choice.trace,
    }
}

fn process(cx: Context<'_>, demand: &Demand, choice: &Choice) -> ThreadPlan {
    let (stored, advice) = (&cx.request.stored, choice.advice.as_ref());
    let pin = cx.request.emulator_pin.as_ref().filter(|_| cx.profile.pins.emulator);
    let (cpus, origin) = binding::thread_cpus(pin, stored, advice, cx.host);
    let near = binding::launch_cpus(stored, advice, pin, cx.request.shape.cells.len(), cx.host);
    let cells: Vec<GuestCell> = demand.cells.iter().map(|cell| cell.cell).collect();
    let mems = match cx.profile.nodes_per_cell {
        _ if !cx.request.kernel.cpuset => None,
        // A container has nothing but its cgroup: whatever the mode, these are its nodes.
        NodesPerCell::Process => {
            Some(binding::general_policy(stored, advice).nodes).filter(|nodes: &NodeSet| !nodes.is_empty())
        }
        NodesPerCell::One | NodesPerCell::Many => binding::process_mems(stored, advice, &cells),
    };
    ThreadPlan {
        launch: binding::launch_policy(stored, advice, cx.request.kernel).map(|policy| cx.weighed(policy)),
        launch_cpus: Some(near).filter(|near| *near != cpus),
        cpus,
        origin,
        mems,
    }
}

fn io_threads(cx: Context<'_>, choice: &Choice, process: &ThreadPlan) -> Vec<(crate::units::IoThreadId, ThreadPlan)> {
    let mut ids = cx.request.io_threads.clone();
    ids.extend(cx.request.io_thread_pins.keys());
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| {
            let pin = cx.request.io_thread_pins.get(&id).filter(|_| cx.profile.pins.io_threads);
            let (cpus, origin) = binding::thread_cpus(pin, &cx.request.stored, choice.advice.as_ref(), cx.host);
            (id, ThreadPlan { cpus, origin, launch: None, launch_cpus: None, mems: process.mems.clone() })
        })
        .collect()
}

fn cell(
    cx: Context<'_>,
    shape: &CellShape,
    choice: &Choice,
    process: &ThreadPlan,
    part: PartPromise,
    page: PageSize,
) -> CellPlan {
    let (stored, advice) = (&cx.request.stored, choice.advice.as_ref());
    let mems = match cx.profile.nodes_per_cell {
        NodesPerCell::Many if cx.request.kernel.cpuset => {
            binding::vcpu_mems(stored, advice, shape.cell, process.mems.as_ref())
        }
        _ => process.mems.clone(),
    };
    // A cell without CPUs near its memory runs wherever the guest does.
    let near = choice.by_cell.then(|| Advice {
        cpuset: cx.host.cpus_of(&part.policy.nodes).intersection(&advice.map(|a| a.cpuset.clone()).unwrap_or_default()),
        nodeset: part.policy.nodes.clone(),
    });
    let near = near.filter(|near| !near.cpuset.is_empty());
    let vcpus = shape
        .vcpus
        .iter()
        .map(|vcpu| {
            let pin = cx.request.vcpu_pins.get(&vcpu).filter(|_| cx.profile.pins.vcpu_hard);
            let (hard, origin) = match choice.own.as_ref().map(|own| (own, own.of(vcpu))) {
                Some((_, Some((cpu, _)))) => (CpuSet::of(cpu), Origin::Dedicated),
                Some((own, None)) => (own.cpus(), Origin::Dedicated),
                None => binding::thread_cpus(pin, stored, near.as_ref().or(advice), cx.host),
            };
            VcpuPlan { vcpu, hard, soft: None, mems: mems.clone(), origin }
        })
        .collect();
    let prealloc_nodes = prealloc_nodes(cx, &part.policy, page, process);
    let prealloc_cpus = prealloc_nodes.as_ref().map(|nodes| prealloc_cpus(cx, nodes, process));
    CellPlan {
        cell: shape.cell,
        vcpus,
        memory: part.memory,
        own_policy: stored.memnode(shape.cell).is_some(),
        policy: part.policy,
        page,
        prealloc_cpus,
        prealloc_nodes,
    }
}

/// Q11: the nodes of the policy, restrictive included, as far as the emulator may run there. Unlike libvirt, whose
/// check reads node numbers as CPU numbers here, automatic placement is seen as the CPU set that it is.
fn prealloc_nodes(cx: Context<'_>, policy: &MemPolicy, page: PageSize, process: &ThreadPlan) -> Option<NodeSet> {
    if !(cx.request.prealloc || page != PageSize::Base) {
        return None;
    }
    let nodes = match process.origin {
        Origin::AllHost => policy.nodes.clone(),
        _ => policy.nodes.intersection(&cx.host.nodes_of(&process.cpus)),
    };
    Some(nodes).filter(|nodes| !cx.host.cpus_of(nodes).is_empty())
}

fn prealloc_cpus(cx: Context<'_>, nodes: &NodeSet, process: &ThreadPlan) -> CpuSet {
    let cpus = cx.host.cpus_of(nodes);
    let both = cpus.intersection(&process.cpus);
    if both.is_empty() { cpus } else { both }
}

fn weaken_pins(cx: Context<'_>, weakened: &mut Vec<Weakening>) {
    let (request, pins) = (cx.request, cx.profile.pins);
    let mut weaken = |what: &str, why: &str| weakened.push(Weakening::new("§6", what, why));
    if !pins.vcpu_hard && !request.vcpu_pins.is_empty() {
        weaken("vcpupin is not applied", "this driver cannot pin vCPUs");
    }
    if !pins.emulator && request.emulator_pin.is_some() {
        weaken("emulatorpin is not applied", "this driver cannot pin the emulator");
    }
    if !pins.io_threads && !request.io_thread_pins.is_empty() {
        weaken("iothreadpin is not applied", "this driver cannot pin I/O threads");
    }
    let sets = request
        .vcpu_pins
        .values()
        .chain(&request.emulator_pin)
        .chain(request.io_thread_pins.values())
        .chain(&request.stored.vcpu_cpuset);
    let offline = sets.fold(CpuSet::new(), |all, set| all.union(&set.difference(cx.host.online_cpus())));
    if !offline.is_empty() {
        weaken(&format!("CPUs {offline} are left out of pins"), "they are not online");
    }
}

fn weaken_policies(cx: Context<'_>, weakened: &mut Vec<Weakening>) {
    let stored = &cx.request.stored;
    if matches!(cx.profile.cells, CellSupport::None) && !cx.request.shape.cells.is_empty() {
        let what = format!("{} guest cells are not presented", cx.request.shape.cells.len());
        weakened.push(Weakening::new("C1", what, "this driver has none"));
    }
    if cx.profile.nodes_per_cell == NodesPerCell::Process && !stored.memnodes.is_empty() {
        weakened.push(Weakening::new("M5", "<memnode> is not applied", "this driver binds the guest as a whole"));
    }
    if cx.request.weighted && !cx.is_weighted() {
        let why = if cx.profile.modes.weighted {
            "this kernel has no weights (Linux 6.9): pages go to each node in turn"
        } else {
            "this driver knows no weights: pages go to each node in turn"
        };
        weakened.push(Weakening::new("kernel", "interleaving by weights", why));
    }
    let restrictive = stored.memory.as_ref().is_some_and(|policy| policy.mode == MemMode::Restrictive);
    if restrictive && !cx.request.kernel.cpuset {
        let why = "no cpuset controller is usable here, and nothing else confines a restrictive guest";
        weakened.push(Weakening::new("Q7", "restrictive memory is not confined", why));
    }
}
