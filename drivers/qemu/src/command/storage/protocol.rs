//! Storage nodes: how the bytes of an image are reached.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::storage::{Encryption, EncryptionEngine, EncryptionFormat, ReservationsSource, SourceKind, StorageProtocol},
};
use serde_json::{Value, json};

use super::{
    super::{Args, Input, Purpose, option::Members},
    Layer,
    secret::{self, Certificates},
    source,
};

/// The members of a storage node, but for those that every node has.
pub(super) fn members(layer: &Layer<'_>, args: &mut Args, input: &Input<'_>, top: &str) -> Result<Members> {
    let source = layer.source;
    match layer.kind {
        SourceKind::File => local("file", source.file.as_deref(), layer, args, input),
        SourceKind::Block => {
            let driver = if is_cdrom(layer, input) { "host_cdrom" } else { "host_device" };
            local(driver, source.dev.as_deref(), layer, args, input)
        }
        SourceKind::Dir => Ok(Members::new("driver", "vvfat")
            .with("dir", source.dir.clone().unwrap_or_default())
            .with("floppy", layer.drive.floppy)
            .with("rw", !layer.readonly)),
        SourceKind::Nvme => nvme(layer),
        SourceKind::Network => network(layer, args, input, top),
        SourceKind::VhostVdpa => {
            let set = args.descriptors(&format!("{}-storage-vdpa", layer.name));
            Ok(Members::new("driver", "virtio-blk-vhost-vdpa").with("path", set))
        }
        other => {
            let problem = format!("an image of type '{other}' cannot be had; use 'file', 'block' or 'network'");
            Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{}/@type", layer.path)))
        }
    }
}

/// Whether a device node is an optical drive's: QEMU then passes its tray on.
///
/// Only a look at the host tells for sure; the link that distributions make is one, and so is SCSI's name.
fn is_cdrom(layer: &Layer<'_>, input: &Input<'_>) -> bool {
    let name = layer.source.dev.as_deref().and_then(|it| it.strip_prefix("/dev/"));
    let run = input.purpose == Purpose::Run;
    layer.drive.cdrom && name.is_some_and(|it| it.starts_with("cdrom") || run && it.starts_with("sr"))
}

fn local(driver: &str, path: Option<&str>, layer: &Layer<'_>, args: &mut Args, input: &Input<'_>) -> Result<Members> {
    let members = Members::new("driver", driver).with("filename", path.unwrap_or_default());
    let reservations = reservations(layer, args, input);
    Ok(members.maybe("aio", layer.drive.io.map(|it| it.as_str())).maybe("pr-manager", reservations))
}

/// Persistent reservations go through a program that may make them.
fn reservations(layer: &Layer<'_>, args: &mut Args, input: &Input<'_>) -> Option<String> {
    let about = layer.source.reservations.as_ref()?;
    if about.managed != Some(false) {
        // One for all disks, and whoever starts the guest starts it.
        args.reservations(&input.folders.run.join("pr-helper0.sock"));
        return Some("pr-helper0".into());
    }
    let path = about.source.as_ref().and_then(|it: &ReservationsSource| it.path.clone()).unwrap_or_default();
    let id = format!("pr-helper-{}-storage", layer.name);
    let object = Members::new("qom-type", "pr-manager-helper").with("id", id.clone()).with("path", path);
    args.add("-object", object.build());
    Some(id)
}

fn nvme(layer: &Layer<'_>) -> Result<Members> {
    let Some(at) = &layer.source.address else {
        let problem = "an NVMe disk needs the PCI address of its controller";
        return Err(
            Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{}/source/address", layer.path))
        );
    };
    Ok(Members::new("driver", "nvme")
        .with("device", super::super::host_address(at))
        .maybe("namespace", layer.source.namespace))
}

fn network(layer: &Layer<'_>, args: &mut Args, input: &Input<'_>, top: &str) -> Result<Members> {
    let source = layer.source;
    let Some(protocol) = source.protocol else {
        let problem = "a network disk needs a protocol such as 'nbd', 'rbd' or 'iscsi'";
        return Err(
            Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{}/source/@protocol", layer.path))
        );
    };
    let user = layer.auth.and_then(|it| it.username.as_deref());
    if input.settings.storage_use_nbdkit && source::nbdkit(protocol) {
        // It speaks the protocol, with the passwords, and QEMU speaks to it.
        let socket = input.folders.run.join(format!("nbdkit-{}-storage.socket", layer.name));
        let server = json!({"type": "unix", "path": socket.to_string_lossy()});
        return Ok(Members::new("driver", "nbd").with("server", server));
    }
    let password = match layer.auth {
        Some(auth) if protocol != StorageProtocol::Ssh => {
            let id = format!("{}-storage-auth-secret0", layer.name);
            secret::object(args, input, &id, auth.secret.as_ref(), &format!("{}/source/auth", layer.path))?;
            Some(id)
        }
        _ => None,
    };
    let wrong = |problem: String| {
        Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{}/source/@protocol", layer.path))
    };
    match protocol {
        StorageProtocol::Nbd => {
            let tls = tls(layer, args, input)?;
            Ok(Members::new("driver", "nbd")
                .with("server", source::typed_server(source.host.first(), protocol))
                .maybe("export", source.name.clone())
                .maybe("tls-hostname", source.tls_hostname.clone().filter(|_| tls.is_some()))
                .maybe("tls-creds", tls)
                .maybe("reconnect-delay", source.reconnect.as_ref().and_then(|it| it.delay)))
        }
        StorageProtocol::Iscsi => Ok(source::iscsi(source).maybe("user", user).maybe("password-secret", password)),
        StorageProtocol::Gluster => Ok(source::gluster(source)),
        StorageProtocol::Rbd => {
            let encrypt = librbd(layer, args, input, top)?;
            let required = password.is_some().then(|| json!(["cephx", "none"]));
            let members = source::rbd(source).maybe("user", user).maybe("encrypt", encrypt);
            Ok(members.maybe("auth-client-required", required).maybe("key-secret", password))
        }
        StorageProtocol::Ssh => Ok(source::ssh(source, user)),
        StorageProtocol::Nfs => Ok(source::nfs(source)),
        StorageProtocol::Http
        | StorageProtocol::Https
        | StorageProtocol::Ftp
        | StorageProtocol::Ftps
        | StorageProtocol::Tftp => {
            let cookies = match &source.cookies {
                Some(cookies) if !cookies.cookie.is_empty() => {
                    let id = format!("{}-storage-httpcookie-secret0", layer.name);
                    secret::object(args, input, &id, None, &format!("{}/source/cookies", layer.path))?;
                    Some(id)
                }
                _ => None,
            };
            Ok(source::url(source, protocol)
                .maybe("username", user.filter(|_| password.is_some()))
                .maybe("password-secret", password)
                .maybe("cookie-secret", cookies))
        }
        other => Err(wrong(format!("this QEMU has no protocol '{other}'; use 'nbd', 'rbd', 'iscsi' or 'https'"))),
    }
}

/// The certificates of an NBD connection, if it is encrypted.
fn tls(layer: &Layer<'_>, args: &mut Args, input: &Input<'_>) -> Result<Option<String>> {
    if !layer.source.tls.unwrap_or(input.settings.nbd_tls && layer.source.host.iter().all(|it| it.socket.is_none())) {
        return Ok(None);
    }
    let id = format!("obj{}-storage_tls0", layer.name);
    let password = format!("{id}-secret0");
    let locked = input.settings.nbd_tls_x509_secret_uuid.is_some();
    if locked {
        secret::object(args, input, &password, None, &format!("{}/source/@tls", layer.path))?;
    }
    let about = Certificates {
        id: &id,
        folder: &input.settings.nbd_tls_x509_cert_dir,
        server: false,
        verify: true,
        password: locked.then_some(&password),
    };
    secret::certificates(args, about);
    Ok(Some(id))
}

/// Encryption that Ceph's library does: the keys of all layers, the outermost first.
fn librbd(layer: &Layer<'_>, args: &mut Args, input: &Input<'_>, top: &str) -> Result<Option<Value>> {
    let with: Option<&Encryption> = layer.encryption.filter(|it| it.engine == Some(EncryptionEngine::Librbd));
    let Some(encryption) = with else { return Ok(None) };
    let scheme = match encryption.format {
        Some(EncryptionFormat::LuksAny) => "luks-any",
        Some(other) => other.as_str(),
        None => "luks",
    };
    let mut nested: Option<Value> = None;
    for (at, secret) in encryption.secret.iter().enumerate().rev() {
        let id = format!("{top}-encryption-secret{at}");
        secret::object(args, input, &id, Some(secret), &format!("{}/encryption", layer.path))?;
        let members = Members::new("format", scheme).with("key-secret", id).maybe("parent", nested);
        nested = Some(members.value());
    }
    Ok(nested)
}
