//! QEMU's option syntax: `head,key=value,…`, where a comma within a value is doubled, and JSON.

use std::{
    fmt::{Display, Write},
    net::Ipv6Addr,
};

use serde_json::Value;

/// An option's argument under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opts(String);

impl Opts {
    /// Begins with what stands alone, such as a driver's name.
    pub(crate) fn new(head: &str) -> Self {
        Self(escape(head))
    }

    /// Begins with a value whose key QEMU implies, unless it would take a part of the value for a key.
    pub(crate) fn implied(key: &str, value: &str) -> Self {
        if value.contains('=') { Self::pair(key, value) } else { Self::new(value) }
    }

    /// Begins with a pair.
    pub(crate) fn pair(key: &str, value: impl Display) -> Self {
        Self(format!("{key}={}", escape(&value.to_string())))
    }

    /// Begins with all members of a value under a prefix: `file.server.0.host=…`.
    pub(crate) fn flat(prefix: &str, value: &Value) -> Self {
        let mut pairs = Vec::new();
        flatten(prefix, value, &mut pairs);
        Self(pairs.join(","))
    }

    /// Adds a pair.
    pub(crate) fn with(mut self, key: &str, value: impl Display) -> Self {
        // Writing to a string cannot fail.
        write!(self.0, ",{key}={}", escape(&value.to_string())).ok();
        self
    }

    /// Adds a pair if there is a value.
    pub(crate) fn maybe(self, key: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a switch.
    pub(crate) fn switch(self, key: &str, on: bool) -> Self {
        self.with(key, on_off(on))
    }

    /// Adds what stands without a value.
    pub(crate) fn alone(mut self, key: &str) -> Self {
        self.0.push(',');
        self.0.push_str(&escape(key));
        self
    }

    pub(crate) fn build(self) -> String {
        self.0
    }
}

fn flatten(prefix: &str, value: &Value, pairs: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&format!("{prefix}.{name}"), member, pairs);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}.{at}"), item, pairs);
            }
        }
        Value::Bool(on) => pairs.push(format!("{prefix}={}", on_off(*on))),
        Value::String(text) => pairs.push(format!("{prefix}={}", escape(text))),
        Value::Number(number) => pairs.push(format!("{prefix}={number}")),
        Value::Null => {}
    }
}

/// Doubles commas: how QEMU's option parser keeps one.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

/// A host as part of an address with a port: IPv6 in brackets.
pub(crate) fn bracketed(host: &str) -> String {
    let address = host.split('%').next().unwrap_or_default();
    if address.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

pub(crate) fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// An object's members under construction; `None` members are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(serde_json::Map<String, Value>);

impl Members {
    pub(crate) fn new(key: &str, value: impl Into<Value>) -> Self {
        Self::default().with(key, value)
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn maybe(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a member away.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.0.remove(key);
        self
    }

    /// A member's text, if it has one.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    pub(crate) fn value(self) -> Value {
        Value::Object(self.0)
    }

    pub(crate) fn build(self) -> String {
        self.value().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_values_are_doubled() {
        let text = Opts::new("tap").with("ifname", "a,b=c").maybe("x", None::<u32>).switch("y", true).build();
        assert_eq!(text, "tap,ifname=a,,b=c,y=on");
        assert_eq!(Opts::implied("vnc", "h:0").build(), "h:0");
        assert_eq!(Opts::implied("vnc", "a=b,c:0").build(), "vnc=a=b,,c:0");
        assert_eq!(Opts::pair("guest", "v,script=on").build(), "guest=v,,script=on");
    }

    #[test]
    fn only_ipv6_gets_brackets() {
        for (host, text) in [("::1", "[::1]"), ("fe80::1%eth0", "[fe80::1%eth0]"), ("a:b", "a:b"), ("h", "h"), ("", "")]
        {
            assert_eq!(bracketed(host), text);
        }
    }

    #[test]
    fn json_needs_no_escapes_of_ours() {
        let text = Members::new("driver", "file").with("filename", "a\",b\n").maybe("none", None::<u32>).build();
        assert_eq!(text, r#"{"driver":"file","filename":"a\",b\n"}"#);
    }
}
