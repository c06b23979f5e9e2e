//! What a running guest tells of its devices.

use polyvirt_core::{EventKind, Result, placement::Kib};

use super::{Actor, write};
use crate::devices::memory;

impl Actor {
    /// A device is gone: it leaves the definition, and what it used is given back.
    pub(super) async fn device_removed(&mut self, alias: String) -> Result<()> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        let record = &mut attached.record;
        let before = record.live()?;
        let mut after = before.clone();
        if let Some((element, at)) = after.config.devices.named(&alias) {
            after.config.remove_device(element, at);
            record.set_live(&after.config);
            let was = record.plan.clone();
            if let (memory::ELEMENT, Some(plan)) = (element, &mut record.plan) {
                *plan = memory::without(plan, at);
            }
            write(&self.shared, record).await?;
            self.shared.give_back((&before, &after), was.as_ref()).await;
            if let (Some(was), Some(now)) = (&was, &record.plan) {
                memory::rebook(&self.shared, was, now).await;
            }
        }
        self.shared.history.tell(record.guest.clone(), EventKind::DeviceRemoved { alias });
        Ok(())
    }

    /// Keeps how much of a memory device the guest uses.
    pub(super) async fn set_memory_device(&mut self, alias: String, size: Kib) -> Result<()> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        let record = &mut attached.record;
        let mut config = record.live()?.config;
        let named = config.devices.named(&alias).filter(|(element, _)| *element == memory::ELEMENT);
        let Some(device) = named.and_then(|(_, at)| config.devices.memories.get_mut(at)) else { return Ok(()) };
        let current = &mut device.target.get_or_insert_default().current;
        if current.replace(size) == Some(size) {
            return Ok(());
        }
        record.set_live(&config);
        // Whoever is told looks at the record.
        let written = write(&self.shared, record).await;
        self.shared.history.tell(record.guest.clone(), EventKind::MemoryDeviceSizeChange { alias, size });
        written
    }

    /// Gives back what was promised for memory that nobody lived to plug in.
    pub(super) async fn settle_memory(&self) {
        let Some(record) = self.attached.as_ref().map(|it| &it.record) else { return };
        let pluggable = record.live().is_ok_and(|live| live.config.max_memory.is_some());
        if let Some(plan) = record.plan.as_ref().filter(|_| pluggable) {
            memory::rebook(&self.shared, plan, plan).await;
        }
    }
}
