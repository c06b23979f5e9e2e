//! What can be defined and shown here, but not started: it needs somebody to open, run or unlock something for QEMU, and nobody
//! does that yet. Pure; every problem at once, each with its place and what to write instead.

use polyvirt_core::model::{
    DomainConfig, Problem, Problems,
    disk::Disk,
    display::{Graphics, GraphicsKind, ListenType, Video, VideoBackend},
    filesystem::{Filesystem, FilesystemDriverType},
    interface::{Interface, InterfaceBackendType, InterfaceKind},
    misc::{Tpm, TpmBackendType},
    security::LaunchSecurity,
    storage::SourceKind,
};
use polyvirt_core::placement::VcpuSet;

use crate::{probe::Binary, taps};

/// Checks a definition that is about to be started.
pub(crate) fn check(config: &DomainConfig, binary: &Binary) -> Result<(), Problems> {
    let mut found = Vec::new();
    let devices = &config.devices;
    vcpus(config, &mut found);
    each(&devices.disks, "disk", disk, &mut found);
    each(&devices.interfaces, "interface", interface, &mut found);
    for (card, at) in devices.interfaces.iter().zip(1..) {
        let model = crate::command::net::model(card);
        if !binary.has_type(model) {
            let problem = format!("{} has no network card '{model}'; use 'virtio' or 'e1000'", binary.path.display());
            found.push(Problem::error(format!("/domain/devices/interface[{at}]/model/@type"), problem));
        }
    }
    each(&devices.filesystems, "filesystem", filesystem, &mut found);
    each(&devices.tpms, "tpm", tpm, &mut found);
    each(&devices.graphics, "graphics", graphics, &mut found);
    each(&devices.videos, "video", video, &mut found);
    if !devices.hostdevs.is_empty() {
        let problem = "devices of the host are not handed over yet; leave them out, or start QEMU by hand";
        found.push(Problem::error("/domain/devices/hostdev[1]", problem));
    }
    if devices.vsock.as_ref().and_then(|it| it.cid.as_ref()).is_some_and(|it| it.address.is_none()) {
        let problem = "no context id is picked yet; write <cid address='3'/> with one that no other guest has";
        found.push(Problem::error("/domain/devices/vsock/cid", problem));
    }
    if let Some(LaunchSecurity::Sev(sev)) = &config.launch_security
        && (sev.dh_cert.is_some() || sev.session.is_some())
    {
        let problem = "certificates of SEV sessions are not written for QEMU yet; leave <dhCert> and <session> out";
        found.push(Problem::error("/domain/launchSecurity", problem));
    }
    if found.is_empty() { Ok(()) } else { Err(found.into_iter().collect()) }
}

/// QEMU's command line has a number of vCPUs and no choice of them (manual: formatdomain, CPU Allocation, `vcpus`).
fn vcpus(config: &DomainConfig, found: &mut Vec<Problem>) {
    let fixed = config.online_vcpus().difference(&config.removable_vcpus());
    let first = fixed.len().checked_sub(1).and_then(|last| u32::try_from(last).ok());
    if first.map(|last| VcpuSet::of_range(0, last)).as_ref() != Some(&fixed) {
        let problem = format!(
            "vCPUs that cannot be unplugged are the first ones, from 0 on; here they are '{fixed}': write hotpluggable='yes' for the others"
        );
        found.push(Problem::error("/domain/vcpus", problem));
    }
}

/// Longest password of VNC, whose key it is (RFC 6143, section 7.2.2).
const VNC_PASSWORD: usize = 8;

/// What is wrong with one device: where in it, and why.
pub(crate) type Wrong = (&'static str, String);

fn each<T>(devices: &[T], element: &str, check: fn(&T) -> Option<Wrong>, found: &mut Vec<Problem>) {
    for (device, at) in devices.iter().zip(1..) {
        if let Some((place, problem)) = check(device) {
            found.push(Problem::error(format!("/domain/devices/{element}[{at}]{place}"), problem));
        }
    }
}

fn disk(disk: &Disk) -> Option<Wrong> {
    match disk.kind {
        Some(SourceKind::Volume) => {
            return Some((
                "/@type",
                "volumes of pools are not looked up yet; use 'file' with the volume's path".into(),
            ));
        }
        Some(SourceKind::VhostVdpa) => {
            return Some((
                "/@type",
                "vhost-vdpa devices are not opened for QEMU yet; use 'vhostuser' or 'block'".into(),
            ));
        }
        _ => {}
    }
    if disk.transient.is_some() {
        return Some(("/transient", "overlays for transient disks are not made yet; make one with qemu-img".into()));
    }
    let reservations = disk.source.as_ref().and_then(|it| it.reservations.as_ref());
    let managed = reservations.is_some_and(|it| it.managed != Some(false));
    managed.then(|| {
        (
            "/source/reservations",
            "qemu-pr-helper is not started yet; start it and write managed='no' with its socket".into(),
        )
    })
}

fn interface(card: &Interface) -> Option<Wrong> {
    use InterfaceKind::{
        Bridge, Client, Direct, Ethernet, Hostdev, Mcast, Network, Null, Server, Udp, User, VhostUser,
    };
    if card.backend.as_ref().and_then(|it| it.kind) == Some(InterfaceBackendType::Passt) {
        return Some(("/backend/@type", "passt is not started yet; leave <backend> out".into()));
    }
    match card.kind {
        Some(User | Client | Server | Mcast | Udp | Null | VhostUser) => None,
        Some(Bridge | Ethernet) => taps::refusal(card),
        Some(Network) => {
            let problem = "there are no virtual networks yet; join a bridge of the host: type='bridge' and <source bridge='br0'/>";
            Some(("/@type", problem.into()))
        }
        Some(Direct) => {
            let problem =
                "macvtap devices are not made yet; join a bridge of the host: type='bridge' and <source bridge='br0'/>";
            Some(("/@type", problem.into()))
        }
        Some(Hostdev) => {
            Some(("/@type", "devices of the host are not handed over yet; use 'bridge', 'ethernet' or 'user'".into()))
        }
        other => {
            let kind = other.map_or("", InterfaceKind::as_str);
            let problem = format!("interfaces of type '{kind}' cannot be had here; use 'bridge', 'ethernet' or 'user'");
            Some(("/@type", problem))
        }
    }
}

fn filesystem(folder: &Filesystem) -> Option<Wrong> {
    let virtiofs = folder.driver.as_ref().and_then(|it| it.kind) == Some(FilesystemDriverType::Virtiofs);
    let socket = folder.source.as_ref().is_some_and(|it| it.socket.is_some());
    if !virtiofs || socket {
        return None;
    }
    if folder.readonly {
        return Some((
            "/readonly",
            "virtiofsd is started for folders that can be written alone; use a 9p filesystem".into(),
        ));
    }
    folder.idmap.as_ref().map(|_| ("/idmap", "virtiofsd is started without maps of users yet; leave it out".into()))
}

fn tpm(tpm: &Tpm) -> Option<Wrong> {
    let backend = tpm.backend.as_ref().filter(|it| it.kind == Some(TpmBackendType::Emulator))?;
    if backend.encryption.is_some() {
        return Some(("/backend/encryption", "secrets are not handed to swtpm yet; leave it out".into()));
    }
    let set_up = backend.profile.is_some() || backend.active_pcr_banks.is_some();
    set_up.then(|| ("/backend", "swtpm_setup is not run yet; leave <profile> and <active_pcr_banks> out".into()))
}

fn graphics(display: &Graphics) -> Option<Wrong> {
    let long = display.passwd.as_ref().is_some_and(|it| it.len() > VNC_PASSWORD);
    if display.kind == Some(GraphicsKind::Vnc) && long {
        let problem = format!("a password of VNC has at most {VNC_PASSWORD} bytes; write a shorter one");
        return Some(("/@passwd", problem));
    }
    let first = display.listens.first();
    let kind = first.and_then(|it| it.kind);
    if kind == Some(ListenType::Network) {
        return Some(("/listen", "addresses of networks are not looked up yet; write <listen type='address'/>".into()));
    }
    match display.kind {
        Some(GraphicsKind::Vnc | GraphicsKind::Spice) => None,
        Some(GraphicsKind::Dbus) if display.p2p != Some(true) && display.address.is_none() => {
            Some(("/@type", "no bus is started yet; write the address of one, or p2p='yes'".into()))
        }
        Some(GraphicsKind::Dbus | GraphicsKind::EglHeadless) => None,
        other => {
            let kind = other.map_or("", GraphicsKind::as_str);
            Some(("/@type", format!("displays of type '{kind}' cannot be had yet; use 'vnc'")))
        }
    }
}

fn video(video: &Video) -> Option<Wrong> {
    let other = video.driver.as_ref().and_then(|it| it.name) == Some(VideoBackend::VhostUser);
    other.then(|| ("/driver/@name", "vhost-user-gpu is not started yet; use name='qemu'".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn problems(devices: &str) -> Vec<String> {
        let text = format!("<domain type='qemu'><name>a</name><devices>{devices}</devices></domain>");
        let config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        check(&config, &crate::testing::recorded())
            .err()
            .map(|it| it.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    #[test]
    fn what_nobody_provides_is_named_with_a_way_out() {
        for (devices, path, expected) in [
            ("<interface type='network'/>", "interface[1]/@type", "<source bridge='br0'/>"),
            ("<interface type='direct'/>", "interface[1]/@type", "macvtap"),
            ("<interface type='internal'/>", "interface[1]/@type", "use 'bridge'"),
            ("<interface type='bridge'/>", "interface[1]/source/@bridge", "<source bridge='br0'/>"),
            ("<interface type='ethernet'><target managed='no'/></interface>", "interface[1]/target/@dev", "tap0"),
            (
                "<interface type='bridge'><mac address='fe:54:00:00:00:01'/><source bridge='b'/></interface>",
                "interface[1]/mac/@address",
                "52:54:00:00:00:01",
            ),
            (
                "<interface type='bridge'><source bridge='b'/><filterref filter='clean'/></interface>",
                "interface[1]/filterref",
                "leave it out",
            ),
            (
                "<interface type='bridge'><source bridge='b'/><vlan><tag id='4'/></vlan></interface>",
                "interface[1]/vlan",
                "bridge vlan",
            ),
            ("<interface type='ethernet'><script path='/up'/></interface>", "interface[1]/script", "managed='no'"),
            (
                "<interface type='user'><backend type='passt'/></interface>",
                "interface[1]/backend/@type",
                "leave <backend> out",
            ),
            (
                "<interface type='user'><model type='warp'/></interface>",
                "interface[1]/model/@type",
                "no network card 'warp'",
            ),
            ("<disk type='volume'/>", "disk[1]/@type", "use 'file'"),
            ("<disk type='file'><transient/></disk>", "disk[1]/transient", "qemu-img"),
            (
                "<disk type='block'><source dev='/d'><reservations managed='yes'/></source></disk>",
                "disk[1]/source/reservations",
                "managed='no'",
            ),
            ("<filesystem><driver type='virtiofs'/><readonly/></filesystem>", "filesystem[1]/readonly", "9p"),
            ("<tpm><backend type='emulator'><profile name='a'/></backend></tpm>", "tpm[1]/backend", "leave <profile>"),
            ("<graphics type='vnc' port='5901' passwd='123456789'/>", "graphics[1]/@passwd", "at most 8 bytes"),
            ("<graphics type='sdl'/>", "graphics[1]/@type", "use 'vnc'"),
            ("<hostdev type='usb'/>", "hostdev[1]", "leave them out"),
            ("<vsock><cid auto='yes'/></vsock>", "vsock/cid", "address='3'"),
        ] {
            let found = problems(devices);
            let path = format!("/domain/devices/{path}: ");
            assert!(found.iter().any(|it| it.starts_with(&path) && it.contains(expected)), "{devices}: {found:?}");
        }
        let fine = "<interface type='user'/><interface type='ethernet'><target dev='t' managed='no'/></interface>\
                    <interface type='ethernet'/><interface type='bridge'><source bridge='br0'/></interface>\
                    <disk type='network'><source protocol='nbd' name='x'><host name='h'/></source></disk>\
                    <graphics type='vnc'><listen type='socket' socket='/s'/></graphics><graphics type='vnc' passwd='12345678'/>";
        assert_eq!(problems(fine), [""; 0]);
    }
}
