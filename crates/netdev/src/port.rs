//! Ports of bridges, moved while they are in use.

use crate::{Change, Link, Links, NetdevError};

/// How a port is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRequest<'a> {
    /// The bridge whose port it becomes.
    pub bridge: &'a str,
    /// Whether it does not reach other isolated ports.
    pub isolated: bool,
    /// The largest packet in bytes; `None`: the bridge's.
    pub mtu: Option<u32>,
}

/// Makes the device of this name a port of that bridge, which it may be already. What passes through it meanwhile may be lost.
///
/// # Errors
/// [`NetdevError::Missing`], [`NetdevError::Kind`], [`NetdevError::Denied`], [`NetdevError::Refused`]; then it is as it was, as far as
/// the kernel lets it.
pub fn move_port(name: &str, request: &PortRequest<'_>) -> Result<(), NetdevError> {
    let mut links = Links::open()?;
    let bridge = links.bridge(request.bridge)?;
    let found = links.find(name)?;
    let was = found.ok_or_else(|| NetdevError::Missing { name: name.to_owned(), bridge: false })?;
    let wanted = [
        // A bridge that was not told a size takes the smallest of its ports, so this comes before it is one.
        (was.mtu, request.mtu.unwrap_or(bridge.mtu), Change::Mtu as fn(u32) -> Change),
        (was.master.unwrap_or(0), bridge.index, Change::Master),
    ];
    let changes: Vec<Change> =
        wanted.into_iter().filter(|(is, to, _)| is != to).map(|(_, to, change)| change(to)).collect();
    // Another bridge's port is not isolated at first.
    let isolated = was.isolated && was.master == Some(bridge.index);
    let isolate = (isolated != request.isolated).then_some(Change::Isolated(request.isolated));
    let done = changes.into_iter().chain(isolate).try_for_each(|it| links.change(&was, it));
    if done.is_err() {
        put_back(&mut links, &was);
    }
    done
}

/// As far as that goes.
fn put_back(links: &mut Links, was: &Link) {
    let isolate = was.master.filter(|_| was.isolated).map(|_| Change::Isolated(true));
    for change in [Change::Mtu(was.mtu), Change::Master(was.master.unwrap_or(0))].into_iter().chain(isolate) {
        links.change(was, change).ok();
    }
}
