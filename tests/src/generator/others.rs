//! Devices of which a guest has one or two.

use polyvirt::model::{
    Kib,
    chardev::{RedirBus, RedirDev},
    filesystem::{
        Filesystem, FilesystemDriver, FilesystemDriverType, FilesystemKind, FilesystemSource, FilesystemTarget,
    },
    misc::{
        BalloonModel, BalloonStats, Hub, HubType, Iommu, IommuDriver, IommuModel, MemBalloon, Panic, PanicModel, Rng,
        RngBackend, RngModel, RngRate, Shmem, ShmemModel, ShmemServer, ShmemSize, ShmemType, Vsock, VsockCid, Watchdog,
        WatchdogModel,
    },
    security::{LabelType, SecLabel},
};

use super::Maker;

impl Maker {
    pub(super) fn others(&mut self) {
        if self.dice.chance(60) {
            self.balloon();
        }
        for _ in 0..self.dice.pick(&[0, 0, 1, 2]) {
            self.rng();
        }
        if self.dice.chance(20) {
            self.watchdog();
        }
        if self.dice.chance(20) {
            let mut panic = Panic::default();
            panic.model = Some(self.dice.pick(&[PanicModel::Isa, PanicModel::Hyperv]));
            self.config.devices.panics.push(panic);
        }
        if self.dice.chance(15) {
            self.vsock();
        }
        if self.dice.chance(12) {
            self.shmem();
        }
        if self.q35 && self.dice.chance(12) {
            self.iommu();
        }
        if self.dice.chance(15) {
            self.filesystem();
        }
        if self.dice.chance(12) {
            let (kind, backend) = self.backend("redir0");
            let mut device = RedirDev::default();
            device.bus = Some(RedirBus::Usb);
            (device.kind, device.backend) = (Some(kind), backend);
            self.config.devices.redirdevs.push(device);
        }
        if self.dice.chance(8) {
            let mut hub = Hub::default();
            hub.kind = Some(HubType::Usb);
            self.config.devices.hubs.push(hub);
        }
        if self.dice.chance(25) {
            let mut label = SecLabel::default();
            label.kind = Some(LabelType::None);
            self.config.seclabel.push(label);
        }
    }

    fn balloon(&mut self) {
        let mut balloon = MemBalloon::default();
        balloon.model = Some(self.dice.word_but::<BalloonModel>(&["xen"]));
        if balloon.model != Some(BalloonModel::None) {
            balloon.autodeflate = self.dice.some(20);
            balloon.free_page_reporting = self.dice.some(20);
            if self.dice.chance(20) {
                let mut stats = BalloonStats::default();
                stats.period = 10;
                balloon.stats = Some(stats);
            }
        }
        self.config.devices.memballoon = Some(balloon);
    }

    fn rng(&mut self) {
        let mut rng = Rng::default();
        rng.model = Some(self.dice.word());
        if self.dice.chance(40) {
            let mut rate = RngRate::default();
            rate.bytes = 1024;
            rate.period = self.dice.maybe(60, &[1000, 2500]);
            rng.rate = Some(rate);
        }
        let mut backend = RngBackend::default();
        let kind = self.dice.word::<RngModel>();
        backend.model = Some(kind);
        match kind {
            RngModel::Random => {
                backend.path = self.dice.maybe(60, &["/dev/urandom".to_owned(), "/dev/random".to_owned()])
            }
            RngModel::Egd => {
                let (kind, source) = self.backend("rng0");
                (backend.kind, backend.source) = (Some(kind), source);
            }
            _ => {}
        }
        rng.backend = Some(backend);
        self.config.devices.rngs.push(rng);
    }

    fn watchdog(&mut self) {
        let mut watchdog = Watchdog::default();
        watchdog.model = Some(self.dice.pick(&[WatchdogModel::I6300esb, WatchdogModel::Ib700]));
        watchdog.action = self.dice.some(80);
        self.config.devices.watchdogs.push(watchdog);
    }

    fn vsock(&mut self) {
        let mut vsock = Vsock::default();
        vsock.model = self.dice.some(60);
        let mut cid = VsockCid::default();
        (cid.auto, cid.address) = (Some(false), Some(7));
        vsock.cid = Some(cid);
        self.config.devices.vsock = Some(vsock);
    }

    fn shmem(&mut self) {
        let mut shmem = Shmem::default();
        shmem.name = "shared0".to_owned();
        let mut model = ShmemModel::default();
        let kind = self.dice.word_but::<ShmemType>(&["ivshmem"]);
        model.kind = Some(kind);
        shmem.model = Some(model);
        if kind == ShmemType::IvshmemDoorbell {
            let mut server = ShmemServer::default();
            server.path = self.dice.maybe(50, &["/tmp/shmem, socket".to_owned()]);
            shmem.server = Some(server);
        } else {
            let mut size = ShmemSize::default();
            size.size = Kib::from_mib(4);
            shmem.size = Some(size);
            shmem.role = self.dice.some(30);
        }
        self.config.devices.shmems.push(shmem);
    }

    fn iommu(&mut self) {
        let mut iommu = Iommu::default();
        iommu.model = Some(self.dice.pick(&[IommuModel::Intel, IommuModel::Intel, IommuModel::Virtio]));
        if iommu.model == Some(IommuModel::Intel) {
            let mut driver = IommuDriver::default();
            driver.caching_mode = self.dice.some(30);
            driver.iotlb = self.dice.some(30);
            driver.aw_bits = self.dice.maybe(30, &[39, 48]);
            iommu.driver = Some(driver);
        }
        self.config.devices.iommu.push(iommu);
    }

    fn filesystem(&mut self) {
        let mut shared = Filesystem::default();
        shared.kind = Some(FilesystemKind::Mount);
        shared.accessmode = self.dice.some(60);
        shared.model = self.dice.some(20);
        shared.readonly = self.dice.chance(25);
        let mut driver = FilesystemDriver::default();
        driver.kind = self.dice.maybe(50, &[FilesystemDriverType::Path]);
        shared.driver = (driver != FilesystemDriver::default()).then_some(driver);
        let mut source = FilesystemSource::default();
        source.dir = Some("/export/to, guest".to_owned());
        let mut target = FilesystemTarget::default();
        target.dir = "tag".to_owned();
        (shared.source, shared.target) = (Some(source), Some(target));
        self.config.devices.filesystems.push(shared);
    }
}
