//! The board: machine type, firmware, boot, features, clock, power.

use polyvirt::model::{
    Kib, LifecycleAction,
    clock::{Clock, ClockAdjustment, ClockOffset, TickPolicy, Timer, TimerName},
    features::{
        Apic, Features, Hyperv, IoApic, IoApicDriver, Kvm, Smm, Spinlocks, Stimer, Switch, Tcg, TlbFlush, VendorId,
    },
    os::{
        Bios, BiosEntry, BiosField, BootDevice, BootDeviceKind, BootMenu, FwcfgEntry, Loader, LoaderType, Nvram,
        OemStrings, Os, Smbios, SmbiosMode, Sysinfo, SysinfoBios, SysinfoSystem, SysinfoType, SystemEntry, SystemField,
    },
    tuning::{Pm, PmState},
};

use super::Maker;

const Q35: &[&str] = &["q35", "q35", "pc-q35-7.2", "pc-q35-6.2", "pc-q35-5.1", "pc-q35-4.0"];
const PC: &[&str] = &["pc", "pc", "pc-i440fx-7.2", "pc-i440fx-6.0", "pc-i440fx-4.2", "pc-i440fx-2.12"];

fn switch(on: bool) -> Switch {
    let mut switch = Switch::default();
    switch.state = Some(on);
    switch
}

impl Maker {
    pub(super) fn board(&mut self) {
        let machine = self.dice.pick(if self.q35 { Q35 } else { PC });
        let mut os = Os::hvm("x86_64", machine);
        self.boot(&mut os);
        if self.dice.chance(15) {
            self.sysinfo(&mut os);
        }
        self.config.os = Some(os);
        self.features();
        self.clock();
        if self.dice.chance(20) {
            let mut pm = Pm::default();
            pm.suspend_to_mem = self.dice.some(70).map(power_state);
            pm.suspend_to_disk = self.dice.some(70).map(power_state);
            self.config.pm = Some(pm);
        }
        self.config.on_poweroff =
            self.dice.maybe(20, &[LifecycleAction::Destroy, LifecycleAction::Destroy, LifecycleAction::Restart]);
        let reboots =
            [LifecycleAction::Restart, LifecycleAction::Restart, LifecycleAction::Restart, LifecycleAction::Destroy];
        self.config.on_reboot = self.dice.maybe(20, &reboots);
        self.config.on_crash = self.dice.some_but(20, &["rename-restart"]);
    }

    fn boot(&mut self, os: &mut Os) {
        match self.dice.number(0, 9) {
            0..=2 => self.boot_order = Some(1),
            3 | 4 => {
                os.kernel = Some("/images/vmlinuz".to_owned());
                os.initrd = self.dice.maybe(60, &["/images/initrd".to_owned()]);
                os.cmdline =
                    self.dice.maybe(60, &["console=ttyS0 quiet".to_owned(), "root=/dev/vda,ro a=b".to_owned()]);
            }
            _ => {
                let mut kinds = vec![BootDeviceKind::Hd, BootDeviceKind::Cdrom, BootDeviceKind::Network];
                while !kinds.is_empty() && (os.boot.is_empty() || self.dice.chance(40)) {
                    let at = usize::try_from(self.dice.number(0, 2)).unwrap_or(0) % kinds.len();
                    let mut device = BootDevice::default();
                    device.dev = Some(kinds.remove(at));
                    os.boot.push(device);
                }
            }
        }
        if self.dice.chance(20) {
            let mut menu = BootMenu::default();
            menu.enable = Some(self.dice.chance(70));
            menu.timeout = (menu.enable == Some(true)).then(|| self.dice.maybe(50, &[3000])).flatten();
            os.bootmenu = Some(menu);
        }
        if self.dice.chance(15) {
            let mut bios = Bios::default();
            bios.useserial = self.dice.some(30);
            bios.reboot_timeout = self.dice.maybe(60, &[-1, 0, 5000]);
            os.bios = Some(bios);
        }
        if self.dice.chance(15) {
            let mut loader = Loader::default();
            loader.path = Some("/images/firmware.fd".to_owned());
            loader.kind = Some(self.dice.word::<LoaderType>());
            if loader.kind == Some(LoaderType::Pflash) {
                loader.readonly = Some(true);
                let mut nvram = Nvram::default();
                nvram.path = Some("/images/vars.fd".to_owned());
                os.nvram = self.dice.maybe(80, &[nvram]);
            }
            os.loader = Some(loader);
        }
    }

    fn sysinfo(&mut self, os: &mut Os) {
        let mut info = Sysinfo::default();
        if self.dice.chance(75) {
            info.kind = Some(SysinfoType::Smbios);
            let mut bios = SysinfoBios::default();
            for field in [BiosField::Vendor, BiosField::Version] {
                if self.dice.chance(60) {
                    let mut entry = BiosEntry::default();
                    (entry.name, entry.value) = (Some(field), Some("Acme, Inc.".to_owned()));
                    bios.entry.push(entry);
                }
            }
            info.bios = (!bios.entry.is_empty()).then_some(bios);
            let mut system = SysinfoSystem::default();
            for field in [SystemField::Manufacturer, SystemField::Product, SystemField::Serial, SystemField::Family] {
                if self.dice.chance(50) {
                    let mut entry = SystemEntry::default();
                    (entry.name, entry.value) = (Some(field), Some("x=1,y".to_owned()));
                    system.entry.push(entry);
                }
            }
            info.system = (!system.entry.is_empty()).then_some(system);
            if self.dice.chance(30) {
                let mut strings = OemStrings::default();
                strings.entry = vec!["first".to_owned(), "second, third".to_owned()];
                info.oem_strings = Some(strings);
            }
            let mut smbios = Smbios::default();
            smbios.mode = Some(SmbiosMode::Sysinfo);
            os.smbios = Some(smbios);
        } else {
            info.kind = Some(SysinfoType::Fwcfg);
            let mut entry = FwcfgEntry::default();
            (entry.name, entry.value) = (Some("opt/com.example/name".to_owned()), Some("a, b".to_owned()));
            info.entry.push(entry);
        }
        self.config.sysinfo.push(info);
    }

    fn features(&mut self) {
        let mut features = Features::default();
        let pflash = self.config.os.as_ref().and_then(|it| it.loader.as_ref()).and_then(|it| it.kind)
            == Some(LoaderType::Pflash);
        features.acpi = self.dice.chance(if pflash { 98 } else { 75 });
        features.apic = self.dice.chance(70).then(|| {
            let mut apic = Apic::default();
            apic.eoi = self.dice.some(10);
            apic
        });
        features.pae = self.dice.chance(30);
        if self.dice.chance(12) {
            features.hyperv = Some(self.hyperv());
        }
        if self.dice.chance(8) {
            let mut kvm = Kvm::default();
            kvm.hidden = Some(switch(self.dice.chance(70)));
            features.kvm = Some(kvm);
        }
        features.pvspinlock = self.dice.some(6).map(switch);
        features.pmu = self.dice.some(15).map(switch);
        features.vmport = self.dice.some(20).map(switch);
        features.vmcoreinfo = self.dice.some(12).map(switch);
        if self.q35 && self.dice.chance(15) {
            let mut smm = Smm::default();
            smm.state = Some(self.dice.chance(70));
            smm.tseg = (smm.state == Some(true))
                .then(|| self.dice.maybe(50, &[Kib::from_mib(16), Kib::from_mib(48)]))
                .flatten();
            features.smm = Some(smm);
        }
        if self.dice.chance(8) {
            let mut ioapic = IoApic::default();
            ioapic.driver = Some(self.dice.word::<IoApicDriver>());
            features.ioapic = Some(ioapic);
        }
        if self.dice.chance(12) {
            let mut tcg = Tcg::default();
            tcg.tb_cache = Some(self.dice.mib(32, 512));
            features.tcg = Some(tcg);
        }
        self.config.features = Some(features);
    }

    fn hyperv(&mut self) -> Hyperv {
        let mut hyperv = Hyperv::default();
        hyperv.relaxed = self.dice.some(60).map(switch);
        hyperv.vapic = self.dice.some(50).map(switch);
        if self.dice.chance(40) {
            let mut spinlocks = Spinlocks::default();
            (spinlocks.state, spinlocks.retries) = (Some(true), Some(8191));
            hyperv.spinlocks = Some(spinlocks);
        }
        hyperv.vpindex = self.dice.some(40).map(switch);
        hyperv.runtime = self.dice.some(30).map(switch);
        hyperv.synic = self.dice.some(30).map(switch);
        hyperv.reset = self.dice.some(30).map(switch);
        hyperv.frequencies = self.dice.some(20).map(switch);
        if self.dice.chance(20) {
            let mut timer = Stimer::default();
            timer.state = Some(true);
            timer.direct = self.dice.some(40).map(switch);
            hyperv.stimer = Some(timer);
        }
        if self.dice.chance(20) {
            let mut flush = TlbFlush::default();
            flush.state = Some(true);
            hyperv.tlbflush = Some(flush);
        }
        if self.dice.chance(30) {
            let mut vendor = VendorId::default();
            (vendor.state, vendor.value) = (Some(true), Some("PolyVendor".to_owned()));
            hyperv.vendor_id = Some(vendor);
        }
        hyperv
    }

    fn clock(&mut self) {
        if !self.dice.chance(60) {
            return;
        }
        let mut clock = Clock::default();
        let offset = self.dice.word::<ClockOffset>();
        clock.offset = Some(offset);
        match offset {
            ClockOffset::Utc | ClockOffset::Localtime => {
                clock.adjustment = self.dice.maybe(15, &[ClockAdjustment::Reset]);
            }
            ClockOffset::Variable => {
                clock.adjustment = Some(ClockAdjustment::Seconds(0));
                clock.basis = self.dice.some(60);
            }
            ClockOffset::Timezone => clock.timezone = Some("Europe/Vienna".to_owned()),
            ClockOffset::Absolute => clock.start = Some(1_700_000_000),
            _ => {}
        }
        for name in [
            TimerName::Rtc,
            TimerName::Pit,
            TimerName::Hpet,
            TimerName::Tsc,
            TimerName::Hypervclock,
            TimerName::Kvmclock,
        ] {
            if self.dice.chance(20) {
                clock.timer.push(self.timer(name));
            }
        }
        self.config.clock = Some(clock);
    }

    fn timer(&mut self, name: TimerName) -> Timer {
        let mut timer = Timer::default();
        timer.name = Some(name);
        match name {
            TimerName::Rtc => timer.tickpolicy = self.dice.maybe(70, &[TickPolicy::Catchup, TickPolicy::Delay]),
            TimerName::Pit => timer.tickpolicy = self.dice.maybe(70, &[TickPolicy::Delay, TickPolicy::Discard]),
            TimerName::Tsc => timer.frequency = self.dice.maybe(70, &[2_400_000_000]),
            _ => timer.present = Some(self.dice.chance(50)),
        }
        if name == TimerName::Rtc {
            timer.track = self.dice.some_but(40, &["boot", "realtime"]);
        }
        timer
    }
}

fn power_state(enabled: bool) -> PmState {
    let mut state = PmState::default();
    state.enabled = Some(enabled);
    state
}
