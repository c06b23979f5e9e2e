//! Members of network storage nodes that follow from `<source>` alone.

use polyvirt_core::model::storage::{Source, StorageHost, StorageProtocol, StorageTransport};
use serde_json::{Value, json};

use super::super::option::{Members, bracketed};

/// Whether nbdkit can stand between QEMU and such a source.
pub(super) fn nbdkit(protocol: StorageProtocol) -> bool {
    matches!(
        protocol,
        StorageProtocol::Http
            | StorageProtocol::Https
            | StorageProtocol::Ftp
            | StorageProtocol::Ftps
            | StorageProtocol::Tftp
            | StorageProtocol::Ssh
    )
}

fn port(host: &StorageHost, protocol: StorageProtocol) -> String {
    host.port.or(protocol.default_port()).unwrap_or_default().to_string()
}

/// A server that may be a socket: `{"type": "inet", …}` or `{"type": "unix", …}`.
pub(super) fn typed_server(host: Option<&StorageHost>, protocol: StorageProtocol) -> Value {
    let Some(host) = host else { return Value::Null };
    if host.transport == Some(StorageTransport::Unix) {
        return json!({"type": "unix", "path": host.socket.as_deref().unwrap_or_default()});
    }
    json!({"type": "inet", "host": host.name.as_deref().unwrap_or_default(), "port": port(host, protocol)})
}

fn plain_server(host: &StorageHost, protocol: StorageProtocol) -> Value {
    json!({"host": host.name.as_deref().unwrap_or_default(), "port": port(host, protocol)})
}

/// An address as part of a URL: IPv6 in brackets.
fn authority(host: &StorageHost, protocol: StorageProtocol) -> String {
    let name = host.name.as_deref().unwrap_or_default();
    let name = bracketed(name);
    format!("{name}:{}", port(host, protocol))
}

pub(super) fn iscsi(source: &Source) -> Members {
    let name = source.name.as_deref().unwrap_or_default();
    let (target, unit) = name.split_once('/').unwrap_or((name, "0"));
    let host = source.host.first();
    let portal = host.map(|it| authority(it, StorageProtocol::Iscsi)).unwrap_or_default();
    let rdma = host.is_some_and(|it| it.transport == Some(StorageTransport::Rdma));
    let initiator = source.initiator.as_ref().and_then(|it| it.iqn.as_ref()).map(|it| it.name.clone());
    Members::new("driver", "iscsi")
        .with("portal", portal)
        .with("target", target)
        .with("lun", unit.parse::<u64>().unwrap_or(0))
        .with("transport", if rdma { "iser" } else { "tcp" })
        .maybe("initiator-name", initiator)
}

pub(super) fn gluster(source: &Source) -> Members {
    let name = source.name.as_deref().unwrap_or_default();
    let (volume, path) = name.split_once('/').unwrap_or((name, ""));
    let servers: Vec<Value> = source.host.iter().map(|it| typed_server(Some(it), StorageProtocol::Gluster)).collect();
    Members::new("driver", "gluster")
        .with("volume", volume)
        .with("path", path)
        .with("server", servers)
        // What Gluster's library logs: errors and warnings.
        .with("debug", 4)
}

pub(super) fn rbd(source: &Source) -> Members {
    let name = source.name.as_deref().unwrap_or_default();
    let parts: Vec<&str> = name.splitn(3, '/').collect();
    let (pool, namespace, image) = match parts[..] {
        [pool, namespace, image] => (pool, Some(namespace), image),
        [pool, image] => (pool, None, image),
        _ => ("", None, name),
    };
    let server = |it: &StorageHost| {
        let host = Members::new("host", it.name.clone().unwrap_or_default());
        // Ceph looks for its usual ports itself if it is given none.
        host.with("port", it.port.unwrap_or(0).to_string()).value()
    };
    let servers: Vec<Value> = source.host.iter().map(server).collect();
    Members::new("driver", "rbd")
        .with("pool", pool)
        .maybe("namespace", namespace)
        .with("image", image)
        .maybe("snapshot", source.snapshot.as_ref().map(|it| it.name.clone()))
        .maybe("conf", source.config.as_ref().map(|it| it.file.clone()))
        .maybe("server", (!servers.is_empty()).then_some(servers))
}

pub(super) fn ssh(source: &Source, user: Option<&str>) -> Members {
    let named = source.identity.as_ref().and_then(|it| it.username.as_deref());
    Members::new("driver", "ssh")
        .with("path", source.name.clone().unwrap_or_default())
        .maybe("server", source.host.first().map(|it| plain_server(it, StorageProtocol::Ssh)))
        .maybe("user", user.or(named))
}

pub(super) fn nfs(source: &Source) -> Members {
    let host = source.host.first().and_then(|it| it.name.as_deref()).unwrap_or_default();
    let number = |text: Option<&String>| text.and_then(|it| it.trim_start_matches('+').parse::<u32>().ok());
    let identity = source.identity.as_ref();
    Members::new("driver", "nfs")
        .with("server", json!({"host": host, "type": "inet"}))
        .with("path", source.name.clone().unwrap_or_default())
        .maybe("user", number(identity.and_then(|it| it.user.as_ref())))
        .maybe("group", number(identity.and_then(|it| it.group.as_ref())))
}

/// What curl reads.
pub(super) fn url(source: &Source, protocol: StorageProtocol) -> Members {
    let host = source.host.first().map(|it| authority(it, protocol)).unwrap_or_default();
    let path = source.name.as_deref().unwrap_or_default().trim_start_matches('/');
    let query = source.query.as_deref().map(|it| format!("?{it}")).unwrap_or_default();
    Members::new("driver", protocol.as_str())
        .with("url", format!("{protocol}://{host}/{path}{query}"))
        .maybe("sslverify", source.ssl.as_ref().and_then(|it| it.verify))
        .maybe("readahead", source.readahead.as_ref().map(|it| it.size))
        .maybe("timeout", source.timeout.as_ref().and_then(|it| it.seconds))
}
