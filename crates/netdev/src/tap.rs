//! Making taps, and opening those that somebody else made.

use std::{io, os::fd::OwnedFd, path::Path};

use polyvirt_process::{MAX_LINK_NAME, TapOptions, open_tap};

use crate::{Change, Link, Links, NetdevError};

/// The device node by which taps are opened.
pub const TUN: &str = "/dev/net/tun";

/// What names of taps begin with that nobody chose; a number follows. The same as libvirt's.
const GENERATED: &str = "vnet";

/// How a tap is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapRequest<'a> {
    /// Its name; `None`: `vnet` and the lowest number that is free.
    pub name: Option<&'a str>,
    /// Queues, at least one.
    pub queues: u32,
    /// Whether frames carry a header of virtio.
    pub vnet_header: bool,
    /// Its own hardware address; `None`: the kernel draws one.
    pub mac: Option<[u8; 6]>,
    /// The largest packet in bytes; `None`: the bridge's, or the kernel's 1500.
    pub mtu: Option<u32>,
    /// The bridge whose port it becomes.
    pub bridge: Option<&'a str>,
    /// Whether, as a port, it does not reach other isolated ports.
    pub isolated: bool,
}

/// A tap that is open. It goes with the last of its queues, unless somebody made it persistent.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tap {
    /// Its name.
    pub name: String,
    /// Its number, by which it is told from another that gets its name later.
    pub index: u32,
    /// Its queues, closed at exec.
    pub queues: Vec<OwnedFd>,
}

impl Tap {
    /// Makes a tap through `node`, usually [`TUN`], and switches it on.
    ///
    /// # Errors
    /// What is missing, taken or not permitted. Then nothing is left.
    pub fn make(node: &Path, request: &TapRequest<'_>) -> Result<Self, NetdevError> {
        request.name.map_or(Ok(()), check_name)?;
        let mut links = Links::open()?;
        // Before the tap: that the bridge is missing is the better message.
        let bridge = request.bridge.map(|name| links.bridge(name)).transpose()?;
        let template = format!("{GENERATED}%d");
        let name = request.name.unwrap_or(&template);
        let options = TapOptions { exclusive: true, multi_queue: request.queues > 1, vnet_header: request.vnet_header };
        let mut tap = open(node, name, request.queues, options, |error| {
            let name = request.name.unwrap_or(GENERATED).to_owned();
            match error.raw_os_error() {
                Some(EBUSY) => NetdevError::Taken { name },
                _ => NetdevError::refused("make", &name, error),
            }
        })?;
        tap.set_up(&mut links, request, bridge.as_ref())?;
        Ok(tap)
    }

    /// Opens a tap that exists, and changes nothing of it.
    ///
    /// # Errors
    /// [`NetdevError::Missing`], [`NetdevError::Kind`], [`NetdevError::Busy`], and those of opening.
    pub fn open(node: &Path, name: &str, queues: u32, vnet_header: bool) -> Result<Self, NetdevError> {
        check_name(name)?;
        let found = Links::open()?.find(name)?;
        // Asking for a tap that is not there would make it.
        let link = found.ok_or_else(|| NetdevError::Missing { name: name.to_owned(), bridge: false })?;
        if link.kind.as_deref() != Some("tun") {
            let found = link.kind.map_or_else(|| "a device of hardware".to_owned(), |it| format!("of kind {it}"));
            return Err(NetdevError::Kind { name: link.name, found, wanted: "tap" });
        }
        let options = TapOptions { exclusive: false, multi_queue: queues > 1, vnet_header };
        let opened = open(node, name, queues, options, |error| match error.raw_os_error() {
            Some(EBUSY) => NetdevError::Busy { name: name.to_owned() },
            _ => NetdevError::refused("open", name, error),
        })?;
        Ok(Self { index: link.index, ..opened })
    }

    fn set_up(
        &mut self,
        links: &mut Links,
        request: &TapRequest<'_>,
        bridge: Option<&Link>,
    ) -> Result<(), NetdevError> {
        let found = links.find(&self.name)?;
        let link = found.ok_or_else(|| NetdevError::Missing { name: self.name.clone(), bridge: false })?;
        self.index = link.index;
        // What it is on the bridge is settled before it is a port, and it carries nothing before it is switched on.
        let changes = [
            request.mac.map(Change::Mac),
            request.mtu.or(bridge.map(|it| it.mtu)).filter(|it| *it != link.mtu).map(Change::Mtu),
            bridge.map(|it| Change::Master(it.index)),
            bridge.filter(|_| request.isolated).map(|_| Change::Isolated(true)),
            Some(Change::Up(true)),
        ];
        changes.into_iter().flatten().try_for_each(|it| links.change(&link, it))
    }
}

/// Device or resource busy: the same number on every architecture of Linux.
const EBUSY: i32 = 16;

fn open(
    node: &Path,
    name: &str,
    queues: u32,
    options: TapOptions,
    refused: impl Fn(io::Error) -> NetdevError,
) -> Result<Tap, NetdevError> {
    // Apart from attaching, so that an error says which of the two it was.
    if let Err(source) = std::fs::OpenOptions::new().read(true).write(true).open(node) {
        return Err(NetdevError::Node { node: node.to_owned(), source });
    }
    let (first, name) = open_tap(node, name, options).map_err(&refused)?;
    let mut tap = Tap { name, index: 0, queues: vec![first] };
    for _ in 1..queues {
        let more = TapOptions { exclusive: false, ..options };
        tap.queues.push(open_tap(node, &tap.name, more).map_err(&refused)?.0);
    }
    Ok(tap)
}

/// Whether nobody chose this name: it is `vnet` and a number.
#[must_use]
pub fn is_generated(name: &str) -> bool {
    name.strip_prefix(GENERATED).is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
}

/// Names as the kernel takes them (`dev_valid_name`, net/core/dev.c), less its templates.
fn check_name(name: &str) -> Result<(), NetdevError> {
    let odd = |it: char| it.is_whitespace() || it.is_control() || "/:%".contains(it);
    if name.is_empty() || name.len() > MAX_LINK_NAME || name.contains(odd) || matches!(name, "." | "..") {
        return Err(NetdevError::Name { name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        for good in ["tap0", "a", "fifteen-bytes15", "vm.web_1"] {
            check_name(good).unwrap();
        }
        for bad in ["", ".", "..", "sixteen-bytes-16", "a/b", "a b", "a:1", "tap%d", "a\n"] {
            let error = check_name(bad).unwrap_err();
            assert!(error.to_string().contains("is no name"), "{error}");
        }
        assert!(is_generated("vnet0") && is_generated("vnet17"));
        assert!(!is_generated("vnet") && !is_generated("vnetx") && !is_generated("tap0"));
    }
}
