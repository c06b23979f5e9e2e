//! Network cards.

use polyvirt::model::interface::{
    Interface, InterfaceDriver, InterfaceDriverName, InterfaceKind, InterfaceModel, InterfaceSource, LinkState, Mac,
    MacAddress, Mtu, SocketType, SourceMode,
};

use super::Maker;

const CARDS: &[&str] = &[
    "virtio",
    "virtio",
    "virtio",
    "virtio",
    "e1000",
    "e1000e",
    "rtl8139",
    "virtio-non-transitional",
    "virtio-transitional",
];

impl Maker {
    pub(super) fn network(&mut self) {
        for number in 0..self.dice.pick(&[0, 1, 1, 1, 2, 3]) {
            self.card(number);
        }
    }

    fn card(&mut self, number: u8) {
        let mut card = Interface::default();
        let mut mac = Mac::default();
        mac.address = MacAddress([0x52, 0x54, 0, 1, 2, number]);
        card.mac = Some(mac);
        let model = self.dice.pick(CARDS);
        let mut source = InterfaceSource::default();
        let kind = if self.shared && self.dice.chance(40) {
            source.kind = Some(SocketType::Unix);
            source.path = Some(format!("/run/vhost {number}"));
            source.mode = Some(self.dice.pick(&[SourceMode::Server, SourceMode::Client]));
            InterfaceKind::VhostUser
        } else if self.dice.chance(30) {
            source.bridge = Some("br0".to_owned());
            InterfaceKind::Bridge
        } else {
            self.dice.pick(&[InterfaceKind::Ethernet, InterfaceKind::User])
        };
        card.kind = Some(kind);
        card.source = (source != InterfaceSource::default()).then_some(source);
        let model = if kind == InterfaceKind::VhostUser { "virtio" } else { model };
        let mut chosen = InterfaceModel::default();
        chosen.kind = model.to_owned();
        card.model = Some(chosen);
        if model == "virtio" && self.dice.chance(40) {
            let mut driver = InterfaceDriver::default();
            driver.name = self.dice.maybe(40, &[InterfaceDriverName::Qemu, InterfaceDriverName::Vhost]);
            driver.queues = if kind == InterfaceKind::User { None } else { self.dice.maybe(40, &[1, 2, 4]) };
            driver.rx_queue_size = self.dice.maybe(20, &[512, 1024]);
            driver.txmode = self.dice.some(20);
            driver.ioeventfd = self.dice.some(20);
            driver.event_idx = self.dice.some(20);
            driver.virtio = self.virtio();
            card.driver = Some(driver);
        }
        if self.dice.chance(15) {
            let mut link = LinkState::default();
            link.state = self.dice.some(100);
            card.link = Some(link);
        }
        if self.dice.chance(if kind == InterfaceKind::User { 1 } else { 12 }) {
            let mut mtu = Mtu::default();
            mtu.size = 9000;
            card.mtu = Some(mtu);
        }
        card.info.boot = self.next_boot();
        self.config.devices.interfaces.push(card);
    }
}
