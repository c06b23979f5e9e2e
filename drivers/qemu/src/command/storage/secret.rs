//! Passwords and keys, as objects that other objects and nodes name; and certificates.
//!
//! The values do not come from a definition: it only names them. In a command line that is shown their ciphertext is a
//! placeholder, since it would be another one at every start anyway.

use std::path::Path;

use polyvirt_core::{Error, ErrorKind, Result, model::storage::SecretRef};

use super::super::{Args, Input, Purpose, option::Members};

/// What stands for a ciphertext in base64: one block of zeroes.
const PLACEHOLDER: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// Adds the object of a secret.
///
/// # Errors
/// `Unsupported` for a guest that is to run: nobody keeps secrets here yet.
pub(in super::super) fn object(
    args: &mut Args,
    input: &Input<'_>,
    id: &str,
    secret: Option<&SecretRef>,
    path: &str,
) -> Result<()> {
    if input.purpose == Purpose::Run {
        let name = secret.and_then(|it| it.usage.clone().or_else(|| it.uuid.map(|it| it.to_string())));
        let problem = format!("the secret '{}' cannot be had: none are kept here yet", name.unwrap_or_default());
        return Err(Error::new(ErrorKind::Unsupported, problem)
            .with("path", path)
            .hint("use a source that needs none"));
    }
    let object = Members::new("qom-type", "secret")
        .with("id", id)
        .with("data", PLACEHOLDER)
        .with("keyid", "masterKey0")
        .with("iv", PLACEHOLDER)
        .with("format", "base64");
    args.add("-object", object.build());
    Ok(())
}

/// A side of a TLS connection.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Certificates<'a> {
    pub(in super::super) id: &'a str,
    pub(in super::super) folder: &'a Path,
    pub(in super::super) server: bool,
    pub(in super::super) verify: bool,
    /// Id of the secret that unlocks the key.
    pub(in super::super) password: Option<&'a str>,
}

/// Adds the object of certificates.
pub(in super::super) fn certificates(args: &mut Args, about: Certificates<'_>) {
    let object = Members::new("qom-type", "tls-creds-x509")
        .with("id", about.id)
        .with("dir", about.folder.to_string_lossy())
        .with("endpoint", if about.server { "server" } else { "client" })
        .with("verify-peer", about.verify)
        .maybe("passwordid", about.password);
    args.add("-object", object.build());
}
