//! Connection URIs as libvirt writes them: `qemu:///system`, `qemu:///session`, `qemu:///embed?root=DIR`, `mock:///default`.
//!
//! Grammar: RFC 3986 with the scheme `driver[+transport]`. Query parameters may be separated by `&` or `;`; an empty name
//! is dropped. `formatted` gives the parameters back in the same order with reserved characters escaped.

use std::{fmt, str::FromStr};

/// Longest URI that is read, in bytes.
pub const URI_LIMIT: usize = 8192;

/// A parsed connection URI.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ConnectUri {
    /// Driver and transport, `qemu` or `qemu+ssh`.
    pub scheme: String,
    /// `user` or `user:password`, percent-decoded.
    pub user: Option<String>,
    /// Host name or address, without the brackets of an IPv6 address.
    pub server: Option<String>,
    /// Port, 0 when absent.
    pub port: u16,
    /// Path with its leading slash, percent-decoded.
    pub path: Option<String>,
    /// Query as it was written.
    pub query: Option<String>,
    /// What follows `#`, percent-decoded.
    pub fragment: Option<String>,
    /// Query parameters in order, percent-decoded.
    pub params: Vec<(String, String)>,
}

/// Why a URI was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Longer than [`URI_LIMIT`].
    #[error("a URI of {0} bytes is too long, at most {URI_LIMIT} are read")]
    TooLong(usize),
    /// No `scheme:`.
    #[error("'{0}' has no scheme; write for instance qemu:///system")]
    NoScheme(String),
    /// The scheme has a character that schemes cannot have.
    #[error("'{0}' is no scheme: letters, digits, '+', '-' and '.' only, a letter first")]
    BadScheme(String),
    /// The port is not a number from 0 to 65535.
    #[error("'{0}' is no port, a number from 0 to 65535 is needed")]
    BadPort(String),
    /// `[` without `]`.
    #[error("'{0}' begins an IPv6 address with '[' and does not end it with ']'")]
    BadAddress(String),
    /// A `%` that is not followed by two hexadecimal digits, or that does not give UTF-8.
    #[error("'{0}' has a '%' that is not followed by two hexadecimal digits of a UTF-8 text")]
    BadEscape(String),
    /// A character that must be escaped.
    #[error("character {1:?} at byte {2} of '{0}' must be escaped as %{code:02X}", code = *.1 as u32)]
    BadCharacter(String, char, usize),
}

impl ConnectUri {
    /// The driver part of the scheme: `qemu` of `qemu+ssh`.
    #[must_use]
    pub fn driver(&self) -> &str {
        self.scheme.split('+').next().unwrap_or(&self.scheme)
    }

    /// The transport of the scheme: `ssh` of `qemu+ssh`.
    #[must_use]
    pub fn transport(&self) -> Option<&str> {
        self.scheme.split_once('+').map(|(_, transport)| transport)
    }

    /// The first parameter of that name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl FromStr for ConnectUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > URI_LIMIT {
            return Err(UriError::TooLong(text.len()));
        }
        if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control() || " <>\"\\^`{|}".contains(*c)) {
            return Err(UriError::BadCharacter(text.to_owned(), c, at));
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(|| UriError::NoScheme(text.to_owned()))?;
        let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !well_formed {
            return Err(UriError::BadScheme(scheme.to_owned()));
        }
        let (rest, fragment) = split_off(rest, '#');
        let (rest, query) = split_off(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        let (user, server, port) = parse_authority(authority.unwrap_or(""))?;
        Ok(Self {
            scheme: scheme.to_owned(),
            user,
            server,
            port,
            path: if path.is_empty() { None } else { Some(unescape(path)?) },
            params: parse_params(query.unwrap_or(""))?,
            query: query.filter(|q| !q.is_empty()).map(str::to_owned),
            fragment: fragment.map(unescape).transpose()?,
        })
    }
}

fn split_off(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

type Authority = (Option<String>, Option<String>, u16);

fn parse_authority(text: &str) -> Result<Authority, UriError> {
    let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
    let (server, port) = if let Some(address) = host.strip_prefix('[') {
        let (address, rest) = address.split_once(']').ok_or_else(|| UriError::BadAddress(host.to_owned()))?;
        let port = match rest {
            "" => "",
            _ => rest.strip_prefix(':').ok_or_else(|| UriError::BadAddress(host.to_owned()))?,
        };
        (address, port)
    } else {
        host.split_once(':').unwrap_or((host, ""))
    };
    let digits = port.is_empty() || port.bytes().all(|b| b.is_ascii_digit());
    let number = if port.is_empty() { Ok(0) } else { port.parse::<u16>() };
    let port = match number {
        Ok(number) if digits => number,
        _ => return Err(UriError::BadPort(port.to_owned())),
    };
    let server = if server.is_empty() { None } else { Some(unescape(server)?) };
    Ok((user.map(unescape).transpose()?, server, port))
}

fn parse_params(query: &str) -> Result<Vec<(String, String)>, UriError> {
    query
        .split(['&', ';'])
        .map(|item| item.split_once('=').unwrap_or((item, "")))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| Ok((unescape(name)?, unescape(value)?)))
        .collect()
}

fn unescape(text: &str) -> Result<String, UriError> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let bad = || UriError::BadEscape(text.to_owned());
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
            let value = digit()? * 16 + digit()?;
            out.push(u8::try_from(value).map_err(|_| bad())?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| bad())
}

/// Escapes all but RFC 3986's unreserved characters and those in `keep`.
fn escape(f: &mut fmt::Formatter<'_>, text: &str, keep: &str) -> fmt::Result {
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || (c.is_ascii() && keep.contains(c)) {
            write!(f, "{c}")?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

impl fmt::Display for ConnectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path that does not begin with a slash would be taken for a host.
        let rootless = self.path.as_ref().is_some_and(|path| !path.starts_with('/'));
        write!(f, "{}:{}", self.scheme, if rootless { "" } else { "//" })?;
        if let Some(user) = &self.user {
            escape(f, user, ":!$&'()*+,;=")?;
            f.write_str("@")?;
        }
        match &self.server {
            Some(server) if server.contains(':') => {
                f.write_str("[")?;
                escape(f, server, "!$&'()*+,;=:")?;
                f.write_str("]")?;
            }
            Some(server) => escape(f, server, "!$&'()*+,;=")?,
            None => {}
        }
        if self.port != 0 {
            write!(f, ":{}", self.port)?;
        }
        if let Some(path) = &self.path {
            escape(f, path, "/!$&'()*+,;=:@")?;
        }
        for (i, (name, value)) in self.params.iter().enumerate() {
            f.write_str(if i == 0 { "?" } else { "&" })?;
            escape(f, name, "")?;
            f.write_str("=")?;
            escape(f, value, "")?;
        }
        if let Some(fragment) = &self.fragment {
            f.write_str("#")?;
            escape(f, fragment, "/?!$&'()*+,;=:@")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> ConnectUri {
        text.parse().unwrap()
    }

    #[test]
    fn the_usual_ones() {
        let system = uri("qemu:///system");
        assert_eq!(
            (system.driver(), system.path.as_deref(), system.server.as_deref()),
            ("qemu", Some("/system"), None)
        );
        assert_eq!(uri("qemu:a/b").to_string(), "qemu:a/b");
        assert_eq!(uri("qemu://[fe80::1%25eth0]/a").to_string(), "qemu://[fe80::1%25eth0]/a");
        let embed = uri("qemu:///embed?root=/var/tmp/my%20guests");
        assert_eq!(embed.param("root"), Some("/var/tmp/my guests"));
        let remote = uri("qemu+ssh://root@[fe80::1]:2222/system#top");
        assert_eq!(
            (remote.transport(), remote.user.as_deref(), remote.server.as_deref()),
            (Some("ssh"), Some("root"), Some("fe80::1"))
        );
        assert_eq!((remote.port, remote.fragment.as_deref()), (2222, Some("top")));
    }

    #[test]
    fn formatting_keeps_order_and_escapes() {
        let text = "qemu+ssh://me@host:22/system?b=%26x&a=%C3%A4&a=";
        assert_eq!(uri(text).to_string(), text);
        assert_eq!(uri("test://h/?=bogus&foo").to_string(), "test://h/?foo=");
        assert_eq!(uri("test://[::1]/").to_string(), "test://[::1]/");
    }

    #[test]
    fn bad_ones_are_refused_with_what_was_wrong() {
        for (text, part) in [
            ("qemu", "no scheme"),
            ("9p://x", "no scheme: letters"),
            ("qemu://h:70000/", "'70000' is no port"),
            ("qemu://h:-1/", "'-1' is no port"),
            ("qemu://[::1/system", "does not end it"),
            ("qemu:///a%zz", "two hexadecimal digits"),
            ("qemu:///a%ff", "UTF-8"),
            ("qemu:///a b", "at byte 9"),
        ] {
            let error = text.parse::<ConnectUri>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(matches!("x".repeat(URI_LIMIT + 1).parse::<ConnectUri>(), Err(UriError::TooLong(_))));
    }
}
