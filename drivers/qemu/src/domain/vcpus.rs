//! Plugging virtual CPUs in and out.
//!
//! QEMU numbers vCPUs by their slots, ordered by socket, die, cluster, core and thread (`query-hotpluggable-cpus` lists them in an
//! order of its own). What is plugged here has the id `vcpuN`, and that alone can be taken out again: vCPUs of the command line stay.
//!
//! A vCPU is given its place one by one, right after it was plugged: the guest has to bring it online before it runs guest code, and
//! until then its thread is where the emulator's are.

use std::time::Duration;

use polyvirt_core::{
    Deadline, Error, ErrorKind, GuestState, OpContext, Result, VcpuChange, VcpuCount, VcpuSelect, VcpusNow,
    async_trait,
    placement::{Plan, PlanDelta, PlanStep, VcpuSet, Weakening},
};
use polyvirt_qmp::{
    CpuPlace, CpuSlot, Event, EventError, Events, Monitor, PlugCpu, QmpError, QueryHotpluggableCpus, QueryStatus,
    UnplugCpu,
};

use super::{ANSWER, QemuDomain, state_of};
use crate::failure::monitor_error;

/// What the path of something that was plugged begins with.
const PLUGGED: &str = "/machine/peripheral/";

/// How long a guest may take to let go of one vCPU.
const LET_GO: Duration = Duration::from_secs(20);

/// A slot, and the vCPUs in it: one, or all threads of a core.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    first: u32,
    device: CpuSlot,
}

impl Slot {
    fn vcpus(&self) -> VcpuSet {
        VcpuSet::of_range(self.first, self.first.saturating_add(self.device.vcpus_count.saturating_sub(1)))
    }

    fn id(&self) -> String {
        format!("vcpu{}", self.first)
    }

    fn is_filled(&self) -> bool {
        self.device.qom_path.is_some()
    }

    fn is_removable(&self) -> bool {
        self.device.qom_path.as_deref().is_some_and(|path| path.starts_with(PLUGGED))
    }
}

/// All slots in the order of their vCPUs.
fn in_order(mut devices: Vec<CpuSlot>) -> Vec<Slot> {
    devices.sort_by_key(|it| {
        let CpuPlace { socket_id, die_id, cluster_id, core_id, thread_id, .. } = it.props;
        [socket_id, die_id, cluster_id, core_id, thread_id].map(|part| part.unwrap_or(0))
    });
    let mut first = 0_u32;
    let number = |device: CpuSlot| {
        let slot = Slot { first, device };
        first = first.saturating_add(slot.device.vcpus_count);
        slot
    };
    devices.into_iter().map(number).collect()
}

fn now(slots: &[Slot]) -> VcpusNow {
    let all = |wanted: fn(&Slot) -> bool| {
        slots.iter().filter(|it| wanted(it)).fold(VcpuSet::new(), |set, it| set.union(&it.vcpus()))
    };
    VcpusNow::new(all(Slot::is_filled), all(Slot::is_removable))
}

async fn slots(monitor: &Monitor, within: Duration) -> Result<Vec<Slot>, QmpError> {
    monitor.execute(&QueryHotpluggableCpus {}, within).await.map(in_order)
}

/// The vCPUs there are, as a guest's attendant tells it.
pub(super) async fn present(monitor: &Monitor, within: Duration) -> Result<VcpusNow, QmpError> {
    slots(monitor, within).await.map(|slots| now(&slots))
}

/// Plugs the vCPUs in that a definition has beside those of the command line; before the guest runs.
pub(crate) async fn plug_at_start(monitor: &Monitor, wanted: &VcpuSet, within: Duration) -> Result<()> {
    let slots = slots(monitor, within).await.map_err(|error| monitor_error(&error))?;
    for slot in chosen(&slots, wanted, true)? {
        plug(monitor, slot, within).await?;
    }
    Ok(())
}

/// The slots to fill or to empty.
fn chosen<'a>(slots: &'a [Slot], vcpus: &VcpuSet, online: bool) -> Result<Vec<&'a Slot>> {
    let all = slots.iter().fold(VcpuSet::new(), |set, it| set.union(&it.vcpus()));
    if !vcpus.is_subset(&all) {
        let last = all.last().map_or(0, |it| it.0);
        let message = format!("there is no vCPU {}; the guest can have 0 to {last}", vcpus.difference(&all));
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let touched: Vec<&Slot> =
        slots.iter().filter(|it| !it.vcpus().is_disjoint(vcpus) && it.is_filled() != online).collect();
    for slot in &touched {
        if !slot.vcpus().is_subset(vcpus) {
            let message = format!("vCPUs {} come and go together, as the threads of one core", slot.vcpus());
            return Err(Error::new(ErrorKind::InvalidArgument, message).hint("name all of them"));
        }
        if !online && !slot.is_removable() {
            let message = format!("vCPU {} was there when the guest started and stays", slot.vcpus());
            return Err(Error::new(ErrorKind::InvalidState, message).hint(
                "vCPUs that were plugged in can be taken out; one that shall go later stands as \
                 <vcpu id='N' enabled='yes' hotpluggable='yes'/> in <vcpus>",
            ));
        }
    }
    Ok(touched)
}

/// The slots to fill or to empty so that there are so many vCPUs.
fn counted(slots: &[Slot], count: u32) -> Result<(VcpuSet, bool)> {
    let present = now(slots);
    let (have, wanted) = (present.online.len(), count as usize);
    let grow = wanted > have;
    let mut missing = wanted.abs_diff(have);
    let usable = |it: &&Slot| if grow { !it.is_filled() } else { it.is_removable() };
    let mut candidates: Vec<&Slot> = slots.iter().filter(usable).collect();
    if !grow {
        candidates.reverse();
    }
    let mut vcpus = VcpuSet::new();
    for slot in candidates {
        let size = slot.vcpus().len();
        if size <= missing {
            missing -= size;
            vcpus = vcpus.union(&slot.vcpus());
        }
    }
    let most = slots.iter().map(|it| it.vcpus().len()).sum::<usize>();
    match missing {
        0 => Ok((vcpus, grow)),
        _ if wanted > most => {
            let message = format!("{count} vCPUs, the guest can have {most}");
            let hint = "more than that come with the next start: `polyvirt setvcpus --maximum --config`";
            Err(Error::new(ErrorKind::InvalidArgument, message).hint(hint))
        }
        _ if grow => {
            let message = format!("{count} vCPUs: here they come by whole cores");
            Err(Error::new(ErrorKind::InvalidArgument, message).hint("choose a multiple of the threads of a core"))
        }
        _ => {
            let fixed = have - present.removable.len();
            let message = format!("{count} vCPUs: {fixed} were there when the guest started and stay");
            Err(Error::new(ErrorKind::InvalidState, message)
                .hint("change the stored definition with --config; it applies at the next start"))
        }
    }
}

async fn plug(monitor: &Monitor, slot: &Slot, within: Duration) -> Result<()> {
    let id = slot.id();
    let order = PlugCpu { driver: &slot.device.r#type, id: &id, place: &slot.device.props };
    let about = |error| monitor_error(&error).with("vCPU", slot.vcpus());
    monitor.execute(&order, within).await.map(drop).map_err(about)
}

/// What an event says of a vCPU that the guest was asked for.
#[derive(Debug, PartialEq)]
enum Answer {
    /// Something of it or of some vCPU is gone: the list of slots says more.
    Look,
    Refused(String),
}

/// ACPI 6.4, 6.3.5 (`_OST`): an answer to an ejection request (3, or 103h if the operating system began it). Without KVM QEMU 7.2 never
/// says that a vCPU is gone, only that its interrupt controller is, and then names no device in the guest's answer.
fn answer(event: &Event, id: &str) -> Option<Answer> {
    let data = &event.data;
    match event.name.as_str() {
        "DEVICE_DELETED" if is_of(data["device"].as_str(), data["path"].as_str(), id) => Some(Answer::Look),
        "DEVICE_UNPLUG_GUEST_ERROR" if data["device"] == id => Some(Answer::Refused("it says no more".into())),
        "ACPI_DEVICE_OST" if data["info"]["slot-type"] == "CPU" => {
            let ejects = matches!(data["info"]["source"].as_u64(), Some(3 | 0x103));
            match data["info"]["status"].as_u64()? {
                0 => ejects.then_some(Answer::Look),
                // Under way.
                0x84 => None,
                status if ejects && data["info"]["device"] == id => {
                    Some(Answer::Refused(format!("_OST status 0x{status:x}")))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_of(device: Option<&str>, path: Option<&str>, id: &str) -> bool {
    let below = || path?.strip_prefix(PLUGGED)?.split('/').next();
    device.or_else(below) == Some(id)
}

/// Whether an event says that something of a vCPU is gone.
pub(super) fn removes(event: &Event) -> bool {
    let data = &event.data;
    let path = data["path"].as_str().and_then(|it| it.strip_prefix(PLUGGED)).and_then(|it| it.split('/').next());
    let number = data["device"].as_str().or(path).and_then(|it| it.strip_prefix("vcpu"));
    event.name == "DEVICE_DELETED" && number.is_some_and(|it| it.parse::<u32>().is_ok())
}

/// Waits until the guest has let go, or has said that it does not.
async fn answered(monitor: &Monitor, events: &mut Events, slot: &Slot) -> Result<()> {
    let id = slot.id();
    loop {
        match events.next().await {
            Ok(event) => match answer(&event, &id) {
                Some(Answer::Refused(why)) => {
                    let message = format!("the guest refused to let go of vCPU {}: {why}", slot.vcpus());
                    return Err(Error::new(ErrorKind::Hypervisor, message).hint("the guest's own log may say why"));
                }
                Some(Answer::Look) => {}
                None => continue,
            },
            Err(EventError::Lagged(_)) => {}
            Err(_) => {
                return Err(Error::new(ErrorKind::Hypervisor, "the guest ended while it was asked for a vCPU"));
            }
        }
        let slots = slots(monitor, ANSWER).await.map_err(|error| monitor_error(&error))?;
        if slots.iter().any(|it| it.first == slot.first && !it.is_filled()) {
            return Ok(());
        }
    }
}

async fn unplug(monitor: &Monitor, slot: &Slot, deadline: Deadline) -> Result<()> {
    let (id, vcpus) = (slot.id(), slot.vcpus());
    let mut events = monitor.subscribe().map_err(|error| monitor_error(&error))?;
    monitor.execute(&UnplugCpu { id: &id }, ANSWER).await.map_err(|error| {
        let told = monitor_error(&error).with("vCPU", &vcpus);
        match &error {
            QmpError::Refused { description, .. } if description.contains("not supported device type") => {
                told.hint("the guest's system has not set CPU hot-plug up; try again when it has booted")
            }
            _ => told,
        }
    })?;
    let within = LET_GO.min(deadline.left());
    match tokio::time::timeout(within, answered(monitor, &mut events, slot)).await {
        Ok(answered) => answered,
        Err(_) => {
            let seconds = within.as_secs();
            let message = format!("the guest has not let go of vCPU {vcpus} within {seconds} s");
            Err(Error::new(ErrorKind::Timeout, message).hint(
                "it may do so yet, and the event 'vcpus-changed' tells; a guest without an operating system that knows CPU hot-plug never does",
            ))
        }
    }
}

impl QemuDomain {
    async fn slots(&self) -> Result<Vec<Slot>> {
        self.shared.execute(&QueryHotpluggableCpus {}).await.map(in_order)
    }

    /// Plugs in, and gives each its place.
    async fn fill(&self, touched: &[&Slot], plan: Option<&Plan>, weakened: &mut Vec<Weakening>) -> Result<()> {
        for slot in touched {
            plug(&self.shared.parts.monitor, slot, ANSWER).await?;
            if let Some(plan) = plan {
                let steps = slot.vcpus().iter().map(PlanStep::PinVcpu).collect();
                let report = self.place(&PlanDelta::new(plan.revision, plan.clone(), steps)).await?;
                weakened.extend(report.weakened);
            }
            self.limit_new_threads(weakened).await?;
        }
        Ok(())
    }

    async fn empty(&self, touched: &[&Slot], deadline: Deadline) -> Result<()> {
        if touched.is_empty() {
            return Ok(());
        }
        if !self.shared.parts.unplugs {
            let message = "vCPUs are not taken out of a guest that runs without KVM: QEMU 7.2 corrupts its memory then, and ends at the next change";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("change the stored definition with --config; 'unplug_emulated = true' in the settings of the qemu driver takes the risk"));
        }
        if state_of(&self.shared.execute(&QueryStatus {}).await?.status) != GuestState::Running {
            let error =
                Error::new(ErrorKind::InvalidState, "the guest does not run: nobody there would let go of a vCPU");
            return Err(error.hint("resume it first"));
        }
        for slot in touched {
            unplug(&self.shared.parts.monitor, slot, deadline).await?;
        }
        Ok(())
    }

    async fn change_vcpus(&self, cx: &OpContext, slots: &[Slot], vcpus: &VcpuSet, online: bool) -> Result<VcpuChange> {
        let mut touched = chosen(slots, vcpus, online)?;
        let mut weakened = Vec::new();
        let done = if online {
            self.fill(&touched, cx.plan.as_ref(), &mut weakened).await
        } else {
            // The last ones first.
            touched.reverse();
            self.empty(&touched, cx.deadline).await
        };
        let mut change = VcpuChange::new(now(&self.slots().await?));
        (change.weakened, change.failed) = (weakened, done.err());
        Ok(change)
    }
}

#[async_trait]
impl VcpuCount for QemuDomain {
    async fn now(&self) -> Result<VcpusNow> {
        self.slots().await.map(|slots| now(&slots))
    }

    async fn set(&self, cx: &OpContext, count: u32) -> Result<VcpuChange> {
        let slots = self.slots().await?;
        let (vcpus, online) = counted(&slots, count)?;
        self.change_vcpus(cx, &slots, &vcpus, online).await
    }
}

#[async_trait]
impl VcpuSelect for QemuDomain {
    async fn select(&self, cx: &OpContext, vcpus: &VcpuSet, online: bool) -> Result<VcpuChange> {
        let slots = self.slots().await?;
        self.change_vcpus(cx, &slots, vcpus, online).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Two sockets of two cores, the first two filled by the command line, the last one plugged; listed as QEMU does.
    fn machine() -> Vec<Slot> {
        let slot = |socket: i64, core: i64, path: Option<&str>| {
            let props = json!({"socket-id": socket, "core-id": core, "thread-id": 0});
            serde_json::from_value(json!({"type": "x-cpu", "vcpus-count": 1, "props": props, "qom-path": path}))
                .unwrap()
        };
        in_order(vec![
            slot(1, 1, Some("/machine/peripheral/vcpu3")),
            slot(1, 0, None),
            slot(0, 1, Some("/machine/unattached/device[1]")),
            slot(0, 0, Some("/machine/unattached/device[0]")),
        ])
    }

    fn set(text: &str) -> VcpuSet {
        text.parse().unwrap()
    }

    #[test]
    fn slots_are_numbered_as_qemu_numbers_vcpus() {
        let slots = machine();
        assert_eq!(slots.iter().map(|it| it.first).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(now(&slots), VcpusNow::new(set("0-1,3"), set("3")));
        // A core of POWER brings all its threads.
        let core =
            |id: i64| serde_json::from_value(json!({"type": "c", "vcpus-count": 4, "props": {"core-id": id}})).unwrap();
        let slots = in_order(vec![core(4), core(0)]);
        assert_eq!(slots[1].vcpus(), set("4-7"));
        let error = chosen(&slots, &set("4-5"), true).unwrap_err();
        assert!(error.message().contains("4-7"), "{error}");
    }

    #[test]
    fn counts_take_the_lowest_free_and_the_highest_removable() {
        let slots = machine();
        assert_eq!(counted(&slots, 4).unwrap(), (set("2"), true));
        assert_eq!(counted(&slots, 2).unwrap(), (set("3"), false));
        assert!(counted(&slots, 3).unwrap().0.is_empty());
        assert_eq!(counted(&slots, 5).unwrap_err().kind(), ErrorKind::InvalidArgument);
        let stay = counted(&slots, 1).unwrap_err();
        assert_eq!(stay.kind(), ErrorKind::InvalidState);
        assert!(stay.message().contains("2 were there"), "{stay}");
    }

    #[test]
    fn what_cannot_come_or_go_is_said_before_anything_is_done() {
        let slots = machine();
        assert_eq!(chosen(&slots, &set("2"), true).unwrap().len(), 1);
        assert!(chosen(&slots, &set("0-1"), true).unwrap().is_empty(), "they are there");
        assert_eq!(chosen(&slots, &set("2,9"), true).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(chosen(&slots, &set("1,3"), false).unwrap_err().kind(), ErrorKind::InvalidState);
    }

    #[test]
    fn answers_of_guests() {
        let ost = |device: Option<&str>, source: u64, status: u64| {
            let mut info = json!({"slot": "2", "slot-type": "CPU", "source": source, "status": status});
            if let Some(device) = device {
                info["device"] = json!(device);
            }
            Event::new("ACPI_DEVICE_OST", json!({ "info": info }))
        };
        assert_eq!(answer(&ost(Some("vcpu2"), 3, 0x84), "vcpu2"), None);
        assert_eq!(answer(&ost(Some("vcpu2"), 1, 0), "vcpu2"), None, "it came");
        assert!(
            matches!(answer(&ost(Some("vcpu2"), 0x103, 1), "vcpu2"), Some(Answer::Refused(why)) if why.contains("0x1"))
        );
        assert_eq!(answer(&ost(Some("vcpu2"), 3, 1), "vcpu3"), None);
        assert_eq!(answer(&ost(None, 3, 0), "vcpu2"), Some(Answer::Look));
        let gone = |data| Event::new("DEVICE_DELETED", data);
        let whole = gone(json!({"device": "vcpu2", "path": "/machine/peripheral/vcpu2"}));
        let part = gone(json!({"path": "/machine/peripheral/vcpu2/lapic"}));
        for event in [&whole, &part] {
            assert_eq!((answer(event, "vcpu2"), answer(event, "vcpu21")), (Some(Answer::Look), None));
            assert!(removes(event));
        }
        assert!(!removes(&gone(json!({"device": "net0", "path": "/machine/peripheral/net0"}))));
    }
}
