//! `-chardev` as `chardev-add` has it. Pure.
//!
//! The one says a backend flat, as options; the other as a tree of its own (`qapi/char.json`, `ChardevBackend`).

use polyvirt_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

/// The arguments of `chardev-add` for an option's value.
///
/// # Errors
/// `Unsupported` for a backend that QEMU adds only at its start.
pub(super) fn added(option: &str) -> Result<Value> {
    let (kind, options) = read(option);
    let text = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let on = |name: &str| text(name).map(|it| it == "on");
    let named = |name: &str| json!({name: text(name).unwrap_or_default()});
    let mut data = match kind.as_str() {
        "pty" | "null" => json!({}),
        "file" => json!({"out": text("path").unwrap_or_default(), "append": on("append")}),
        "pipe" | "serial" | "parallel" => json!({"device": text("path").unwrap_or_default()}),
        "socket" => socket(&text, &on),
        "udp" => json!({
            "remote": {"type": "inet", "data": {"host": text("host").unwrap_or_default(), "port": text("port").unwrap_or_default()}},
            "local": {"type": "inet", "data": {"host": text("localaddr").unwrap_or_default(), "port": text("localport").unwrap_or("0")}},
        }),
        "spicevmc" => json!({"type": text("name").unwrap_or_default()}),
        "spiceport" => json!({"fqdn": text("name").unwrap_or_default()}),
        "dbus" => named("name"),
        "qemu-vdagent" => json!({"mouse": on("mouse"), "clipboard": on("clipboard")}),
        other => {
            let problem = format!("a character device of type '{other}' can only be had from the guest's start on");
            return Err(Error::new(ErrorKind::Unsupported, problem).hint("use 'pty', 'unix', 'file', 'tcp' or 'null'"));
        }
    };
    if let Value::Object(data) = &mut data {
        data.insert("logfile".into(), json!(text("logfile")));
        data.insert("logappend".into(), json!(on("logappend")));
        data.retain(|_, value| !value.is_null());
    }
    Ok(json!({"id": text("id").unwrap_or_default(), "backend": {"type": kind, "data": data}}))
}

fn socket<'a>(text: &impl Fn(&str) -> Option<&'a str>, on: &impl Fn(&str) -> Option<bool>) -> Value {
    let address = match (text("path"), text("fd")) {
        (Some(path), _) => json!({"type": "unix", "data": {"path": path}}),
        (None, Some(name)) => json!({"type": "fd", "data": {"str": name}}),
        (None, None) => json!({
            "type": "inet", "data": {"host": text("host").unwrap_or_default(), "port": text("port").unwrap_or_default()},
        }),
    };
    let mut data = Map::new();
    data.insert("addr".into(), address);
    // The option means a client unless it says otherwise, the command a server.
    data.insert("server".into(), json!(on("server").unwrap_or(false)));
    data.insert("wait".into(), json!(on("wait").filter(|_| on("server") == Some(true))));
    data.insert("telnet".into(), json!(on("telnet")));
    data.insert("tls-creds".into(), json!(text("tls-creds")));
    for name in ["reconnect", "reconnect-ms"] {
        data.insert(name.into(), json!(text(name).and_then(|it| it.parse::<u64>().ok())));
    }
    Value::Object(data)
}

/// The head and the pairs of an option; a doubled comma is one of the value's.
fn read(option: &str) -> (String, Vec<(String, String)>) {
    let mut words = vec![String::new()];
    let mut letters = option.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, words.last_mut()) {
            (',', Some(word)) if letters.next_if_eq(&',').is_some() => word.push(','),
            (',', _) => words.push(String::new()),
            (letter, Some(word)) => word.push(letter),
            (_, None) => {}
        }
    }
    let mut words = words.into_iter();
    let head = words.next().unwrap_or_default();
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (word, "on".to_owned()),
    };
    (head, words.map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_has_its_tree() {
        for (option, expected) in [
            ("pty,id=a", json!({"id": "a", "backend": {"type": "pty", "data": {}}})),
            (
                "file,id=a,path=/x,,y,append=on,logfile=/l,logappend=off",
                json!({"id": "a", "backend": {"type": "file", "data": {"out": "/x,y", "append": true, "logfile": "/l", "logappend": false}}}),
            ),
            (
                "socket,id=a,path=/s=1,server=on,wait=off",
                json!({"id": "a", "backend": {"type": "socket", "data": {
                    "addr": {"type": "unix", "data": {"path": "/s=1"}}, "server": true, "wait": false}}}),
            ),
            (
                "socket,id=a,host=::1,port=7,reconnect=5",
                json!({"id": "a", "backend": {"type": "socket", "data": {
                    "addr": {"type": "inet", "data": {"host": "::1", "port": "7"}}, "server": false, "reconnect": 5}}}),
            ),
            (
                "spicevmc,id=a,name=vdagent",
                json!({"id": "a", "backend": {"type": "spicevmc", "data": {"type": "vdagent"}}}),
            ),
        ] {
            assert_eq!(added(option).unwrap(), expected, "{option}");
        }
        assert_eq!(added("stdio,id=a").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
