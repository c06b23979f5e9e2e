//! That QEMU takes the kinds of devices that few guests have, with the properties that we give them.

use polyvirt_core::GuestState;

use crate::host::Host;

const Q35_MORE: &str = "<maxMemory slots='8' unit='GiB'>4</maxMemory><memory unit='MiB'>640</memory><vcpu>2</vcpu><iothreads>2</iothreads>\
    <throttlegroups><throttlegroup><group_name>g0</group_name><total_bytes_sec>4000000</total_bytes_sec></throttlegroup></throttlegroups>\
    <genid/><sysinfo type='smbios'><system><entry name='product'>a,b</entry></system><oemStrings><entry>x,y</entry></oemStrings></sysinfo>\
    <sysinfo type='fwcfg'><entry name='opt/com.example/name'>v,w</entry></sysinfo>\
    <features><acpi/><apic/><vmcoreinfo state='on'/><vmport state='off'/></features>\
    <cpu mode='maximum'><numa><cell id='0' cpus='0-1' memory='256' unit='MiB'/></numa></cpu>\
    <clock offset='variable' adjustment='60'><timer name='rtc' tickpolicy='catchup' track='guest'/></clock>\
    <pm><suspend-to-mem enabled='no'/></pm>";

/// Devices of a PCIe board; DIR is a folder of the test's.
const Q35: &str = "\
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='threads' discard='unmap' detect_zeroes='unmap' \
      copy_on_read='on' iothread='1' queues='2'/><source file='DIR/a'/><target dev='vdx' bus='virtio'/>\
      <throttlefilters><throttlefilter group='g0'/></throttlefilters><serial>S,1</serial></disk>\
    <disk type='file' device='disk'><driver name='qemu' type='raw' error_policy='enospace'/><source file='DIR/b'/>\
      <target dev='sda' bus='scsi' rotation_rate='7200'/><vendor>SEAGATE</vendor><product>ST3</product><wwn>5000c50015ea71aa</wwn></disk>\
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='DIR/c'/><target dev='sdb' bus='usb' removable='on'/></disk>\
    <disk type='file' device='floppy'><driver name='qemu' type='raw'/><source file='DIR/d'/><target dev='fda' bus='fdc'/></disk>\
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='DIR/e'><slices><slice type='storage' offset='512' size='1024'/>\
      </slices></source><target dev='vdy' bus='virtio'/><shareable/></disk>\
    <controller type='scsi' index='0' model='virtio-scsi'><driver queues='2' max_sectors='512' cmd_per_lun='50' iothread='2'/></controller>\
    <controller type='usb' index='0' model='ich9-ehci1'/><controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/></controller>\
    <controller type='usb' index='0' model='ich9-uhci2'><master startport='2'/></controller>\
    <controller type='usb' index='0' model='ich9-uhci3'><master startport='4'/></controller>\
    <controller type='usb' index='1' model='qemu-xhci' ports='8'/>\
    <filesystem type='mount' accessmode='mapped' fmode='0640' dmode='0750' multidevs='remap'><source dir='DIR'/><target dir='t,1'/><readonly/></filesystem>\
    <interface type='user'><ip address='172.17.2.0' family='ipv4' prefix='24'/><model type='virtio'/>\
      <driver rx_queue_size='512' txmode='iothread'><host csum='off' gso='off' mrg_rxbuf='off'/><guest tso4='off'/></driver></interface>\
    <serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/><protocol type='telnet'/></serial>\
    <channel type='qemu-vdagent'><source><clipboard copypaste='yes'/></source><target type='virtio' name='com.redhat.spice.0'/></channel>\
    <input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/><hub type='usb'/>\
    <graphics type='vnc'><listen type='socket' socket='DIR/vnc,1'/></graphics><audio id='1' type='none'/>\
    <sound model='ich9'><codec type='duplex'/><codec type='micro'/></sound><sound model='usb'/>\
    <video><model type='vga' vram='16384'/></video><video><model type='virtio' heads='2'/></video>\
    <redirdev bus='usb' type='tcp'><source mode='bind' host='127.0.0.1' service='0'/></redirdev>\
    <redirfilter><usbdev class='0x08' allow='yes'/><usbdev allow='no'/></redirfilter>\
    <watchdog model='i6300esb' action='poweroff'/><watchdog model='itco' action='poweroff'/>\
    <memballoon model='virtio' autodeflate='on' freePageReporting='on'/>\
    <rng model='virtio'><rate bytes='1024' period='2000'/><backend model='builtin'/></rng><panic model='pvpanic'/>\
    <shmem name='SHM'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>\
    <memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>\
    <memory model='nvdimm'><source><path>DIR/nv</path></source><target><size unit='MiB'>128</size><node>0</node>\
      <label><size unit='KiB'>128</size></label></target></memory>\
    <memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>64</requested></target></memory>\
    <iommu model='intel'><driver caching_mode='on'/></iommu><crypto model='virtio' type='qemu'><backend model='builtin' queues='1'/></crypto>\
    <pstore backend='acpi-erst'><path>DIR/erst</path><size unit='KiB'>64</size></pstore>";

/// Devices of a PCI board.
const PC: &str = "\
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='writethrough'/><source file='DIR/a'/><target dev='hda' bus='ide'/>\
      <geometry cyls='16' heads='16' secs='63' trans='lba'/><product>WD</product></disk>\
    <disk type='file' device='floppy'><driver name='qemu' type='raw'/><source file='DIR/b'/><target dev='fda' bus='fdc'/></disk>\
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='DIR/c'/><target dev='sda' bus='scsi'/></disk>\
    <controller type='scsi' index='0' model='lsilogic'/>\
    <controller type='pci' index='0' model='pci-root'><pcihole64 unit='GiB'>2</pcihole64></controller><controller type='pci' index='1' model='pci-bridge'/>\
    <controller type='usb' index='0' model='piix3-uhci'/><controller type='ccid' index='0'/>\
    <smartcard mode='passthrough' type='tcp'><source mode='bind' host='127.0.0.1' service='0'/><protocol type='raw'/></smartcard>\
    <serial type='udp'><source mode='connect' host='127.0.0.1' service='47995'/></serial>\
    <channel type='pty'><target type='guestfwd' address='10.0.2.9' port='4600'/></channel><interface type='user'><model type='rtl8139'/></interface>\
    <input type='mouse' bus='usb'/><input type='tablet' bus='usb'/><input type='keyboard' bus='usb'/>\
    <sound model='ac97'/><sound model='es1370'/><sound model='sb16'/><video><model type='cirrus'/></video>\
    <watchdog model='ib700' action='none'/><panic model='isa'><address type='isa' iobase='0x505'/></panic>";

#[tokio::test]
async fn qemu_takes_what_few_guests_have() {
    let Some(host) = Host::new().await else { return };
    let directory = host.directory.path();
    for name in ["a", "b", "c", "d", "e"] {
        std::fs::write(directory.join(name), [0; 8192]).unwrap();
    }
    std::fs::File::create(directory.join("nv")).unwrap().set_len(128 << 20).unwrap();
    let shared = format!("polyvirt-test-{}", std::process::id());
    let pc = "<memory unit='MiB'>64</memory><clock offset='utc'><timer name='pit' tickpolicy='delay'/></clock>\
              <on_poweroff>preserve</on_poweroff>";
    for (machine, more, devices) in [("q35", Q35_MORE, Q35), ("pc", pc, PC)] {
        let devices = devices.replace("DIR", &directory.display().to_string()).replace("SHM", &shared);
        let live = host.define_on(machine, more, &devices).await;
        let guest = host.start(&live, true).await;
        assert_eq!(guest.domain.state().await.unwrap(), GuestState::Paused, "{machine}");
        guest.destroy().await;
        host.assert_nothing_left();
    }
    std::fs::remove_file(std::path::Path::new("/dev/shm").join(shared)).ok();
}
