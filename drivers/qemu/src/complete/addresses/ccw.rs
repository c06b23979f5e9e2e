//! Channel addresses of s390. virtio devices are in the channel subsystem 0xfe, which QEMU keeps for them.

use std::collections::HashSet;

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, CcwAddress},
};

use super::{devices::all, problem};

/// The channel subsystem of virtual devices.
const CSSID: u32 = 0xfe;

/// Gives every device that has a channel address its number, the lowest free ones.
pub(super) fn assign(config: &mut DomainConfig, found: &mut Vec<Problem>) {
    let mut taken: HashSet<(u32, u32, u32)> = HashSet::new();
    let devices = all(config);
    for device in &devices {
        if let Some(Address::Ccw(at)) = device.info(&config.devices).and_then(|it| it.address.as_ref())
            && let (Some(cssid), Some(ssid), Some(devno)) = (at.cssid, at.ssid, at.devno)
        {
            taken.insert((cssid, ssid, devno));
        }
    }
    let mut next = 0;
    for device in devices {
        let path = device.path(&config.devices);
        let Some(Address::Ccw(at)) = device.info_mut(&mut config.devices).and_then(|it| it.address.as_mut()) else {
            continue;
        };
        match (at.cssid, at.ssid, at.devno) {
            (Some(_), Some(_), Some(_)) => {}
            (None, None, None) => {
                while taken.contains(&(CSSID, 0, next)) && next <= 0xffff {
                    next += 1;
                }
                if next > 0xffff {
                    found.push(problem(config, device, "all 65536 device numbers of channel subsystem 0xfe are taken"));
                    return;
                }
                taken.insert((CSSID, 0, next));
                let mut place = CcwAddress::default();
                (place.cssid, place.ssid, place.devno) = (Some(CSSID), Some(0), Some(next));
                *at = place;
            }
            _ => {
                let message =
                    "a channel address has cssid, ssid and devno; give all three, or none to have them chosen";
                found.push(Problem::error(format!("{path}/address"), message));
            }
        }
    }
}
