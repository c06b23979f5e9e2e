//! A guest built in Rust is the guest that the same XML means.

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

use polyvirt_model::chardev::{Channel, Console, Serial};
use polyvirt_model::controller::{Controller, ControllerKind, ControllerModel};
use polyvirt_model::cpu::{Cell, Cpu};
use polyvirt_model::disk::{Disk, DiskBus, DiskCache, DiskDriver, DiskTarget};
use polyvirt_model::display::{Graphics, Video, VideoType};
use polyvirt_model::features::Features;
use polyvirt_model::filesystem::Filesystem;
use polyvirt_model::hostdev::Hostdev;
use polyvirt_model::interface::{Interface, Mac};
use polyvirt_model::memory::{HugePage, HugePages, MemoryBacking};
use polyvirt_model::misc::{BalloonModel, MemBalloon, Rng};
use polyvirt_model::numatune::{MemNode, NumaTune};
use polyvirt_model::os::Os;
use polyvirt_model::storage::ImageFormat;
use polyvirt_model::vcpu::{CpuTune, Vcpu, VcpuPin};
use polyvirt_model::{
    CpuSet, DomainConfig, DomainKind, Guest, Kib, MemMode, NodeSet, ParseOptions, Positions, Unknown, VcpuSet, address,
    check, complete,
};

/// Both are the same before completion, and the completed one passes through XML, JSON and the rules.
#[track_caller]
fn means(built: &DomainConfig, xml: &str) {
    let parsed = DomainConfig::parse(xml, &ParseOptions::with_unknown(Unknown::Reject));
    assert_eq!(parsed.unwrap_or_else(|problems| panic!("{problems}")).config, *built);
    let mut done = built.clone();
    complete(&mut done, Guest::New, &Positions::default()).unwrap();
    let problems = check(&done, &Positions::default());
    assert!(problems.is_empty(), "{problems}");
    let again = DomainConfig::parse(&done.to_xml(), &ParseOptions::with_unknown(Unknown::Reject)).unwrap().config;
    assert_eq!(again, done);
    let json = serde_json::to_string(&done).unwrap();
    assert_eq!(serde_json::from_str::<DomainConfig>(&json).unwrap(), done);
}

#[test]
fn a_guest_with_automatic_placement() {
    let built = DomainConfig::new(DomainKind::Kvm, "web")
        .with_memory(Kib::from_gib(4))
        .with_vcpu(Vcpu::of(4).auto())
        .with_numatune(NumaTune::auto(MemMode::Strict))
        .with_os(Os::hvm("x86_64", "q35").with_kernel("/boot/a&b").with_cmdline("console=ttyS0"))
        .with_features(Features::default().with_acpi(true))
        .with_device(Disk::file("/images/web.qcow2", "vda").with_format(ImageFormat::Qcow2))
        .with_device(Disk::cdrom("/images/install.iso", "sda"))
        .with_device(Interface::network("default").with_model("virtio").with_mac(Mac::new([0x52, 0x54, 0, 1, 2, 3])))
        .with_device(Serial::pty())
        .with_device(Console::pty())
        .with_device(Channel::guest_agent())
        .with_device(Graphics::vnc())
        .with_device(Video::of(VideoType::Virtio))
        .with_device(MemBalloon::default().with_model(BalloonModel::Virtio))
        .with_device(Rng::random("/dev/urandom"));
    means(
        &built,
        "<domain type='kvm'><name>web</name><memory unit='GiB'>4</memory><vcpu placement='auto'>4</vcpu>
           <numatune><memory mode='strict' placement='auto'/></numatune>
           <os><type arch='x86_64' machine='q35'>hvm</type><kernel>/boot/a&amp;b</kernel><cmdline>console=ttyS0</cmdline></os>
           <features><acpi/></features>
           <devices>
             <disk type='file'><driver type='qcow2'/><source file='/images/web.qcow2'/><target dev='vda'/></disk>
             <disk type='file' device='cdrom'><source file='/images/install.iso'/><target dev='sda'/><readonly/></disk>
             <interface type='network'><mac address='52:54:00:01:02:03'/><source network='default'/><model type='virtio'/></interface>
             <serial type='pty'/><console type='pty'/>
             <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
             <graphics type='vnc' autoport='yes'/>
             <video><model type='virtio'/></video>
             <memballoon model='virtio'/>
             <rng><backend model='random'>/dev/urandom</backend></rng>
           </devices></domain>",
    );
}

#[test]
fn a_guest_with_cells_and_pins() {
    let cell = |first| Cell::new(Kib::from_gib(8)).with_cpus(VcpuSet::of_range(first, first + 3));
    let pin = |vcpu: u32, cpus: &str| VcpuPin::new(vcpu, cpus.parse::<CpuSet>().unwrap());
    let built = DomainConfig::new(DomainKind::Kvm, "db")
        .with_vcpu(Vcpu::of(8))
        .with_cpu(Cpu::host_passthrough().with_cell(cell(0)).with_cell(cell(4)))
        .with_memory_backing(
            MemoryBacking::default().with_hugepages(HugePages::default().with_pages(HugePage::new(Kib::from_gib(1)))),
        )
        .with_cputune(CpuTune::default().with_vcpupin(pin(0, "0-3")).with_vcpupin(pin(4, "8-11,^9")))
        .with_numatune(
            NumaTune::on(MemMode::Interleave, NodeSet::of_range(0, 1))
                .with_memnode(MemNode::on(0, MemMode::Strict, NodeSet::of(0)))
                .with_memnode(MemNode::on(1, MemMode::Strict, NodeSet::of(1))),
        )
        .with_device(
            Disk::block("/dev/vg/db", "sda")
                .with_driver(DiskDriver::default().with_cache(DiskCache::None).with_kind(ImageFormat::Raw))
                .with_target(DiskTarget::new("sda").with_bus(DiskBus::Scsi)),
        )
        .with_device(
            Controller::default()
                .with_kind(ControllerKind::Scsi)
                .with_index(0_u32)
                .with_model(ControllerModel::VirtioScsi),
        )
        .with_device(Interface::bridge("br0"))
        .with_device(Filesystem::virtiofs("/srv", "srv"))
        .with_device(Hostdev::pci(address::PciAddress::at(0, 0x65, 0, 0)))
        .with_device(Serial::unix("/run/db.sock"));
    means(
        &built,
        "<domain type='kvm'><name>db</name><vcpu>8</vcpu>
           <cpu mode='host-passthrough'><numa>
             <cell cpus='0-3' memory='8' unit='GiB'/><cell cpus='4-7' memory='8' unit='GiB'/>
           </numa></cpu>
           <memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>
           <cputune><vcpupin vcpu='0' cpuset='0-3'/><vcpupin vcpu='4' cpuset='8,10-11'/></cputune>
           <numatune><memory mode='interleave' nodeset='0-1'/>
             <memnode cellid='0' mode='strict' nodeset='0'/><memnode cellid='1' mode='strict' nodeset='1'/></numatune>
           <devices>
             <disk type='block'><driver type='raw' cache='none'/><source dev='/dev/vg/db'/><target dev='sda' bus='scsi'/></disk>
             <controller type='scsi' index='0' model='virtio-scsi'/>
             <interface type='bridge'><source bridge='br0'/></interface>
             <filesystem><driver type='virtiofs'/><source dir='/srv'/><target dir='srv'/></filesystem>
             <hostdev type='pci' mode='subsystem' managed='yes'>
               <source><address domain='0' bus='0x65' slot='0' function='0'/></source></hostdev>
             <serial type='unix'><source mode='bind' path='/run/db.sock'/></serial>
           </devices></domain>",
    );
}

#[test]
fn a_container() {
    let built =
        DomainConfig::new(DomainKind::Lxc, "box").with_memory(Kib::from_mib(64)).with_os(Os::container("/bin/sh"));
    means(
        &built,
        "<domain type='lxc'><name>box</name><memory>65536</memory><os><type>exe</type><init>/bin/sh</init></os><devices/></domain>",
    );
}

#[test]
fn values_show_their_types() {
    let disk = Disk::file("/a", "vda").with_format(ImageFormat::Qcow2);
    let guest = DomainConfig::new(DomainKind::Kvm, "a").with_memory(Kib::from_gib(1)).with_device(disk);
    let shown = format!("{guest:?}");
    for typed in ["kind: Kvm", "kind: Some(Qcow2)", "kind: Some(File)", "size: Kib(1048576)"] {
        assert!(shown.contains(typed), "{typed} in {shown}");
    }
    let json = serde_json::to_value(&guest).unwrap();
    assert_eq!(json["memory"]["size"], 1_048_576);
    assert_eq!(json["devices"]["disks"][0]["driver"]["kind"], "qcow2");
}
