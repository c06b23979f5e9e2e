//! Rules of devices: where servers listen, which screen is first, what is booted, hardware addresses.

use std::fmt;

use polyvirt_xml::{Positions, Problems};

use super::{MAX_PROBLEMS, Seen, nth};
use crate::complete::devices::boot_orders;
use crate::controller::ControllerModel;
use crate::devices::{Devices, Place};
use crate::display::{Graphics, GraphicsKind, ListenType};
use crate::domain::DomainConfig;

pub(super) fn check(config: &DomainConfig, positions: &Positions) -> Problems {
    let mut rules = Rules { positions, problems: Problems::new() };
    for (index, graphics) in config.devices.graphics.iter().enumerate() {
        rules.listens(Place::new("graphics", config.devices.graphics.len(), index), graphics);
    }
    rules.videos(&config.devices);
    rules.macs(&config.devices);
    rules.controllers(&config.devices);
    rules.boot(config);
    rules.problems
}

struct Rules<'a> {
    positions: &'a Positions,
    problems: Problems,
}

impl Rules<'_> {
    fn error(&mut self, path: impl fmt::Display, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(self.positions.error(&path.to_string(), message));
        }
    }

    fn listens(&mut self, place: Place, graphics: &Graphics) {
        let Some(kind) = graphics.kind else { return };
        let count = graphics.listens.len();
        for (index, listen) in graphics.listens.iter().enumerate() {
            let path = || format!("{place}/{}", nth("listen", count, index));
            match listen.kind {
                None => {
                    self.error(path(), "<listen> lacks its attribute 'type', one of address, network, socket, none")
                }
                Some(ListenType::Network) if listen.network.as_deref().unwrap_or_default().is_empty() => {
                    self.error(path(), "listen type 'network' needs its attribute 'network', the name of a network");
                }
                Some(listens @ (ListenType::Socket | ListenType::None))
                    if !matches!(kind, GraphicsKind::Vnc | GraphicsKind::Spice) =>
                {
                    self.error(
                        format!("{}/@type", path()),
                        format!("'{kind}' cannot listen on '{listens}', use 'address'"),
                    );
                }
                Some(_) => {}
            }
        }
        self.old_places(place, graphics);
    }

    /// The attributes `listen` and `socket` say what the first `<listen>` says.
    fn old_places(&mut self, path: Place, graphics: &Graphics) {
        let Some(first) = graphics.listens.first() else { return };
        let pairs = [
            ("listen", ListenType::Address, &graphics.listen, "address", &first.address),
            ("socket", ListenType::Socket, &graphics.socket, "socket", &first.socket),
        ];
        for (name, kind, old, attribute, new) in pairs {
            let (Some(old), Some(new)) = (old, new) else { continue };
            // A socket in the old place wins over an address.
            let wins = name == "listen" && graphics.socket.is_some() && graphics.kind == Some(GraphicsKind::Vnc);
            if first.kind == Some(kind) && old != new && !wins {
                let message = format!("'{old}' is not the {attribute} '{new}' of the first <listen>, give one of them");
                self.error(format!("{path}/@{name}"), message);
            }
        }
    }

    fn videos(&mut self, devices: &Devices) {
        let primary =
            |index: &usize| devices.videos[*index].model.as_ref().is_some_and(|model| model.primary == Some(true));
        for second in (0..devices.videos.len()).filter(primary).skip(1) {
            let path = Place::new("video", devices.videos.len(), second);
            self.error(
                format!("{path}/model/@primary"),
                "a second primary video device, there is one, say primary='yes' once",
            );
        }
    }

    fn macs(&mut self, devices: &Devices) {
        for (index, card) in devices.interfaces.iter().enumerate() {
            let Some(mac) = &card.mac else { continue };
            if mac.address.is_multicast() {
                let path = Place::new("interface", devices.interfaces.len(), index);
                self.error(
                    format!("{path}/mac/@address"),
                    format!("'{}' is a multicast address, its first byte is to be even", mac.address),
                );
            }
        }
    }

    /// A number is given once per kind. The companions of a USB controller share its number.
    fn controllers(&mut self, devices: &Devices) {
        let mut seen = Seen::new();
        for (index, controller) in devices.controllers.iter().enumerate() {
            let (Some(kind), Some(number)) = (controller.kind, controller.index) else { continue };
            let companion = controller.master.is_some() || controller.model.is_some_and(ControllerModel::is_ich9);
            if seen.insert((kind, number), ()).is_some() && !companion {
                let path = Place::new("controller", devices.controllers.len(), index);
                self.error(
                    format!("{path}/@index"),
                    format!("there is a controller '{kind}' {number} already, each number is given once"),
                );
            }
        }
    }

    /// Either kinds of devices are booted in an order, or single devices are.
    fn boot(&mut self, config: &DomainConfig) {
        let kinds = config.os.as_ref().is_some_and(|os| !os.boot.is_empty());
        let mut seen: Seen<u32, Place> = Seen::new();
        for (place, order) in boot_orders(&config.devices) {
            if kinds {
                self.error(
                    format!("{place}/boot"),
                    "<boot> of a device and <boot> of <os> exclude each other, remove one of them",
                );
            }
            if order == 0 {
                self.error(format!("{place}/boot/@order"), "0 is no place in the boot order, which begins with 1");
            } else if let Some(other) = seen.insert(order, place) {
                self.error(
                    format!("{place}/boot/@order"),
                    format!("place {order} is that of {other}/boot already, each number is given once"),
                );
            }
        }
    }
}
