//! Names of backing images, as headers have them. Pure.
//!
//! | name | what it means |
//! |---|---|
//! | `/a/b`, `b`, `file:/b` | a file; one that does not begin with `/` is beside the image that names it |
//! | `nbd:HOST:PORT[:exportname=N]`, `nbd:unix:SOCKET[:exportname=N]`, `nbd://HOST[:PORT]/N`, `nbd+unix:///N?socket=S` | a server |
//! | `http://…`, `https://…`, `ftp://…`, `ftps://…` | a server |
//! | `json:{…}` | options of QEMU's drivers `file`, `host_device` and `nbd`, and a format around them |
//!
//! As QEMU does (its manual, "Disk image file name"), what has a colon before the first slash is no file unless it begins with `file:`.

use std::path::{Path, PathBuf};

use polyvirt_core::model::storage::{Source, SourceKind, StorageHost, StorageProtocol, StorageTransport};
use serde_json::{Map, Value};

/// Members that nest in a `json:` name.
const NESTED: usize = 8;

/// Where a backing image is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BackingName {
    /// A file or device of this host.
    Local {
        /// Where.
        path: PathBuf,
        /// The format that the name itself says.
        format: Option<String>,
    },
    /// On a server.
    Network {
        /// Which.
        source: Box<Source>,
        /// The format that the name itself says.
        format: Option<String>,
    },
}

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing here knows that protocol or driver.
    #[error("'{0}' is no protocol that is followed here; files, nbd, http and ftp are")]
    Unknown(String),
    /// It is not written as such names are.
    #[error("'{0}' is not understood: {1}")]
    Malformed(String, String),
}

impl BackingName {
    /// What a name means in the image `beside`.
    ///
    /// # Errors
    /// [`NameError`]
    pub fn parse(name: &str, beside: &Path) -> Result<Self, NameError> {
        if let Some(json) = name.strip_prefix("json:") {
            return options(json).and_then(from_options);
        }
        if let Some(path) = name.strip_prefix("file:") {
            return Self::from_here(path);
        }
        let protocol = name.split_once(':').map(|(protocol, _)| protocol).filter(|it| !it.contains('/'));
        match protocol {
            None => Ok(Self::local(name, beside)),
            Some("nbd" | "nbd+tcp" | "nbd+unix") => nbd(name),
            Some("http" | "https" | "ftp" | "ftps") => url(name),
            Some(other) => Err(NameError::Unknown(other.to_owned())),
        }
    }

    fn local(path: &str, beside: &Path) -> Self {
        let beside = beside.parent().unwrap_or(Path::new("/"));
        // An absolute path takes the place of what it is joined to.
        Self::Local { path: beside.join(path), format: None }
    }

    /// One that QEMU would look for from where it was started: it must not depend on that.
    fn from_here(path: &str) -> Result<Self, NameError> {
        if !path.starts_with('/') {
            return Err(malformed(path, "with 'file:' or 'json:' a path begins with '/'"));
        }
        Ok(Self::Local { path: path.into(), format: None })
    }

    fn network(source: Source) -> Self {
        Self::Network { source: Box::new(source), format: None }
    }

    fn with_format(mut self, format: &str) -> Self {
        let (Self::Local { format: place, .. } | Self::Network { format: place, .. }) = &mut self;
        *place = Some(format.to_owned());
        self
    }

    /// The kind of such a source in a definition; a device of the host is told from a file by looking.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Local { .. } => SourceKind::File,
            Self::Network { .. } => SourceKind::Network,
        }
    }
}

fn malformed(name: &str, why: &str) -> NameError {
    NameError::Malformed(name.chars().take(200).collect(), why.to_owned())
}

fn host(name: &str, port: Option<&str>, whole: &str) -> Result<StorageHost, NameError> {
    let mut host = StorageHost::default();
    host.name = Some(name.trim_start_matches('[').trim_end_matches(']').to_owned());
    host.port = match port {
        Some(port) => Some(port.parse().map_err(|_| malformed(whole, "the port is no number up to 65535"))?),
        None => None,
    };
    Ok(host)
}

fn socket(path: &str) -> StorageHost {
    let mut host = StorageHost::default();
    host.transport = Some(StorageTransport::Unix);
    host.socket = Some(path.to_owned());
    host
}

fn server(protocol: StorageProtocol, host: StorageHost, export: Option<&str>) -> BackingName {
    let mut source = Source::default();
    source.protocol = Some(protocol);
    source.host = vec![host];
    source.name = export.filter(|it| !it.is_empty()).map(str::to_owned);
    BackingName::network(source)
}

/// `HOST[:PORT]`, with brackets around an IPv6 address.
fn authority<'a>(text: &'a str, whole: &str) -> Result<(&'a str, Option<&'a str>), NameError> {
    let (name, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() { Err(malformed(whole, "the server has no name")) } else { Ok((name, port)) }
}

fn nbd(name: &str) -> Result<BackingName, NameError> {
    if let Some((scheme, rest)) = name.split_once("://") {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (at, export) = place.split_once('/').unwrap_or((place, ""));
        if scheme == "nbd+unix" {
            let path = query.split('&').find_map(|it| it.strip_prefix("socket="));
            let path = path.filter(|it| !it.is_empty()).ok_or_else(|| malformed(name, "it names no socket"))?;
            return Ok(server(StorageProtocol::Nbd, socket(path), Some(export)));
        }
        let (at, port) = authority(at, name)?;
        return Ok(server(StorageProtocol::Nbd, host(at, port, name)?, Some(export)));
    }
    let rest = name.strip_prefix("nbd:").ok_or_else(|| malformed(name, "it is nbd:HOST:PORT or nbd:unix:SOCKET"))?;
    let (place, export) = rest.split_once(":exportname=").map_or((rest, None), |(place, export)| (place, Some(export)));
    if let Some(path) = place.strip_prefix("unix:") {
        return Ok(server(StorageProtocol::Nbd, socket(path), export));
    }
    let (at, port) = authority(place, name)?;
    Ok(server(StorageProtocol::Nbd, host(at, port, name)?, export))
}

fn url(name: &str) -> Result<BackingName, NameError> {
    let (scheme, rest) = name.split_once("://").ok_or_else(|| malformed(name, "a URL has '://'"))?;
    let protocol = match scheme {
        "http" => StorageProtocol::Http,
        "https" => StorageProtocol::Https,
        "ftp" => StorageProtocol::Ftp,
        _ => StorageProtocol::Ftps,
    };
    let (at, path) = rest.split_once('/').unwrap_or((rest, ""));
    if at.contains('@') {
        return Err(malformed(name, "a password in it would be everybody's to read"));
    }
    let (at, port) = authority(at, name)?;
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut found = server(protocol, host(at, port, name)?, Some(path));
    if let BackingName::Network { source, .. } = &mut found {
        source.query = query.map(str::to_owned);
    }
    Ok(found)
}

fn options(json: &str) -> Result<Map<String, Value>, NameError> {
    match serde_json::from_str(json) {
        Ok(Value::Object(members)) => Ok(nested(members)),
        _ => Err(malformed(json, "it is no JSON object")),
    }
}

/// `{"file.driver": …}` is `{"file": {"driver": …}}`.
fn nested(members: Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (key, value) in members {
        let Some((outer, inner)) = key.split_once('.') else {
            all.insert(key, value);
            continue;
        };
        let below = all.entry(outer.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(below) = below {
            below.insert(inner.to_owned(), value);
        }
    }
    all
}

fn from_options(mut members: Map<String, Value>) -> Result<BackingName, NameError> {
    let mut format = None;
    for _ in 0..NESTED {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let driver = text("driver").unwrap_or(if members.contains_key("filename") { "file" } else { "" }).to_owned();
        let found = match driver.as_str() {
            "file" | "host_device" | "host_cdrom" => {
                let path = text("filename").ok_or_else(|| malformed("json:", "it names no file"))?;
                BackingName::from_here(path)?
            }
            "nbd" => nbd_options(&members)?,
            "http" | "https" | "ftp" | "ftps" => {
                url(text("url").ok_or_else(|| malformed("json:", "it names no URL"))?)?
            }
            other => {
                // A format around what it is in. A part of a file is no image of its own.
                let part = members.contains_key("offset") || members.contains_key("size");
                match members.get("file") {
                    Some(Value::Object(below)) if !part => {
                        format.get_or_insert(driver.clone());
                        members = nested(below.clone());
                        continue;
                    }
                    _ => return Err(NameError::Unknown(other.chars().take(60).collect())),
                }
            }
        };
        return Ok(match &format {
            Some(format) => found.with_format(format),
            None => found,
        });
    }
    Err(malformed("json:", "its members nest too deep"))
}

fn nbd_options(members: &Map<String, Value>) -> Result<BackingName, NameError> {
    let wrong = || malformed("json:", "of an nbd server it needs host and port, or a path");
    let server_of = members.get("server").and_then(Value::as_object).map(|it| nested(it.clone()));
    let at = server_of.as_ref().unwrap_or(members);
    let text = |name: &str| at.get(name).and_then(Value::as_str);
    let export = members.get("export").and_then(Value::as_str);
    if members.contains_key("tls-creds") {
        return Err(malformed("json:", "its certificates are not known here"));
    }
    let place = match (text("path"), text("host")) {
        (Some(path), _) => socket(path),
        (None, Some(name)) => host(name, text("port"), "json:")?,
        _ => return Err(wrong()),
    };
    Ok(server(StorageProtocol::Nbd, place, export))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local(name: &str) -> (String, Option<String>) {
        match BackingName::parse(name, Path::new("/images/top.qcow2")).unwrap() {
            BackingName::Local { path, format } => (path.display().to_string(), format),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn remote(name: &str) -> String {
        match BackingName::parse(name, Path::new("/images/top.qcow2")).unwrap() {
            BackingName::Network { source, .. } => {
                let host = &source.host[0];
                let place = host.socket.clone().or(host.name.clone()).unwrap();
                format!(
                    "{} {place} {:?} {:?} {:?}",
                    source.protocol.unwrap(),
                    host.port,
                    source.name.as_deref().unwrap_or(""),
                    source.query.as_deref().unwrap_or("")
                )
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn files_are_beside_who_names_them() {
        assert_eq!(local("base").0, "/images/base");
        assert_eq!(local("../b/base:1").0, "/images/../b/base:1");
        assert_eq!(local("/base").0, "/base");
        assert_eq!(local("file:/a:b").0, "/a:b");
        assert_eq!(local(r#"json:{"driver":"file","filename":"/x"}"#), ("/x".into(), None));
        assert_eq!(
            local(r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"/x"}}"#),
            ("/x".into(), Some("qcow2".into()))
        );
        assert_eq!(local(r#"json:{"file.driver":"host_device","file.filename":"/dev/a","driver":"raw"}"#).0, "/dev/a");
    }

    #[test]
    fn servers() {
        assert_eq!(remote("nbd://example.org/x"), r#"nbd example.org None "x" """#);
        assert_eq!(remote("nbd://[::1]:5/"), r#"nbd ::1 Some(5) "" """#);
        assert_eq!(remote("nbd:host:10:exportname=a b"), r#"nbd host Some(10) "a b" """#);
        assert_eq!(remote("nbd:unix:/s:exportname=e"), r#"nbd /s None "e" """#);
        assert_eq!(remote("nbd+unix:///e?socket=/s"), r#"nbd /s None "e" """#);
        assert_eq!(remote("https://h:8/p/q.img?a=1"), r#"https h Some(8) "p/q.img" "a=1""#);
        assert_eq!(
            remote(
                r#"json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"unix","path":"/s"},"export":"e"}}"#
            ),
            r#"nbd /s None "e" """#
        );
        assert_eq!(
            remote(r#"json:{"driver":"nbd","server.type":"inet","server.host":"h","server.port":"3"}"#),
            r#"nbd h Some(3) "" """#
        );
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let deep = format!("json:{}1{}", r#"{"driver":"raw","file":"#.repeat(40), "}".repeat(40));
        for name in [
            "rbd:pool/image",
            "json:[]",
            "json:{",
            "file:b",
            r#"json:{"driver":"file","filename":"x"}"#,
            "nbd:",
            "nbd://:1/",
            "nbd:h:99999",
            "https://u:p@h/",
            r#"json:{"driver":"raw","offset":0,"file":{"driver":"file","filename":"/x"}}"#,
            &deep,
        ] {
            let error = BackingName::parse(name, Path::new("/top")).unwrap_err();
            assert!(error.to_string().len() < 400, "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_name_panics(name in "(json:|nbd:|nbd://|http://|file:)?[\\PC]{0,80}") {
            BackingName::parse(&name, Path::new("/top")).ok();
        }
    }
}
