//! Devices that a machine has without being asked, and those that every guest gets.

use polyvirt_core::model::{
    DomainConfig, DomainKind, Guest,
    devices::Devices,
    display::{Audio, AudioType, GraphicsKind, Input, InputBus, InputKind, Video},
    features::{Gic, GicVersion, IoApic, IoApicDriver},
    misc::{BalloonModel, IommuDriver, IommuModel, MemBalloon, Panic, Watchdog, WatchdogAction, WatchdogModel},
};

use super::Given;
use crate::{config::Config, machine::Family, probe::Binary};

/// Most vCPUs that 8-bit APIC numbers can name.
const MAX_WITHOUT_EIM: u32 = 255;

pub(super) fn complete(config: &mut DomainConfig, given: &Given<'_>) {
    let (binary, settings, guest) = (given.binary, given.settings, given.choices.guest);
    let family = Family::of_config(config);
    let defaults = family.defaults();
    if family == Family::ArmVirt {
        interrupt_controller(config, binary);
    }
    let unplugged = config.features.as_ref().and_then(|it| it.ps2.as_ref()).and_then(|it| it.state) == Some(false);
    if family == Family::Q35 && guest == Guest::New && config.vcpus_max() > MAX_WITHOUT_EIM {
        many_cpus(config);
    }
    let devices = &mut config.devices;
    if defaults.ps2 && !unplugged && binary.has_type("i8042") {
        inputs(devices, InputBus::Ps2, [InputKind::Mouse, InputKind::Keyboard]);
    }
    let drawn = !devices.graphics.is_empty();
    if drawn && family == Family::Pseries {
        inputs(devices, InputBus::Usb, [InputKind::Keyboard, InputKind::Mouse]);
    }
    if drawn && devices.videos.is_empty() && defaults.video.is_some() {
        devices.videos.push(Video::default());
    }
    audio(devices, settings);
    if defaults.balloon {
        devices.memballoon.get_or_insert_with(|| MemBalloon::default().with_model(BalloonModel::Virtio));
    }
    if defaults.panics && devices.panics.is_empty() {
        devices.panics.push(Panic::default());
    }
    // The chipset's own; what it does when it bites is the machine's to say.
    let itco = |it: &Watchdog| it.model == Some(WatchdogModel::Itco);
    if family == Family::Q35 && binary.has_property("ICH9-LPC", "noreboot") && !devices.watchdogs.iter().any(itco) {
        // All of a guest's watchdogs do the same.
        let action = devices.watchdogs.first().and_then(|it| it.action).unwrap_or(WatchdogAction::Reset);
        let watchdog = Watchdog::default().with_model(WatchdogModel::Itco).with_action(action);
        devices.watchdogs.push(watchdog);
    }
}

/// Interrupts of more CPUs than old APIC numbers can name go through an IOMMU that the guest has anyway (QEMU, `hw/i386/x86-iommu.c`).
fn many_cpus(config: &mut DomainConfig) {
    let Some(iommu) = config.devices.iommu.iter_mut().find(|it| it.model == Some(IommuModel::Intel)) else { return };
    let driver = iommu.driver.get_or_insert_with(IommuDriver::default);
    driver.intremap.get_or_insert(true);
    driver.eim.get_or_insert(true);
    if driver.intremap == Some(true) {
        let ioapic = config.features.get_or_insert_default().ioapic.get_or_insert_with(IoApic::default);
        ioapic.driver.get_or_insert(IoApicDriver::Qemu);
    }
}

fn inputs(devices: &mut Devices, bus: InputBus, kinds: [InputKind; 2]) {
    for kind in kinds {
        let there = |it: &Input| it.kind == Some(kind) && (it.bus == Some(bus) || bus == InputBus::Usb);
        if !devices.inputs.iter().any(there) {
            devices.inputs.push(Input::default().with_kind(kind).with_bus(bus));
        }
    }
}

/// Where sound goes that no `<audio>` says. SPICE carries it; nobody would hear it beside other screens.
fn audio(devices: &mut Devices, settings: &Config) {
    if !devices.audios.is_empty() {
        return;
    }
    let has = |kind| devices.graphics.iter().any(|it| it.kind == Some(kind));
    let kind = match () {
        () if has(GraphicsKind::Spice) => AudioType::Spice,
        () if has(GraphicsKind::Vnc) => AudioType::None,
        // QEMU's own default on Linux.
        () if devices.graphics.is_empty() && settings.nographics_allow_host_audio => AudioType::Alsa,
        () if devices.graphics.is_empty() => AudioType::None,
        // SDL and D-Bus bring their own.
        () => return,
    };
    devices.audios.push(Audio::new(1u32).with_kind(kind));
}

/// ARM's interrupt controller is of the version that the accelerator has.
fn interrupt_controller(config: &mut DomainConfig, binary: &Binary) {
    let virtualised = config.kind == DomainKind::Kvm;
    let features = config.features.get_or_insert_default();
    let gic = features.gic.get_or_insert_with(Gic::default);
    gic.version.get_or_insert_with(|| {
        let known = binary.replies.get("query-gic-capabilities").and_then(|it| it.as_array());
        let mut by_kernel = known.into_iter().flatten().filter(|it| it["kernel"] == true).peekable();
        // QEMU emulates the second version everywhere; a kernel that says nothing has the third.
        let third = by_kernel.peek().is_none() || by_kernel.any(|it| it["version"] == 3);
        if virtualised && third { GicVersion::V3 } else { GicVersion::V2 }
    });
}
