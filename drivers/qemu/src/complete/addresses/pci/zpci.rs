//! Identifiers of PCI functions on s390, where the guest sees them instead of PCI addresses (libvirt's manual, "zPCI addresses").

use std::collections::HashSet;

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, Zpci},
};

use super::super::{
    devices::{Device, all},
    problem,
};
use crate::complete::board;

/// The largest identifier that a user gives.
const MAX_UID: u32 = 0xffff;

/// Gives every device on PCI the lowest free identifiers.
pub(super) fn assign(config: &mut DomainConfig, found: &mut Vec<Problem>) {
    let zpci = |config: &DomainConfig, device: Device| match device.info(&config.devices)?.address.as_ref()? {
        Address::Pci(at) => Some(at.zpci.clone().unwrap_or_default()),
        _ => None,
    };
    let devices: Vec<(Device, Zpci)> =
        all(config).into_iter().filter_map(|device| Some((device, zpci(config, device)?))).collect();
    if board::arch(config) != "s390x" {
        let given = devices.into_iter().filter(|(_, it)| *it != Zpci::default());
        found.extend(given.map(|(device, _)| problem(config, device, "<zpci> is for s390x; leave it out")));
        return;
    }
    let (mut uids, mut fids) = (HashSet::new(), HashSet::new());
    for (device, it) in &devices {
        if let Some(uid) = it.uid.filter(|uid| !uids.insert(*uid)) {
            found.push(problem(config, *device, format!("zPCI uid {uid:#x} is another device's already")));
        }
        if let Some(fid) = it.fid.filter(|fid| !fids.insert(*fid)) {
            found.push(problem(config, *device, format!("zPCI fid {fid:#x} is another device's already")));
        }
    }
    // Identifiers are never given back, so the search goes on where it ended.
    let (mut free_uids, mut free_fids) = (1..=MAX_UID, 0..=u32::MAX);
    for (device, mut it) in devices {
        let Some(uid) = it.uid.or_else(|| free_uids.find(|uid| !uids.contains(uid))) else {
            found.push(problem(config, device, "all 65535 zPCI identifiers are taken"));
            return;
        };
        let fid = it.fid.or_else(|| free_fids.find(|fid| !fids.contains(fid)));
        (it.uid, it.fid) = (Some(uid), fid);
        if let Some(Address::Pci(at)) = device.info_mut(&mut config.devices).and_then(|info| info.address.as_mut()) {
            at.zpci = Some(it);
        }
    }
}
