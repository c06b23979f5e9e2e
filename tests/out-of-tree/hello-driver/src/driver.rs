//! Opening, checking, starting, finding again.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use polyvirt_core::{
    Custody, Driver, DriverDescriptor, DriverRecord, Error, ErrorKind, GuestFacts, GuestSupport, Launcher, LiveConfig,
    MachineSupport, Manifest, OpenContext, Opened, ReapContext, Reaped, Reattached, Result, Stage, StartContext,
    StartHow, StartRequest, Started, StopReason, async_trait,
    model::{DomainConfig, Problem, Problems},
    placement::{Owner, Plan},
};
use serde_json::json;

use crate::{DESCRIPTOR, domain::HelloDomain};

/// Version of what [`record`] writes.
const RECORD_VERSION: u32 = 1;

/// All guests of this process, by run directory and number: they outlive connections, as a hypervisor's guests do.
static GUESTS: Mutex<BTreeMap<(PathBuf, u32), Arc<HelloDomain>>> = Mutex::new(BTreeMap::new());

fn guests() -> MutexGuard<'static, BTreeMap<(PathBuf, u32), Arc<HelloDomain>>> {
    GUESTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver, opened for one root.
#[derive(Debug)]
pub(crate) struct HelloDriver {
    run: PathBuf,
}

impl HelloDriver {
    pub(crate) fn open(cx: &OpenContext) -> Opened {
        Ok(Arc::new(Self { run: cx.roots.run.clone() }))
    }

    fn find(&self, id: u32) -> Option<Arc<HelloDomain>> {
        guests().get(&(self.run.clone(), id)).cloned()
    }

    /// Goes through the stages of a start. There is no process: the guest exists from `Spawn` on.
    async fn stages(&self, cx: &StartContext, guest: &Arc<HelloDomain>, paused: bool) -> Result<()> {
        for stage in [Stage::Spawn, Stage::Pid, Stage::Gate, Stage::Handshake, Stage::Monitor, Stage::Pins, Stage::Run]
        {
            cx.cancel.check()?;
            match stage {
                Stage::Spawn => {
                    guests().insert((self.run.clone(), guest.number()), guest.clone());
                }
                Stage::Run if !paused => guest.say_hello().await,
                _ => {}
            }
            match stage {
                Stage::Pid | Stage::Monitor => cx.journal.record(stage, &record(guest.number())?).await?,
                _ => cx.journal.reached(stage).await?,
            }
        }
        Ok(())
    }
}

/// What it takes to find a guest again: its number, and the process it lives in.
fn record(number: u32) -> Result<DriverRecord> {
    let owner = Owner::this_process().map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
    Ok(DriverRecord::new(DESCRIPTOR.name, RECORD_VERSION, json!({ "number": number, "owner": owner })))
}

/// The number in a record; `None` for one of a newer version.
fn number(record: &DriverRecord) -> Option<u32> {
    if record.version > RECORD_VERSION {
        return None;
    }
    record.data.get("number")?.as_u64().and_then(|n| u32::try_from(n).ok())
}

#[async_trait]
impl Driver for HelloDriver {
    fn descriptor(&self) -> &'static DriverDescriptor {
        &DESCRIPTOR
    }

    async fn guests(&self) -> Result<Vec<GuestSupport>> {
        let mut support = GuestSupport::new("hvm", std::env::consts::ARCH);
        support.domain_types = vec!["test".to_owned()];
        support.machines = vec![MachineSupport { name: "hello".to_owned(), alias: None, max_vcpus: 16 }];
        support.notes = vec!["guests run no code and end with the process that started them".to_owned()];
        Ok(vec![support])
    }

    async fn facts(&self, _: &DomainConfig) -> Result<GuestFacts> {
        Ok(GuestFacts::new(()))
    }

    fn complete(&self, _: &mut DomainConfig, _: &GuestFacts) -> Result<()> {
        Ok(())
    }

    fn check(&self, config: &DomainConfig, _: &GuestFacts) -> Result<(), Problems> {
        let mut problems = Problems::default();
        if !config.devices.disks.is_empty() {
            problems.push(Problem::error("/domain/devices/disk[1]", "hello guests have no disks; remove it"));
        }
        if config.vcpus_max() > 16 {
            problems.push(Problem::error(
                "/domain/vcpu",
                format!("{} vCPUs, hello guests have at most 16", config.vcpus_max()),
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn custody(&self) -> Custody<'_> {
        Custody::Ours(self)
    }
}

#[async_trait]
impl Launcher for HelloDriver {
    fn manifest(&self, _: &LiveConfig, _: Option<&Plan>) -> Result<Manifest> {
        Ok(Manifest::default())
    }

    async fn start(&self, cx: &StartContext, request: StartRequest) -> Result<Started> {
        let paused = matches!(request.how, StartHow::Boot { paused: true });
        let guest = Arc::new(HelloDomain::new(request.live.id, cx.events.clone()));
        if let Err(error) = self.stages(cx, &guest, paused).await {
            guests().remove(&(self.run.clone(), guest.number()));
            return Err(error);
        }
        Ok(Started::new(guest, Vec::new()))
    }

    async fn reattach(&self, cx: &StartContext, _: &LiveConfig, record: &DriverRecord) -> Result<Reattached> {
        let Some(number) = number(record) else {
            return Ok(Reattached::Unreachable("its record is of a newer version of the hello driver".to_owned()));
        };
        let Some(guest) = self.find(number) else { return Ok(Reattached::Stopped(StopReason::Unknown)) };
        guest.attend(cx.events.clone());
        Ok(Reattached::Running(guest))
    }

    async fn reap(&self, cx: &ReapContext, record: Option<&DriverRecord>) -> Result<Reaped> {
        let number = record.and_then(number).or(cx.guest.id.map(|id| id.0));
        let removed = number.and_then(|number| guests().remove(&(self.run.clone(), number)));
        Ok(Reaped::new(removed.map(|guest| format!("hello guest {}", guest.number())).into_iter().collect()))
    }

    fn owner(&self, record: &DriverRecord) -> Option<Owner> {
        serde_json::from_value(record.data.get("owner")?.clone()).ok()
    }
}

/// What a call on a guest that stopped is answered.
pub(crate) fn not_running(number: u32) -> Error {
    Error::new(ErrorKind::InvalidState, format!("the hello guest {number} does not run")).hint("start it first")
}
