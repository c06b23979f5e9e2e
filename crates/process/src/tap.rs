//! Descriptors of tap devices: the queues through which a program sends and receives a network device's frames.
//!
//! A tap that is made here lives as long as its last descriptor (it is not made persistent), so a process that ends takes its taps with
//! it. What the device is then told, its address or its bridge, goes over rtnetlink and is not this crate's business.

use std::{fs::OpenOptions, io, os::fd::OwnedFd, path::Path};

use crate::sys;

/// How a tap is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapOptions {
    /// Refuse a device that exists (`IFF_TUN_EXCL`): the error is `EBUSY`.
    pub exclusive: bool,
    /// The device has several queues (`IFF_MULTI_QUEUE`); all of its queues are opened alike.
    pub multi_queue: bool,
    /// Frames carry a header of virtio, by which checksums and segmentation are left to the other side (`IFF_VNET_HDR`).
    pub vnet_header: bool,
}

/// Longest name of a network device in bytes (`IFNAMSIZ` less the final NUL).
pub const MAX_LINK_NAME: usize = 15;

/// Opens a queue of the tap `name` through `node`, usually `/dev/net/tun`. Returns it, closed at exec, and the device's name.
///
/// A device that is not there is made. In the name of such a one the kernel replaces `%d` by the lowest number that is free, and
/// as it does so under its own lock nobody else gets the same.
///
/// # Errors
/// Those of open(2) and of `TUNSETIFF` (kernel, `Documentation/networking/tuntap.rst`): `EPERM` without `CAP_NET_ADMIN`, `EBUSY` for a
/// device that is in use, `EINVAL` for one that is no tap or has other flags. `InvalidInput` for a name that is too long or has a NUL.
pub fn open_tap(node: &Path, name: &str, options: TapOptions) -> io::Result<(OwnedFd, String)> {
    if name.len() > MAX_LINK_NAME || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{name}' is no name of a network device")));
    }
    let queue = OwnedFd::from(OpenOptions::new().read(true).write(true).open(node)?);
    let name = sys::attach_tap(&queue, name, options)?;
    Ok((queue, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_are_refused_before_anything_is_opened() {
        for name in ["sixteen-bytes-16", "a\0b"] {
            let error = open_tap(Path::new("/nowhere"), name, TapOptions::default()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        let error = open_tap(Path::new("/nowhere"), "fifteen-bytes15", TapOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_tun_device_says_so() {
        assert!(open_tap(Path::new("/dev/null"), "t0", TapOptions::default()).is_err());
    }
}
