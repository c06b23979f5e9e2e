//! What can go wrong, and what to do then.

use std::{io, path::PathBuf};

use polyvirt_process::MAX_LINK_NAME;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetdevError {
    /// No device can have this name.
    #[error(
        "'{name}' is no name of a network device: 1 to {MAX_LINK_NAME} bytes without '/', ':', '%' and white space are"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is no such device.
    #[error("there is no network device '{name}'")]
    Missing {
        /// Its name.
        name: String,
        /// Whether a bridge was looked for.
        bridge: bool,
    },
    /// A device is of another kind.
    #[error("network device '{name}' is {found}, not a {wanted}")]
    Kind {
        /// Its name.
        name: String,
        /// What it is, as a phrase.
        found: String,
        /// What it should be, `bridge`.
        wanted: &'static str,
    },
    /// A device that was to be made is there.
    #[error("there is a network device '{name}' already")]
    Taken {
        /// Its name.
        name: String,
    },
    /// Somebody else has the tap, or all of its queues.
    #[error("tap '{name}' is in use")]
    Busy {
        /// Its name.
        name: String,
    },
    /// The device node of taps cannot be opened.
    #[error("cannot open {}: {source}", node.display())]
    Node {
        /// The node, `/dev/net/tun`.
        node: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// We may not.
    #[error("not permitted to {what} network device '{name}'")]
    Denied {
        /// What was tried, `make`.
        what: &'static str,
        /// The device.
        name: String,
    },
    /// The kernel refused.
    #[error("cannot {what} network device '{name}': {source}")]
    Refused {
        /// What was tried, `make`.
        what: &'static str,
        /// The device.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Talking to rtnetlink failed.
    #[error("rtnetlink: {0}")]
    Netlink(io::Error),
}

impl NetdevError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Missing { name, bridge: true } => {
                format!("make one: ip link add {name} type bridge && ip link set {name} up")
            }
            Self::Missing { name, bridge: false } => format!("make one: ip tuntap add dev {name} mode tap"),
            Self::Kind { .. } => "`ip -d link` shows what kinds of devices there are".into(),
            Self::Taken { .. } => {
                "leave the name out, and a free one is chosen; or use the device as it is (managed='no')".into()
            }
            Self::Busy { .. } => "a tap serves one guest; with several queues it is made with multi_queue".into(),
            Self::Node { node, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("load the module and make the node: modprobe tun; mknod {} c 10 200", node.display())
            }
            Self::Node { .. } => "open it to the user who starts guests, or start them as root".into(),
            Self::Denied { .. } => {
                "it takes CAP_NET_ADMIN: start as root, use a tap made for this user (ip tuntap add dev tap0 mode tap \
                                    user NAME) with managed='no', or an interface of type 'user'"
                    .into()
            }
            Self::Name { .. } | Self::Refused { .. } | Self::Netlink(_) => return None,
        })
    }

    pub(crate) fn refused(what: &'static str, name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { what, name },
            _ => Self::Refused { what, name, source },
        }
    }
}
