//! Starting simulated guests, through the same stages as real ones.

use std::sync::Arc;

use polyvirt_core::{
    Access, DriverRecord, Error, ErrorKind, GuestState, Launcher, LiveConfig, Manifest, ReapContext, Reaped,
    Reattached, Resource, Result, Stage, StartContext, StartHow, StartRequest, Started, StopReason, async_trait,
    placement::{Owner, Plan},
};
use serde::{Deserialize, Serialize};

use crate::{
    DESCRIPTOR, devices,
    domain::MockDomain,
    driver::MockDriver,
    save, snapshots,
    world::{MockGuest, World},
};

/// Version of [`Record`].
const RECORD_VERSION: u32 = 1;

/// Where a simulated guest is found again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: u32,
    owner: Owner,
}

pub(crate) fn read(record: &DriverRecord) -> Option<Record> {
    if record.version > RECORD_VERSION {
        return None;
    }
    serde_json::from_value(record.data.clone()).ok()
}

impl MockDriver {
    /// Injects the fault of this stage, if there is one.
    async fn fault(&self, cx: &StartContext, stage: Stage) -> Result<()> {
        cx.cancel.check()?;
        if self.settings.fail_at == Some(stage) {
            return Err(Error::new(
                ErrorKind::Hypervisor,
                format!("the mock hypervisor fails at {stage}, as its setting fail_at says"),
            ));
        }
        if self.settings.hang_at == Some(stage) {
            cx.cancel.guard(cx.deadline.wait("the hanging mock hypervisor", std::future::pending::<()>())).await??;
        }
        Ok(())
    }

    async fn go(&self, cx: &StartContext, request: &StartRequest, guest: &Arc<MockGuest>) -> Result<()> {
        let owner = Owner::this_process().map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
        let data = serde_json::to_value(Record { id: guest.id, owner })
            .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
        let record = DriverRecord::new(DESCRIPTOR.name, RECORD_VERSION, data);
        for stage in [Stage::Spawn, Stage::Pid, Stage::Gate, Stage::Handshake, Stage::Monitor, Stage::Pins, Stage::Run]
        {
            self.fault(cx, stage).await?;
            match stage {
                Stage::Spawn => self.world.add(guest.clone()),
                Stage::Run => match &request.how {
                    StartHow::Boot { paused: true } => {}
                    StartHow::Restore(stream) => save::load(stream, &guest.name)?,
                    StartHow::Revert(snapshot) => snapshots::load(&self.world, &guest.name, snapshot)?,
                    _ => drop(guest.become_state(GuestState::Running).await),
                },
                _ => {}
            }
            match stage {
                Stage::Pid | Stage::Monitor => cx.journal.record(stage, &record).await?,
                _ => cx.journal.reached(stage).await?,
            }
        }
        Ok(())
    }

    fn domain(&self, guest: Arc<MockGuest>, world: Arc<World>) -> Arc<MockDomain> {
        Arc::new(MockDomain { guest, world, settings: self.settings.clone() })
    }
}

#[async_trait]
impl Launcher for MockDriver {
    async fn resolve(&self, live: &mut LiveConfig) -> Result<()> {
        devices::name(&mut live.config);
        Ok(())
    }

    fn manifest(&self, live: &LiveConfig, _: Option<&Plan>) -> Result<Manifest> {
        let disks = live.config.devices.disks.iter().enumerate();
        let files = disks.filter_map(|(i, disk)| {
            let file = disk.source.as_ref()?.file.as_ref()?;
            Some(Resource::existing(
                file,
                format!("/domain/devices/disk[{}]/source/@file", i + 1),
                if disk.readonly { Access::Read } else { Access::Write },
            ))
        });
        Ok(Manifest::new(files.collect()))
    }

    async fn start(&self, cx: &StartContext, request: StartRequest) -> Result<Started> {
        let guest = MockGuest::new(&request.live, request.plan.clone(), cx.events.clone());
        if let Err(error) = self.go(cx, &request, &guest).await {
            self.world.remove(guest.id);
            return Err(error);
        }
        Ok(Started::new(self.domain(guest, self.world.clone()), Vec::new()))
    }

    async fn reattach(&self, cx: &StartContext, _: &LiveConfig, record: &DriverRecord) -> Result<Reattached> {
        let Some(record) = read(record) else {
            return Ok(Reattached::Unreachable("its record is of a newer version of the mock driver".to_owned()));
        };
        if self.settings.unreachable {
            return Ok(Reattached::Unreachable("its setting 'unreachable' says so".to_owned()));
        }
        let Some(guest) = self.world.get(record.id) else {
            return Ok(Reattached::Stopped(StopReason::Unknown));
        };
        if let GuestState::ShutOff(reason) = guest.state() {
            return Ok(Reattached::Stopped(reason));
        }
        guest.attend(cx.events.clone());
        Ok(Reattached::Running(self.domain(guest, self.world.clone())))
    }

    async fn reap(&self, cx: &ReapContext, record: Option<&DriverRecord>) -> Result<Reaped> {
        let id = record.and_then(read).map(|r| r.id).or(cx.guest.id.map(|id| id.0));
        let removed = id.and_then(|id| self.world.remove(id)).map(|guest| format!("simulated guest {}", guest.id));
        Ok(Reaped::new(removed.into_iter().collect()))
    }

    fn owner(&self, record: &DriverRecord) -> Option<Owner> {
        read(record).map(|r| r.owner)
    }
}
