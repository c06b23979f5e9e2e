//! Registers of pSeries' virtual I/O (PAPR, "VIO"): each kind of device begins at its own, and the next is 0x1000 further on.

use std::collections::HashSet;

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, SpaprVioAddress},
    chardev::SerialTargetType,
    controller::{ControllerKind, ControllerModel},
    misc::TpmModel,
};

use super::{
    devices::{Device, List, all},
    problem,
};
use crate::machine::Family;

/// Where network cards begin.
const VLAN: u64 = 0x1000;
/// Where SCSI controllers begin.
const VSCSI: u64 = 0x2000;
/// Where the NVRAM is.
const NVRAM: u64 = 0x3000;
/// Where the TPM is.
const TPM: u64 = 0x4000;
/// Where terminals begin.
const VTY: u64 = 0x3000_0000;
/// From one device to the next.
const STEP: u64 = 0x1000;

/// Gives devices of virtual I/O their registers.
pub(super) fn assign(config: &mut DomainConfig, found: &mut Vec<Problem>) {
    let pseries = Family::of_config(config) == Family::Pseries;
    let reg = |config: &DomainConfig, device: Device| match device.info(&config.devices)?.address.as_ref()? {
        Address::SpaprVio(at) => at.reg,
        _ => None,
    };
    let mut taken: HashSet<u64> = HashSet::new();
    let devices: Vec<Device> = all(config).into_iter().filter(|it| it.list != List::Console).collect();
    for device in &devices {
        if let Some(reg) = reg(config, *device)
            && !taken.insert(reg)
        {
            found.push(problem(
                config,
                *device,
                format!("register {reg:#x} is another device's already; leave it out"),
            ));
        }
    }
    for device in devices {
        let Some(first) = first(config, device, pseries) else { continue };
        let asked = device.info(&config.devices).is_some_and(|info| match &info.address {
            None => true,
            Some(Address::SpaprVio(at)) => at.reg.is_none(),
            _ => false,
        });
        if !asked {
            continue;
        }
        let free = (0..).map(|step| first + step * STEP).find(|reg| !taken.contains(reg)).unwrap_or(first);
        taken.insert(free);
        let mut at = SpaprVioAddress::default();
        at.reg = Some(free);
        if let Some(info) = device.info_mut(&mut config.devices) {
            info.address = Some(Address::SpaprVio(at));
        }
    }
}

/// Where registers of a device's kind begin; `None` if it is not of virtual I/O.
fn first(config: &DomainConfig, device: Device, pseries: bool) -> Option<u64> {
    let devices = &config.devices;
    let at = device.index;
    match device.list {
        List::Interface => {
            let vlan = devices.interfaces[at].model.as_ref().is_some_and(|it| it.kind == "spapr-vlan");
            vlan.then_some(VLAN)
        }
        List::Controller => {
            let it = &devices.controllers[at];
            let vscsi = it.kind == Some(ControllerKind::Scsi) && it.model == Some(ControllerModel::Ibmvscsi);
            vscsi.then_some(VSCSI)
        }
        List::Serial => {
            let kind = devices.serials[at].target.as_ref().and_then(|it| it.kind);
            let native = kind == Some(SerialTargetType::SpaprVioSerial) || kind.is_none() && pseries;
            native.then_some(VTY)
        }
        List::Nvram => pseries.then_some(NVRAM),
        List::Tpm => (devices.tpms[at].model == Some(TpmModel::TpmSpapr)).then_some(TPM),
        _ => None,
    }
}
