//! Serial ports, consoles, channels and what they are connected to.

use polyvirt::model::chardev::{
    Channel, ChannelTarget, ChannelTargetType, CharBackend, CharEndpoint, CharLog, CharMode, CharProtocol, CharSource,
    Console, ConsoleTarget, ConsoleTargetType, Parallel, Protocol, Reconnect, Serial, SerialTarget, SerialTargetType,
};

use super::Maker;

impl Maker {
    pub(super) fn chardevs(&mut self) {
        for number in 0..self.dice.pick(&[0, 0, 1, 1, 2, 3]) {
            let (kind, backend) = self.backend(&format!("serial{number}"));
            let mut serial = Serial::default();
            (serial.kind, serial.backend) = (Some(kind), backend);
            let mut target = SerialTarget::default();
            target.port = self.dice.maybe(30, &[number]);
            target.kind = self.dice.maybe(
                30,
                &[
                    SerialTargetType::IsaSerial,
                    SerialTargetType::PciSerial,
                    SerialTargetType::UsbSerial,
                    SerialTargetType::IsaDebug,
                ],
            );
            serial.target = (target != SerialTarget::default()).then_some(target);
            self.config.devices.serials.push(serial);
        }
        if self.dice.chance(10) {
            let (kind, backend) = self.backend("parallel0");
            let mut parallel = Parallel::default();
            (parallel.kind, parallel.backend) = (Some(kind), backend);
            self.config.devices.parallels.push(parallel);
        }
        if self.dice.chance(30) {
            let (kind, backend) = self.backend("console0");
            let mut console = Console::default();
            (console.kind, console.backend) = (Some(kind), backend);
            let mut target = ConsoleTarget::default();
            target.kind = Some(ConsoleTargetType::Virtio);
            console.target = Some(target);
            self.config.devices.consoles.push(console);
        }
        for number in 0..self.dice.pick(&[0, 0, 1, 1, 2, 3]) {
            self.channel(number);
        }
    }

    fn channel(&mut self, number: u32) {
        let mut channel = Channel::default();
        let mut target = ChannelTarget::default();
        target.kind = Some(ChannelTargetType::Virtio);
        let (kind, backend) = self.backend(&format!("channel{number}"));
        (channel.kind, channel.backend) = (Some(kind), backend);
        target.name =
            self.dice.maybe(70, &[format!("org.example, {number}"), format!("org.qemu.guest_agent.{number}")]);
        channel.target = Some(target);
        self.config.devices.channels.push(channel);
    }

    /// What a character device is connected to. Those of SPICE need its server and come with it.
    pub(super) fn backend(&mut self, name: &str) -> (CharBackend, CharSource) {
        let mut source = CharSource::default();
        let mut end = CharEndpoint::default();
        let kind = self.dice.word_but::<CharBackend>(&[
            "vc",
            "stdio",
            "spicevmc",
            "spiceport",
            "nmdm",
            "qemu-vdagent",
            "dbus",
            "dev",
        ]);
        match kind {
            CharBackend::File => {
                end.path = Some(format!("/tmp/{name}, x.log"));
                end.append = self.dice.some(40);
            }
            CharBackend::Pipe => end.path = Some(format!("/tmp/{name}.pipe")),
            CharBackend::Unix => {
                end.path = Some(format!("/tmp/{name} a.sock"));
                let mode = self.dice.pick(&[CharMode::Bind, CharMode::Connect]);
                end.mode = Some(mode);
                end.reconnect = self.again(mode);
            }
            CharBackend::Tcp => {
                let mode = self.dice.pick(&[CharMode::Bind, CharMode::Connect]);
                end.mode = Some(mode);
                end.host = Some(self.dice.pick(&["127.0.0.1", "::1", "host.example"]).to_owned());
                end.service = Some("7777".to_owned());
                end.reconnect = self.again(mode);
                end.tls = self.dice.maybe(15, &[false]);
                let mut protocol = Protocol::default();
                protocol.kind = self.dice.maybe(60, &[CharProtocol::Raw, CharProtocol::Telnet]);
                source.protocol = protocol.kind.is_some().then_some(protocol);
            }
            CharBackend::Udp => {
                let mut local = CharEndpoint::default();
                local.mode = Some(CharMode::Bind);
                (local.host, local.service) = (Some("127.0.0.1".to_owned()), Some("7001".to_owned()));
                if self.dice.chance(70) {
                    source.source.push(local);
                }
                end.mode = Some(CharMode::Connect);
                (end.host, end.service) = (Some("127.0.0.1".to_owned()), Some("7002".to_owned()));
            }
            _ => {}
        }
        if end != CharEndpoint::default() {
            source.source.push(end);
        }
        if self.dice.chance(15) {
            let mut log = CharLog::default();
            log.file = format!("/tmp/{name}.log");
            log.append = self.dice.some(50);
            source.log = Some(log);
        }
        (kind, source)
    }

    fn again(&mut self, mode: CharMode) -> Option<Reconnect> {
        if mode != CharMode::Connect || !self.dice.chance(40) {
            return None;
        }
        let mut again = Reconnect::default();
        again.enabled = Some(self.dice.chance(70));
        again.timeout = (again.enabled == Some(true)).then_some(10);
        Some(again)
    }
}
