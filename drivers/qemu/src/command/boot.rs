//! What the guest boots, and what becomes of it when it stops.

use polyvirt_core::model::{DomainConfig, LifecycleAction, address::DeviceInfo, os::BootDeviceKind};

use super::{
    Args, Input,
    option::{Opts, on_off},
};

pub(super) fn boot(args: &mut Args, config: &DomainConfig) {
    let os = config.os.as_ref();
    let menu = os.and_then(|it| it.bootmenu.as_ref());
    let on = menu.is_some_and(|it| it.enable == Some(true));
    let opts = Opts::pair("strict", "on")
        .maybe("menu", menu.and_then(|it| it.enable).map(on_off))
        .maybe("splash-time", menu.and_then(|it| it.timeout).filter(|_| on))
        .maybe("reboot-timeout", os.and_then(|it| it.bios.as_ref()).and_then(|it| it.reboot_timeout));
    args.add("-boot", opts.build());
    let Some(os) = os else { return };
    for (name, value) in [
        ("-kernel", &os.kernel),
        ("-initrd", &os.initrd),
        ("-append", &os.cmdline),
        ("-shim", &os.shim),
        ("-dtb", &os.dtb),
    ] {
        if let Some(value) = value {
            args.add(name, value);
        }
    }
    for table in os.acpi.iter().flat_map(|it| &it.table) {
        if let Some(path) = &table.path {
            let kind = table.kind.map_or("slic", |it| it.as_str());
            let opts = if kind == "rawset" || kind == "raw" {
                Opts::pair("file", path)
            } else {
                Opts::pair("sig", kind.to_uppercase()).with("file", path)
            };
            args.add("-acpitable", opts.build());
        }
    }
}

/// The memory that only firmware sees.
pub(super) fn firmware_memory(args: &mut Args, config: &DomainConfig) {
    let smm = config.features.as_ref().and_then(|it| it.smm.as_ref());
    if let Some(size) = smm.and_then(|it| it.tseg) {
        args.add("-global", format!("mch.extended-tseg-mbytes={}", size.0 >> 10));
    }
}

/// Sleep states of the board.
pub(super) fn sleep(args: &mut Args, input: &Input<'_>) {
    let Some(pm) = &input.config.pm else { return };
    let chip = if input.is_q35() { "ICH9-LPC" } else { "PIIX4_PM" };
    for (state, property) in [(&pm.suspend_to_mem, "disable_s3"), (&pm.suspend_to_disk, "disable_s4")] {
        if let Some(enabled) = state.as_ref().and_then(|it| it.enabled) {
            args.add("-global", format!("{chip}.{property}={}", u8::from(!enabled)));
        }
    }
}

/// What QEMU is told to do by itself, so that it happens although nobody attends: on reboot, power-off and panic.
pub(crate) fn actions(config: &DomainConfig) -> (&'static str, &'static str, &'static str) {
    let reboot = match config.on_reboot {
        None | Some(LifecycleAction::Restart | LifecycleAction::RenameRestart) => "reset",
        // Ends QEMU, and who attends does the rest.
        Some(_) => "shutdown",
    };
    let panic = if config.on_crash == Some(LifecycleAction::Preserve) { "pause" } else { "shutdown" };
    (reboot, on_shutdown(config), panic)
}

/// What QEMU does when the guest powers off.
pub(crate) fn on_shutdown(config: &DomainConfig) -> &'static str {
    if config.on_poweroff == Some(LifecycleAction::Preserve) { "pause" } else { "poweroff" }
}

/// All devices that can stand in the boot order.
pub(super) fn infos(config: &DomainConfig) -> Vec<&DeviceInfo> {
    let devices = &config.devices;
    let disks = devices.disks.iter().map(|it| &it.info);
    let cards = devices.interfaces.iter().map(|it| &it.info);
    let passed = devices.hostdevs.iter().map(|it| it.info());
    disks.chain(cards).chain(passed).chain(devices.redirdevs.iter().map(|it| &it.info)).collect()
}

/// Numbers for `bootindex`: a device's own, or one from `<boot dev=…>`, which means the first device of that kind.
pub(super) struct BootOrder(Vec<Option<BootDeviceKind>>);

impl BootOrder {
    pub(super) fn of(config: &DomainConfig) -> Self {
        Self(config.os.iter().flat_map(|it| &it.boot).map(|it| it.dev).collect())
    }

    /// The number of the next device of this kind, if it has one. Each place is given once.
    pub(super) fn take(&mut self, kind: BootDeviceKind, own: Option<u32>) -> Option<u32> {
        if own.is_some() {
            return own;
        }
        let at = self.0.iter().position(|it| *it == Some(kind))?;
        self.0[at] = None;
        u32::try_from(at).ok()?.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_in_the_boot_order_is_given_once() {
        let mut order = BootOrder(vec![Some(BootDeviceKind::Cdrom), Some(BootDeviceKind::Hd)]);
        assert_eq!(order.take(BootDeviceKind::Hd, None), Some(2));
        assert_eq!(order.take(BootDeviceKind::Hd, None), None);
        assert_eq!(order.take(BootDeviceKind::Cdrom, Some(9)), Some(9));
        assert_eq!(order.take(BootDeviceKind::Cdrom, None), Some(1));
    }
}
