//! Two command lines, compared. Pure.

use polyvirt_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::chardev;

/// What QEMU can be told to have or not to have while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A backend object: memory, a secret, a source of chance.
    Object,
    /// A block node.
    Node,
    /// A character device of the host's side.
    Chardev,
    /// A network card's end on the host.
    Netdev,
    /// What the guest sees.
    Device,
}

/// One of them, with the arguments of the command that adds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) value: Value,
}

/// What is new, what is gone and what changed, each in the order of its command line.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Difference {
    pub(crate) added: Vec<Part>,
    pub(crate) removed: Vec<Part>,
    /// What has its name in both and is another: as it was, as it is to be.
    pub(crate) changed: Vec<(Part, Part)>,
    /// Options, with their values, that only the second has and that are for a start alone.
    pub(crate) fixed: Vec<(String, String)>,
}

/// Compares by kind and name.
///
/// # Errors
/// `Unsupported` for a character device that can only be had from the start on.
pub(crate) fn difference(before: &[String], after: &[String]) -> Result<Difference> {
    let ((old, old_rest), (new, new_rest)) = (split(before)?, split(after)?);
    let same = |one: &Part, other: &Part| (one.kind, &one.id) == (other.kind, &other.id);
    let mut all = Difference::default();
    for part in &new {
        match old.iter().find(|it| same(it, part)) {
            None => all.added.push(part.clone()),
            Some(was) if was.value != part.value => all.changed.push((was.clone(), part.clone())),
            Some(_) => {}
        }
    }
    all.removed = old.into_iter().filter(|it| !new.iter().any(|other| same(it, other))).collect();
    all.fixed = new_rest.into_iter().filter(|it| !old_rest.contains(it)).collect();
    Ok(all)
}

type Split = (Vec<Part>, Vec<(String, String)>);

fn split(arguments: &[String]) -> Result<Split> {
    let (mut parts, mut rest) = (Vec::new(), Vec::new());
    let mut words = arguments.iter().peekable();
    while let Some(option) = words.next() {
        let value = words.next_if(|it| !it.starts_with('-')).cloned().unwrap_or_default();
        match part(option, &value)? {
            Some(part) => parts.push(part),
            None => rest.push((option.clone(), value)),
        }
    }
    Ok((parts, rest))
}

fn part(option: &str, value: &str) -> Result<Option<Part>> {
    let (kind, name) = match option {
        "-object" => (Kind::Object, "id"),
        "-blockdev" => (Kind::Node, "node-name"),
        "-netdev" => (Kind::Netdev, "id"),
        "-device" => (Kind::Device, "id"),
        "-chardev" => {
            let value = chardev::added(value)?;
            let id = value["id"].as_str().unwrap_or_default().to_owned();
            return Ok(Some(Part { kind: Kind::Chardev, id, value }));
        }
        _ => return Ok(None),
    };
    // Without a name, or in the form of old releases, nothing can be told of it later.
    let parsed = value.starts_with('{').then(|| serde_json::from_str::<Value>(value)).transpose();
    let value: Option<Value> = parsed.map_err(|error| {
        Error::new(ErrorKind::Internal, format!("an argument after {option} is no JSON")).source(error)
    })?;
    Ok(value.and_then(|value| {
        let id = value[name].as_str()?.to_owned();
        Some(Part { kind, id, value })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn what_is_new_gone_and_changed() {
        let before = words(&[
            "-S",
            "-m",
            "1024",
            "-blockdev",
            r#"{"node-name":"a","driver":"raw"}"#,
            "-device",
            r#"{"id":"x","driver":"d","drive":"a"}"#,
            "-chardev",
            "pty,id=c",
        ]);
        let after = words(&[
            "-S",
            "-m",
            "2048",
            "-device",
            r#"{"id":"x","driver":"d"}"#,
            "-chardev",
            "pty,id=c",
            "-netdev",
            r#"{"id":"n","type":"user"}"#,
            "-device",
            r#"{"id":"y","driver":"e","netdev":"n"}"#,
        ]);
        let found = difference(&before, &after).unwrap();
        let ids = |parts: &[Part]| parts.iter().map(|it| (it.kind, it.id.clone())).collect::<Vec<_>>();
        assert_eq!(ids(&found.added), [(Kind::Netdev, "n".into()), (Kind::Device, "y".into())]);
        assert_eq!(ids(&found.removed), [(Kind::Node, "a".into())]);
        assert_eq!(found.changed[0].1.value, json!({"id": "x", "driver": "d"}));
        assert_eq!(found.fixed, [("-m".to_owned(), "2048".to_owned())]);
        assert_eq!(difference(&before, &before).unwrap(), Difference::default());
    }

    #[test]
    fn what_has_no_name_is_fixed() {
        let after = words(&["-netdev", "user,id=old", "-device", r#"{"driver":"nameless"}"#]);
        let found = difference(&[], &after).unwrap();
        assert_eq!((found.added.len(), found.fixed.len()), (0, 2));
    }
}
