//! The mock driver.

use std::sync::Arc;

use polyvirt_core::{
    Custody, Driver, DriverDescriptor, Error, ErrorKind, GuestFacts, GuestSupport, LiveConfig, MachineSupport,
    NativeExport, OfflineSnapshots, OpenContext, Opened, OutsideStatistics, Result, TopologySource, async_trait,
    model::{DomainConfig, Problems},
    placement::{PlacementProfile, Plan},
};

use crate::{DESCRIPTOR, config::MockSettings, host::SimulatedHost, world::World};

/// The mock driver, opened.
#[derive(Debug)]
pub(crate) struct MockDriver {
    pub(crate) world: Arc<World>,
    pub(crate) settings: MockSettings,
    profile: PlacementProfile,
    host: Option<SimulatedHost>,
}

impl MockDriver {
    pub(crate) fn open(cx: &OpenContext) -> Opened {
        let settings: MockSettings = cx.settings.typed(DESCRIPTOR.name)?;
        let world = World::of(&cx.roots.run);
        let host = SimulatedHost::of(&settings)?;
        Ok(Arc::new(Self { world, settings, profile: PlacementProfile::qemu(), host }))
    }
}

#[async_trait]
impl Driver for MockDriver {
    fn descriptor(&self) -> &'static DriverDescriptor {
        &DESCRIPTOR
    }

    async fn guests(&self) -> Result<Vec<GuestSupport>> {
        let mut support = GuestSupport::new("hvm", std::env::consts::ARCH);
        support.domain_types = vec!["test".to_owned(), "qemu".to_owned()];
        support.machines = vec![MachineSupport { name: "mock".to_owned(), alias: None, max_vcpus: 4096 }];
        Ok(vec![support])
    }

    async fn facts(&self, _: &DomainConfig) -> Result<GuestFacts> {
        Ok(GuestFacts::new(()))
    }

    fn complete(&self, _: &mut DomainConfig, _: &GuestFacts) -> Result<()> {
        Ok(())
    }

    fn check(&self, _: &DomainConfig, _: &GuestFacts) -> Result<(), Problems> {
        Ok(())
    }

    fn offline_snapshots(&self) -> Option<&dyn OfflineSnapshots> {
        Some(self)
    }

    fn custody(&self) -> Custody<'_> {
        Custody::Ours(self)
    }

    fn placement(&self) -> Option<&PlacementProfile> {
        Some(&self.profile)
    }

    fn topology(&self) -> Option<&dyn TopologySource> {
        self.host.as_ref().map(|host| host as &dyn TopologySource)
    }

    fn outside_statistics(&self) -> Option<&dyn OutsideStatistics> {
        Some(self)
    }
    fn native_export(&self) -> Option<&dyn NativeExport> {
        Some(self)
    }
}

#[async_trait]
impl NativeExport for MockDriver {
    fn formats(&self) -> &'static [&'static str] {
        &["mock-json"]
    }

    async fn export(&self, format: &str, live: &LiveConfig, plan: Option<&Plan>) -> Result<String> {
        if format != "mock-json" {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the mock driver writes mock-json, not '{format}'"),
            ));
        }
        let text = serde_json::json!({ "name": live.config.name, "id": live.id, "plan": plan });
        Ok(format!("{text:#}"))
    }
}
