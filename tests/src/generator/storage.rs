//! Disks, what is behind them, and controllers.

use polyvirt::model::{
    address::{Address, DriveAddress, PciAddress},
    disk::{
        BlockIo, Disk, DiskBus, DiskCache, DiskDevice, DiskDriver, DiskIo, DiskTarget, Geometry, IoLimits, IoTune,
        Transient,
    },
    storage::{
        BackingStore, Format, ImageFormat, Named, Slice, SliceType, Slices, Source, SourceAddress, SourceKind,
        StorageHost, StorageProtocol, StorageTransport,
    },
};

use super::Maker;

impl Maker {
    pub(super) fn storage(&mut self) {
        self.controllers();
        let count = self.dice.pick(&[0, 1, 1, 1, 2, 2, 3, 4, 6]);
        for _ in 0..count {
            self.disk();
        }
    }

    fn disk(&mut self) {
        let number = self.targets;
        self.targets += 1;
        let device = self.dice.pick(&[
            DiskDevice::Disk,
            DiskDevice::Disk,
            DiskDevice::Disk,
            DiskDevice::Cdrom,
            DiskDevice::Floppy,
        ]);
        let bus = match device {
            DiskDevice::Floppy => DiskBus::Fdc,
            DiskDevice::Cdrom => self.dice.pick(&[self.ide(), DiskBus::Sata, DiskBus::Scsi]),
            _ => self.dice.pick(&[
                DiskBus::Virtio,
                DiskBus::Virtio,
                DiskBus::Virtio,
                DiskBus::Scsi,
                DiskBus::Sata,
                self.ide(),
                DiskBus::Usb,
            ]),
        };
        let mut disk = Disk::default();
        disk.device = Some(device);
        let Some(name) = self.target(bus, number) else { return };
        let mut target = DiskTarget::default();
        target.dev = name;
        target.bus = Some(bus);
        if bus == DiskBus::Usb {
            target.removable = self.dice.some(40);
        }
        if matches!(bus, DiskBus::Scsi | DiskBus::Sata | DiskBus::Ide) && device == DiskDevice::Disk {
            target.rotation_rate = self.dice.maybe(15, &[1, 7200]);
        }
        if device == DiskDevice::Cdrom || device == DiskDevice::Floppy {
            target.tray = self.dice.some(10);
        }
        disk.target = Some(target);
        let empty = device != DiskDevice::Disk && self.dice.chance(30);
        self.medium(&mut disk, empty);
        let format = disk.driver.take().and_then(|it| it.kind);
        let mut driver = self.disk_driver(bus, device, empty);
        driver.kind = format;
        disk.driver = Some(driver);
        disk.readonly =
            device == DiskDevice::Cdrom || bus != DiskBus::Ide && bus != DiskBus::Sata && self.dice.chance(15);
        self.disk_details(&mut disk, bus);
        if device != DiskDevice::Floppy {
            disk.info.boot = self.next_boot();
        }
        self.add_disk(disk);
    }

    /// IDE where the board has it.
    fn ide(&self) -> DiskBus {
        if self.q35 { DiskBus::Sata } else { DiskBus::Ide }
    }

    /// A name that no other disk has: the letter counts over all buses. `None` where the bus has no more places.
    fn target(&mut self, bus: DiskBus, number: u32) -> Option<String> {
        let taken =
            self.config.devices.disks.iter().filter(|it| it.target.as_ref().and_then(|it| it.bus) == Some(bus)).count();
        let letter = |number: u32| char::from_u32(u32::from(b'a') + number);
        let own = u32::try_from(taken).ok()?;
        Some(match bus {
            DiskBus::Virtio => format!("vd{}", letter(number)?),
            DiskBus::Ide if own < 4 => format!("hd{}", letter(own)?),
            DiskBus::Fdc if own < 2 => format!("fd{}", letter(own)?),
            DiskBus::Ide | DiskBus::Fdc => return None,
            _ => format!("sd{}", letter(number)?),
        })
    }

    /// What is behind a disk.
    fn medium(&mut self, disk: &mut Disk, empty: bool) {
        disk.kind = Some(SourceKind::File);
        if empty {
            return;
        }
        let format = self.dice.pick(&[ImageFormat::Raw, ImageFormat::Qcow2]);
        let at = self.targets;
        let kind = if disk.device == Some(DiskDevice::Disk) { self.dice.number(0, 9) } else { self.dice.number(0, 5) };
        let mut source = Source::default();
        match kind {
            0..=5 => source.file = Some(format!("/images/disk {at}.img")),
            6 => {
                disk.kind = Some(SourceKind::Block);
                source.dev = Some(format!("/dev/disk{at}"));
            }
            7 | 8 => {
                disk.kind = Some(SourceKind::Network);
                source = self.network_source();
            }
            _ => {
                disk.kind = Some(SourceKind::Nvme);
                source.kind = Some(SourceAddress::Pci);
                source.managed = Some(false);
                source.namespace = Some(1);
                let mut address = PciAddress::default();
                (address.domain, address.bus, address.slot, address.function) = (Some(0), Some(1), Some(at), Some(0));
                source.address = Some(address);
            }
        }
        source.startup_policy = if disk.kind == Some(SourceKind::File) && disk.device != Some(DiskDevice::Disk) {
            self.dice.some_but(15, &["requisite"])
        } else {
            None
        };
        if format == ImageFormat::Raw && disk.kind == Some(SourceKind::File) && self.dice.chance(10) {
            let mut slice = Slice::default();
            (slice.kind, slice.offset, slice.size) = (Some(SliceType::Storage), 1_048_576, 16_777_216);
            let mut slices = Slices::default();
            slices.slice.push(slice);
            source.slices = Some(slices);
        }
        disk.source = Some(source);
        if format == ImageFormat::Qcow2 {
            let depth = self.dice.pick(&[0, 0, 1, 2, 3]);
            disk.backing_store = Some(Box::new(self.chain(depth)));
        }
        let mut driver = DiskDriver::default();
        driver.kind = Some(format);
        disk.driver = Some(driver);
    }

    /// A backing chain so deep, with its end.
    fn chain(&mut self, depth: u32) -> BackingStore {
        let mut store = BackingStore::default();
        if depth == 0 {
            return store;
        }
        let mut format = Format::default();
        format.kind = Some(self.dice.pick(&[ImageFormat::Qcow2, ImageFormat::Qcow2, ImageFormat::Raw]));
        let last = format.kind == Some(ImageFormat::Raw);
        let mut source = Source::default();
        if self.dice.chance(20) {
            store.kind = Some(SourceKind::Network);
            source = self.network_source();
        } else {
            store.kind = Some(SourceKind::File);
            source.file = Some(format!("/images/base-{depth}"));
        }
        (store.format, store.source) = (Some(format), Some(source));
        store.backing_store = Some(Box::new(if last { BackingStore::default() } else { self.chain(depth - 1) }));
        store
    }

    fn network_source(&mut self) -> Source {
        let protocol = self.dice.pick(&[
            StorageProtocol::Nbd,
            StorageProtocol::Iscsi,
            StorageProtocol::Rbd,
            StorageProtocol::Https,
        ]);
        let mut source = Source::default();
        source.protocol = Some(protocol);
        let mut host = StorageHost::default();
        host.name = Some(self.dice.pick(&["storage.example", "10.1.2.3", "2001:db8::5"]).to_owned());
        match protocol {
            StorageProtocol::Nbd => {
                source.name = self.dice.maybe(50, &["export, one".to_owned()]);
                if self.dice.chance(40) {
                    host = StorageHost::default();
                    host.transport = Some(StorageTransport::Unix);
                    host.socket = Some("/run/nbd socket".to_owned());
                } else {
                    host.port = Some(10809);
                }
            }
            StorageProtocol::Iscsi => {
                source.name = Some("iqn.2020-01.com.example:target/1".to_owned());
                host.port = self.dice.maybe(50, &[3260, 6000]);
            }
            StorageProtocol::Rbd => {
                source.name = Some("pool/image".to_owned());
                if self.dice.chance(30) {
                    let mut snapshot = Named::default();
                    snapshot.name = "before".to_owned();
                    source.snapshot = Some(snapshot);
                }
            }
            _ => {
                source.name = Some("path/to/image".to_owned());
                host.port = Some(443);
            }
        }
        source.host.push(host);
        source
    }

    fn disk_driver(&mut self, bus: DiskBus, device: DiskDevice, empty: bool) -> DiskDriver {
        let mut driver = DiskDriver::default();
        driver.name = Some("qemu".to_owned());
        driver.cache = self.dice.some(40);
        if !empty {
            driver.error_policy = self.dice.some(25);
            driver.rerror_policy = self.dice.some_but(15, &["enospace"]);
            driver.discard = self.dice.some(25);
            driver.detect_zeroes = self.dice.some(20);
            driver.io = self.dice.some(20);
            if driver.io == Some(DiskIo::Native) && self.dice.chance(90) {
                driver.cache = Some(self.dice.pick(&[DiskCache::None, DiskCache::DirectSync]));
            }
            driver.copy_on_read = if device == DiskDevice::Disk { self.dice.some(8) } else { None };
        }
        if bus == DiskBus::Virtio {
            driver.ioeventfd = self.dice.some(15);
            driver.event_idx = self.dice.some(15);
            driver.queues = self.dice.maybe(20, &[1, 2, 4]);
            driver.queue_size = self.dice.maybe(10, &[128, 256]);
            driver.virtio = self.virtio();
            if self.io_threads > 0 && self.dice.chance(60) {
                driver.iothread = Some(self.dice.number(1, self.io_threads));
            }
        }
        driver
    }

    fn disk_details(&mut self, disk: &mut Disk, bus: DiskBus) {
        let device = disk.device;
        if matches!(bus, DiskBus::Virtio | DiskBus::Scsi | DiskBus::Sata | DiskBus::Ide) {
            disk.serial = self.dice.maybe(20, &["SN 0001".to_owned(), "WD-WMAP9A966149".to_owned()]);
        }
        if matches!(bus, DiskBus::Scsi | DiskBus::Ide) {
            disk.wwn = self.dice.maybe(10, &["5000c50015ea71ad".to_owned()]);
        }
        if bus == DiskBus::Scsi {
            disk.vendor = self.dice.maybe(10, &["SEAGATE".to_owned()]);
            disk.product = self.dice.maybe(10, &["ST3146707LC".to_owned()]);
            if self.dice.chance(20) {
                let mut at = DriveAddress::default();
                (at.controller, at.bus, at.target) = (Some(0), Some(0), Some(0));
                at.unit = Some(u64::from(self.targets));
                disk.info.address = Some(Address::Drive(at));
            }
        }
        if device == Some(DiskDevice::Disk) {
            disk.shareable =
                disk.driver.as_ref().is_some_and(|it| it.kind == Some(ImageFormat::Raw)) && self.dice.chance(8);
            if self.dice.chance(15) {
                let mut sizes = BlockIo::default();
                sizes.logical_block_size = self.dice.maybe(80, &[512, 4096]);
                sizes.physical_block_size = self.dice.maybe(60, &[4096]);
                disk.blockio = Some(sizes);
            }
            if matches!(bus, DiskBus::Ide | DiskBus::Sata | DiskBus::Scsi | DiskBus::Virtio) && self.dice.chance(8) {
                let mut geometry = Geometry::default();
                (geometry.cyls, geometry.heads, geometry.secs) = (1024, 16, 63);
                geometry.trans = if bus == DiskBus::Ide { self.dice.some(50) } else { None };
                disk.geometry = Some(geometry);
            }
            if self.dice.chance(15) {
                disk.iotune = Some(self.throttle());
            }
            let plain = disk.kind == Some(SourceKind::File) && !disk.readonly;
            if self.dice.chance(if plain { 4 } else { 1 }) {
                disk.transient = Some(Transient::default());
            }
        }
        if bus == DiskBus::Virtio && self.dice.chance(10) {
            disk.model = Some(self.dice.word());
        }
    }

    fn throttle(&mut self) -> IoTune {
        let mut limits = IoLimits::default();
        if self.dice.chance(50) {
            limits.total_bytes_sec = Some(10_000_000);
            limits.total_bytes_sec_max = self.dice.maybe(50, &[20_000_000]);
        } else {
            limits.read_bytes_sec = self.dice.maybe(70, &[1_000_000]);
            limits.write_bytes_sec = self.dice.maybe(70, &[2_000_000]);
        }
        limits.total_iops_sec = self.dice.maybe(40, &[300]);
        let mut tune = IoTune::default();
        tune.limits = limits;
        tune
    }
}
