//! QEMU's option syntax: `head,key=value,…`, where a comma within a value is doubled, and JSON.

use std::fmt::{Display, Write};

use serde_json::Value;

/// An option's argument under construction.
#[derive(Clone, Debug)]
pub(crate) struct Opts(String);

impl Opts {
    /// Begins with what stands alone, such as a driver's name.
    pub(crate) fn new(head: &str) -> Self {
        Self(escape(head))
    }

    /// Begins with a pair.
    pub(crate) fn pair(key: &str, value: impl Display) -> Self {
        Self(format!("{key}={}", escape(&value.to_string())))
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

    pub(crate) fn build(self) -> String {
        self.0
    }
}

/// Doubles commas: how QEMU's option parser keeps one.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
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

    pub(crate) fn build(self) -> String {
        Value::Object(self.0).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_values_are_doubled() {
        let text = Opts::new("tap").with("ifname", "a,b=c").maybe("x", None::<u32>).switch("y", true).build();
        assert_eq!(text, "tap,ifname=a,,b=c,y=on");
        assert_eq!(Opts::pair("guest", "v,script=on").build(), "guest=v,,script=on");
    }

    #[test]
    fn json_needs_no_escapes_of_ours() {
        let text = Members::new("driver", "file").with("filename", "a\",b\n").maybe("none", None::<u32>).build();
        assert_eq!(text, r#"{"driver":"file","filename":"a\",b\n"}"#);
    }
}
