//! That QEMU takes what we write: one guest with everything there is, on each machine.

use polyvirt_core::{DeviceRef, GuestState};
use tokio::io::AsyncWriteExt;

use crate::host::{Host, expect};

#[tokio::test]
async fn qemu_takes_every_device_we_write() {
    let Some(host) = Host::new().await else { return };
    let directory = host.directory.path().display();
    for name in ["a", "b", "c", "d", "e", "f"] {
        std::fs::write(host.directory.path().join(name), [0; 4096]).unwrap();
    }
    let disk = |name: &str, device: &str, target: &str, more: &str| {
        format!(
            "<disk type='file' device='{device}'><source file='{directory}/{name}'/><target {target}/>{more}</disk>"
        )
    };
    let common = [
        disk("b", "disk", "dev='sda' bus='scsi'", "<driver name='qemu' type='raw' cache='none' discard='unmap'/>"),
        disk("c", "disk", "dev='sdb' bus='usb'", "<shareable/>"),
        disk("d", "cdrom", "dev='sdc' bus='sata'", ""),
        "<interface type='user'><model type='virtio'/></interface><interface type='user'/>".into(),
        format!("<serial type='unix'><source mode='bind' path='{directory}/serial'/></serial>"),
        format!("<serial type='file'><source path='{directory}/out'/></serial><serial type='null'/>"),
        "<console type='pty'><target type='serial'/></console><console type='pty'><target type='virtio'/></console>"
            .into(),
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>".into(),
        "<rng model='virtio'><rate bytes='1024'/><backend model='random'>/dev/urandom</backend></rng>".into(),
        "<rng model='virtio'><backend model='builtin'/></rng><panic model='isa'/>".into(),
    ]
    .concat();
    let pc = disk("e", "disk", "dev='hda' bus='ide'", "") + &disk("f", "floppy", "dev='fda'", "");
    let q35 = "<controller type='pci' index='1' model='pcie-root-port'/>\
               <controller type='pci' index='2' model='pcie-to-pci-bridge'/>\
               <interface type='user'><model type='virtio'/><address type='pci' bus='0x01' slot='0x00' function='0x0'/></interface>";
    let more = "<memory unit='MiB'>64</memory><memoryBacking><access mode='shared'/><nosharepages/></memoryBacking>\
                <vcpu current='1'>2</vcpu><iothreads>1</iothreads><cpu mode='maximum'><feature policy='disable' name='vmx'/></cpu>\
                <clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>\
                <on_crash>preserve</on_crash>";
    for (machine, own) in [("pc", pc.as_str()), ("q35", q35)] {
        let live = host.define_on(machine, more, &format!("{common}{own}")).await;
        let guest = host.start(&live, true).await;
        assert_eq!(guest.domain.state().await.unwrap(), GuestState::Paused);
        let virtio = DeviceRef::new("console", 1);
        guest.domain.consoles().unwrap().open(&virtio).await.unwrap();
        assert!(guest.domain.consoles().unwrap().open(&DeviceRef::new("console", 9)).await.is_err());
        guest.destroy().await;
        host.assert_nothing_left();
    }
}

#[tokio::test]
async fn talks_through_a_socket_and_boots_from_q35() {
    let Some(host) = Host::new().await else { return };
    let path = host.directory.path().join("console");
    let mut live = host.define_on("q35", "<memory unit='MiB'>32</memory>", "").await;
    let serial = format!("<serial type='unix'><source mode='bind' path='{}'/></serial>", path.display());
    let text = live.config.to_xml().replace("<serial type='pty'>", &serial.replace("</serial>", ""));
    let mut config = polyvirt_core::model::DomainConfig::parse(&text, &Default::default()).unwrap().config;
    let facts = host.driver.facts(&config).await.unwrap();
    host.driver.complete(&mut config, &facts).unwrap();
    live.config = config;
    let guest = host.start(&live, true).await;
    let mut console = guest.console().await;
    guest.domain.pause().unwrap().resume().await.unwrap();
    expect(&mut console, "hello\n").await;
    console.write_all(b"pong").await.unwrap();
    expect(&mut console, "pong").await;
    guest.destroy().await;
}
