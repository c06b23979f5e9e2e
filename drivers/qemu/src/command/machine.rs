//! `-machine`, `-accel`, firmware, clock, lifecycle and boot order.

use std::path::PathBuf;

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig, DomainKind, LifecycleAction,
        clock::{ClockOffset, TickPolicy, TimerName},
        features::Features,
        os::{BootDeviceKind, FirmwareFormat, LoaderType},
    },
};

use super::{
    Args, Folders, Input, hmat,
    option::{Members, Opts, on_off},
};

/// Block nodes of firmware, which are also the machine's properties: code and variables.
const PFLASH: [&str; 2] = ["pflash0", "pflash1"];

pub(super) fn machine(input: &Input<'_>, memory: Option<&str>) -> Result<String> {
    let config = input.config;
    let mut opts = Opts::new(&input.machine()?.name).switch("usb", false).maybe("memory-backend", memory);
    if config.memory.as_ref().and_then(|it| it.dump_core) == Some(false) {
        opts = opts.switch("dump-guest-core", false);
    }
    if config.memory_backing.as_ref().is_some_and(|it| it.nosharepages) {
        opts = opts.switch("mem-merge", false);
    }
    if matches!(input.binary.arch.as_str(), "x86_64" | "i386") {
        opts = x86(opts, config);
    }
    if hmat::wanted(config) {
        opts = opts.switch("hmat", true);
    }
    for node in PFLASH.iter().take(pflash(config, input.folders).len()) {
        opts = opts.with(node, node);
    }
    Ok(opts.build())
}

fn x86(opts: Opts, config: &DomainConfig) -> Opts {
    let none = Features::default();
    let features = config.features.as_ref().unwrap_or(&none);
    let mut timers = config.clock.iter().flat_map(|it| &it.timer);
    let hpet = timers.find(|it| it.name == Some(TimerName::Hpet)).and_then(|it| it.present);
    opts.switch("acpi", features.acpi)
        .maybe("smm", features.smm.as_ref().map(|it| on_off(it.state != Some(false))))
        .maybe("vmport", features.vmport.as_ref().map(|it| on_off(it.state != Some(false))))
        .maybe("hpet", hpet.map(on_off))
}

pub(super) fn accelerator(config: &DomainConfig) -> Result<&'static str> {
    match config.kind {
        DomainKind::Kvm => Ok("kvm"),
        DomainKind::Qemu => Ok("tcg"),
        other => {
            let problem = format!("domain type '{other}' is not QEMU's; use 'kvm' or 'qemu'");
            Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/@type"))
        }
    }
}

/// Descriptions of the block nodes of firmware that is mapped as flash.
fn pflash(config: &DomainConfig, folders: &Folders) -> Vec<String> {
    let Some(loader) = config.os.as_ref().and_then(|it| it.loader.as_ref()) else { return Vec::new() };
    let Some(path) = loader.path.as_ref().filter(|_| loader.kind == Some(LoaderType::Pflash)) else {
        return Vec::new();
    };
    let node = |name, path: &str, format: Option<FirmwareFormat>, readonly| {
        let file = serde_json::json!({"driver": "file", "filename": path, "auto-read-only": true});
        let format = format.map_or("raw", FirmwareFormat::as_str);
        Members::new("driver", format).with("node-name", name).with("read-only", readonly).with("file", file).build()
    };
    let mut nodes = vec![node(PFLASH[0], path, loader.format, loader.readonly != Some(false))];
    if let Some(variables) = variables(config, folders) {
        let format = config.os.as_ref().and_then(|it| it.nvram.as_ref()).and_then(|it| it.format);
        nodes.push(node(PFLASH[1], &variables.to_string_lossy(), format, false));
    }
    nodes
}

/// Where the firmware keeps its variables, if it has a place for them.
pub(crate) fn variables(config: &DomainConfig, folders: &Folders) -> Option<PathBuf> {
    let nvram = config.os.as_ref()?.nvram.as_ref()?;
    Some(nvram.path.as_ref().map_or_else(|| folders.nvram.join(format!("{}_VARS.fd", config.name)), PathBuf::from))
}

pub(super) fn firmware(args: &mut Args, input: &Input<'_>) {
    for node in pflash(input.config, input.folders) {
        args.add("-blockdev", node);
    }
    let loader = input.config.os.as_ref().and_then(|it| it.loader.as_ref());
    if let Some(path) = loader.filter(|it| it.kind != Some(LoaderType::Pflash)).and_then(|it| it.path.as_ref()) {
        args.add("-bios", path);
    }
}

pub(super) fn clock(args: &mut Args, config: &DomainConfig) {
    let clock = config.clock.as_ref();
    let base = match clock.and_then(|it| it.offset) {
        Some(ClockOffset::Localtime) => "localtime".to_owned(),
        Some(ClockOffset::Absolute) => clock.and_then(|it| it.start).map_or("utc".into(), date),
        _ => "utc".into(),
    };
    let policy = |name| clock?.timer.iter().find(|it| it.name == Some(name))?.tickpolicy;
    let slew = policy(TimerName::Rtc) == Some(TickPolicy::Catchup);
    args.add("-rtc", Opts::pair("base", base).maybe("driftfix", slew.then_some("slew")).build());
    // Only KVM's timer chip has the property.
    let lost = policy(TimerName::Pit).filter(|it| matches!(it, TickPolicy::Delay | TickPolicy::Discard));
    if let Some(policy) = lost.filter(|_| config.kind == DomainKind::Kvm) {
        args.add("-global", format!("kvm-pit.lost_tick_policy={policy}"));
    }
}

/// Seconds since 1970 as `-rtc base=` takes them: `2006-06-17T16:01:21`.
pub(crate) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The calendar repeats every 400 years; years that begin on 1 March have their leap day last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// What QEMU does by itself, so that it happens although nobody attends.
pub(super) fn lifecycle(args: &mut Args, config: &DomainConfig) {
    let reboot = match config.on_reboot {
        None | Some(LifecycleAction::Restart | LifecycleAction::RenameRestart) => "reset",
        // Ends QEMU, and who attends does the rest.
        Some(_) => "shutdown",
    };
    let panic = if config.on_crash == Some(LifecycleAction::Preserve) { "pause" } else { "shutdown" };
    args.add("-action", format!("reboot={reboot},shutdown={},panic={panic}", on_shutdown(config)));
}

/// What QEMU does when the guest powers off.
pub(crate) fn on_shutdown(config: &DomainConfig) -> &'static str {
    if config.on_poweroff == Some(LifecycleAction::Preserve) { "pause" } else { "poweroff" }
}

pub(super) fn boot(args: &mut Args, config: &DomainConfig) {
    let os = config.os.as_ref();
    let menu = os.and_then(|it| it.bootmenu.as_ref());
    let opts = Opts::pair("strict", "on")
        .maybe("menu", menu.and_then(|it| it.enable).map(on_off))
        .maybe("splash-time", menu.and_then(|it| it.timeout))
        .maybe("reboot-timeout", os.and_then(|it| it.bios.as_ref()).and_then(|it| it.reboot_timeout));
    args.add("-boot", opts.build());
    let Some(os) = os else { return };
    for (name, value) in [("-kernel", &os.kernel), ("-initrd", &os.initrd), ("-append", &os.cmdline), ("-dtb", &os.dtb)]
    {
        if let Some(value) = value {
            args.add(name, value);
        }
    }
}

/// Numbers for `bootindex`: a device's own, or one from `<boot dev=…>`, which means the first device of that kind.
pub(super) struct BootOrder(Vec<Option<BootDeviceKind>>);

impl BootOrder {
    pub(super) fn of(config: &DomainConfig) -> Self {
        // A kernel given directly needs no device.
        let os = config.os.as_ref().filter(|it| it.kernel.is_none());
        Self(os.iter().flat_map(|it| &it.boot).map(|it| it.dev).collect())
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
    fn dates_of_the_clock() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_150_560_081, "2006-06-17T16:01:21"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn each_place_in_the_boot_order_is_given_once() {
        let mut order = BootOrder(vec![Some(BootDeviceKind::Cdrom), Some(BootDeviceKind::Hd)]);
        assert_eq!(order.take(BootDeviceKind::Hd, None), Some(2));
        assert_eq!(order.take(BootDeviceKind::Hd, None), None);
        assert_eq!(order.take(BootDeviceKind::Cdrom, Some(9)), Some(9));
        assert_eq!(order.take(BootDeviceKind::Cdrom, None), Some(1));
    }
}
