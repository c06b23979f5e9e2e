//! Rules of single devices: controllers, consoles, sound, shared memory, TPMs, vsock, locks, file systems, USB (manual:
//! formatdomain, the sections of the same names).

use polyvirt_numa_placement::Kib;

use super::{Report, Seen, nth, shown};
use crate::address::{Address, DeviceInfo};
use crate::chardev::{CharEndpoint, ConsoleTargetType, SerialTargetType};
use crate::codec::SizeUnit;
use crate::controller::{Controller, ControllerKind, ControllerModel};
use crate::devices::{Devices, Place};
use crate::disk::DiskBus;
use crate::display::{InputBus, SoundModel};
use crate::hostdev::Hostdev;
use crate::misc::TpmModel;

pub(super) fn check(devices: &Devices, infos: &[(Place, &DeviceInfo)], report: &mut Report<'_>) {
    for (index, controller) in devices.controllers.iter().enumerate() {
        let path = Place::new("controller", devices.controllers.len(), index);
        model(path, controller, report);
        target(path, controller, report);
    }
    consoles(devices, report);
    audio(devices, report);
    shared_memory(devices, report);
    tpms(devices, report);
    vsock(devices, report);
    leases(devices, report);
    filesystems(devices, report);
    usb(devices, infos, report);
    reconnects(devices, report);
}

/// The model is one of the kind.
fn model(path: Place, controller: &Controller, report: &mut Report<'_>) {
    let (Some(kind), Some(model)) = (controller.kind, controller.model) else { return };
    let models = kind.models();
    if !models.contains(&model) {
        let list: Vec<&str> = models.iter().map(|model| model.as_str()).collect();
        let remedy =
            if list.is_empty() { "leave it out".to_owned() } else { format!("possible are {}", list.join(", ")) };
        report.error(format!("{path}/@model"), format!("'{model}' is no model of a '{kind}' controller, {remedy}"));
    }
    let root = matches!(model, ControllerModel::PciRoot | ControllerModel::PcieRoot);
    if model == ControllerModel::PcieRoot && controller.index.is_some_and(|index| index != 0) {
        report.error(format!("{path}/@index"), "the root of PCI Express has index 0");
    }
    if root && controller.info.address.is_some() {
        report.error(format!("{path}/address"), "the root is on no bus, leave <address> out");
    }
    if controller.pcihole64.is_some() && !root {
        report.error(format!("{path}/pcihole64"), "only a root has a 64-bit hole, leave <pcihole64> out");
    }
}

/// Numbers of 8 bits that the guest sees.
fn target(path: Place, controller: &Controller, report: &mut Report<'_>) {
    let Some(target) = &controller.target else { return };
    let numbers = [
        ("chassisNr", target.chassis_nr, 1..=255),
        ("chassis", target.chassis, 0..=255),
        ("port", target.port, 0..=255),
        ("busNr", target.bus_nr, 1..=254),
    ];
    for (name, number, range) in numbers {
        if let Some(number) = number.filter(|number| !range.contains(number)) {
            let message = format!("{name} {number}, {} to {} are possible", range.start(), range.end());
            report.error(format!("{path}/target/@{name}"), message);
        }
    }
}

/// A serial console is the first serial port, so there is one.
fn consoles(devices: &Devices, report: &mut Report<'_>) {
    let serial = |index: &usize| {
        let target = devices.consoles[*index].target.as_ref();
        target.and_then(|target| target.kind) == Some(ConsoleTargetType::Serial)
    };
    for second in (0..devices.consoles.len()).filter(serial).skip(1) {
        let path = format!("/domain/devices/{}/target/@type", nth("console", devices.consoles.len(), second));
        report.error(path, "a second console is the first serial port, use type='virtio' or a <serial>");
    }
}

/// Backends have numbers of their own, and what is played on is there.
fn audio(devices: &Devices, report: &mut Report<'_>) {
    let mut ids = Seen::new();
    for (index, audio) in devices.audios.iter().enumerate() {
        let path = Place::new("audio", devices.audios.len(), index);
        if audio.id == 0 {
            report.error(format!("{path}/@id"), "0 is no number of a backend, they begin with 1");
        } else if ids.insert(audio.id, ()).is_some() {
            report.error(
                format!("{path}/@id"),
                format!("there is a backend {} already, each number is given once", audio.id),
            );
        }
    }
    let sounds = devices.sounds.iter().enumerate().filter_map(|(index, sound)| {
        Some((Place::new("sound", devices.sounds.len(), index), sound.audio.as_ref()?.id))
    });
    let screens = devices.graphics.iter().enumerate().filter_map(|(index, graphics)| {
        Some((Place::new("graphics", devices.graphics.len(), index), graphics.audio.as_ref()?.id))
    });
    for (path, id) in sounds.chain(screens).filter(|(_, id)| !ids.contains(id)) {
        report.error(format!("{path}/audio/@id"), format!("there is no <audio id='{id}'>, add it"));
    }
}

fn shared_memory(devices: &Devices, report: &mut Report<'_>) {
    for (index, shmem) in devices.shmems.iter().enumerate() {
        let path = Place::new("shmem", devices.shmems.len(), index);
        if shmem.name.contains('/') || matches!(shmem.name.as_str(), "" | "." | "..") {
            let message =
                format!("'{}' is no name, which is not empty, '.' or '..' and has no '/'", shown(&shmem.name));
            report.error(format!("{path}/@name"), message);
        }
        let size = shmem.size.as_ref().map(|size| size.size);
        if let Some(size) = size.filter(|size| *size < Kib::from_mib(1) || !size.0.is_power_of_two()) {
            report.error(format!("{path}/size"), format!("{size}, a power of two of at least 1 MiB is possible"));
        }
        let interrupts = shmem.msi.as_ref().is_some_and(|msi| msi.enabled != Some(false));
        if interrupts && shmem.server.is_none() {
            report.error(format!("{path}/msi"), "interrupts come from a server, add <server> or remove <msi>");
        }
    }
}

/// One TPM, and one proxy beside it.
fn tpms(devices: &Devices, report: &mut Report<'_>) {
    let mut seen = Seen::new();
    for (index, tpm) in devices.tpms.iter().enumerate() {
        let proxy = tpm.model == Some(TpmModel::SpaprTpmProxy);
        if seen.insert(proxy, ()).is_some() {
            let path = format!("/domain/devices/{}", nth("tpm", devices.tpms.len(), index));
            report.error(path, if proxy { "a second TPM proxy, there is one" } else { "a second TPM, there is one" });
        }
    }
}

/// 0 to 2 are the hypervisor, the machine itself and the host.
fn vsock(devices: &Devices, report: &mut Report<'_>) {
    let address = devices.vsock.as_ref().and_then(|vsock| vsock.cid.as_ref()).and_then(|cid| cid.address);
    if let Some(address) = address.filter(|address| *address < 3) {
        report.error("/domain/devices/vsock/cid/@address", format!("{address} is reserved, numbers begin with 3"));
    }
}

fn leases(devices: &Devices, report: &mut Report<'_>) {
    let mut seen = Seen::new();
    for (index, lease) in devices.leases.iter().enumerate() {
        if seen.insert((&lease.lockspace, &lease.key), ()).is_some() {
            let path = format!("/domain/devices/{}", nth("lease", devices.leases.len(), index));
            report.error(path, "the lock is given twice, each is taken once");
        }
    }
}

/// A place of the guest holds one file system, and a tag means one.
fn filesystems(devices: &Devices, report: &mut Report<'_>) {
    let mut seen: Seen<&str, usize> = Seen::new();
    for (index, filesystem) in devices.filesystems.iter().enumerate() {
        let path = |index| Place::new("filesystem", devices.filesystems.len(), index);
        if let Some(source) = &filesystem.source
            && let Some(usage) = source.usage
            && let Err(error) = source.units.unwrap_or(SizeUnit::KIB).kib(usage)
        {
            report.error(format!("{}/source/@usage", path(index)), error.message);
        }
        let Some(target) = &filesystem.target else { continue };
        if let Some(other) = seen.insert(target.dir.as_str(), index) {
            let message = format!("{} is '{}' already, each target is given once", path(other), shown(&target.dir));
            report.error(format!("{}/target/@dir", path(index)), message);
        }
    }
}

fn which<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> Vec<usize> {
    all.iter().enumerate().filter(|(_, it)| wanted(it)).map(|(index, _)| index).collect()
}

/// A guest whose USB is switched off has no USB devices.
fn usb(devices: &Devices, infos: &[(Place, &DeviceInfo)], report: &mut Report<'_>) {
    let is_none = |controller: &Controller| {
        controller.kind == Some(ControllerKind::Usb) && controller.model == Some(ControllerModel::None)
    };
    if !devices.controllers.iter().any(is_none) {
        return;
    }
    let mut used: Vec<String> = Vec::new();
    let others = devices.controllers.iter().enumerate();
    let others = others.filter(|(_, it)| it.kind == Some(ControllerKind::Usb) && !is_none(it));
    used.extend(
        others.map(|(index, _)| format!("/domain/devices/{}", nth("controller", devices.controllers.len(), index))),
    );
    let hubs = devices.hubs.len();
    used.extend((0..hubs).map(|index| format!("/domain/devices/{}", nth("hub", hubs, index))));
    let inputs = devices.inputs.iter().enumerate().filter(|(_, input)| input.bus == Some(InputBus::Usb));
    used.extend(inputs.map(|(index, _)| format!("/domain/devices/{}", nth("input", devices.inputs.len(), index))));
    let disks = devices.disks.iter().enumerate();
    let disks = disks.filter(|(_, disk)| disk.target.as_ref().and_then(|target| target.bus) == Some(DiskBus::Usb));
    used.extend(disks.map(|(index, _)| format!("/domain/devices/{}", nth("disk", devices.disks.len(), index))));
    let others = [
        ("redirdev", devices.redirdevs.len(), (0..devices.redirdevs.len()).collect::<Vec<_>>()),
        ("smartcard", devices.smartcards.len(), (0..devices.smartcards.len()).collect()),
        ("hostdev", devices.hostdevs.len(), which(&devices.hostdevs, |it| matches!(it, Hostdev::Usb(_)))),
        ("sound", devices.sounds.len(), which(&devices.sounds, |it| it.model == Some(SoundModel::Usb))),
        (
            "serial",
            devices.serials.len(),
            which(&devices.serials, |it| {
                it.target.as_ref().and_then(|it| it.kind) == Some(SerialTargetType::UsbSerial)
            }),
        ),
    ];
    for (name, count, places) in others {
        used.extend(places.into_iter().map(|index| format!("/domain/devices/{}", nth(name, count, index))));
    }
    for &(place, info) in infos {
        if matches!(info.address, Some(Address::Usb(_))) && !used.contains(&place.path()) {
            used.push(place.path());
        }
    }
    for path in used {
        report.error(path, "USB is switched off by <controller type='usb' model='none'/>, remove that or the device");
    }
}

/// A connection that is made again waits a while first.
fn reconnects(devices: &Devices, report: &mut Report<'_>) {
    let zero = |endpoint: &CharEndpoint| {
        endpoint.reconnect.as_ref().is_some_and(|it| it.enabled == Some(true) && it.timeout == Some(0))
    };
    let (channels, serials) = (&devices.channels, &devices.serials);
    let of_channel = |index: usize| (Place::new("channel", channels.len(), index), &channels[index].backend);
    let of_serial = |index: usize| (Place::new("serial", serials.len(), index), &serials[index].backend);
    let all = (0..channels.len()).map(of_channel).chain((0..serials.len()).map(of_serial));
    for (path, backend) in all {
        if backend.source.first().is_some_and(zero) {
            let path = format!("{path}/source/reconnect/@timeout");
            report.error(path, "0 seconds, at least 1 is possible, or enabled='no'");
        }
    }
}
