//! Controllers and buses.

use polyvirt::model::controller::{Controller, ControllerDriver, ControllerKind, ControllerModel, ControllerTarget};

use super::Maker;

impl Maker {
    pub(super) fn controllers(&mut self) {
        if self.dice.chance(35) {
            let mut controller = self.controller(ControllerKind::Scsi, 0);
            controller.model = Some(self.dice.pick(&[
                ControllerModel::VirtioScsi,
                ControllerModel::VirtioScsi,
                ControllerModel::VirtioScsi,
                ControllerModel::Lsilogic,
                ControllerModel::Lsisas1068,
                ControllerModel::Vmpvscsi,
                ControllerModel::VirtioNonTransitional,
            ]));
            if matches!(controller.model, Some(ControllerModel::VirtioScsi)) && self.dice.chance(50) {
                let mut driver = ControllerDriver::default();
                driver.queues = self.dice.maybe(40, &[1, 4]);
                driver.cmd_per_lun = self.dice.maybe(30, &[50]);
                driver.max_sectors = self.dice.maybe(30, &[512]);
                driver.ioeventfd = self.dice.some(30);
                driver.virtio = self.virtio();
                if self.io_threads > 0 && self.dice.chance(50) {
                    driver.iothread = Some(self.dice.number(1, self.io_threads));
                }
                controller.driver = Some(driver);
            }
            self.config.devices.controllers.push(controller);
        }
        self.usb_controller();
        if self.dice.chance(15) {
            let mut controller = self.controller(ControllerKind::VirtioSerial, 0);
            controller.ports = self.dice.maybe(50, &[4, 16]);
            controller.vectors = self.dice.maybe(40, &[0, 8]);
            self.config.devices.controllers.push(controller);
        }
        if self.q35 {
            self.express_buses();
        } else if self.dice.chance(20) {
            let mut bridge = self.controller(ControllerKind::Pci, 1);
            bridge.model = Some(ControllerModel::PciBridge);
            self.config.devices.controllers.push(bridge);
        }
    }

    fn controller(&mut self, kind: ControllerKind, index: u32) -> Controller {
        let mut controller = Controller::default();
        (controller.kind, controller.index) = (Some(kind), Some(index));
        controller
    }

    fn usb_controller(&mut self) {
        let mut controller = self.controller(ControllerKind::Usb, 0);
        controller.model = Some(match self.dice.number(0, 19) {
            0..=2 => ControllerModel::Piix3Uhci,
            3..=6 => ControllerModel::QemuXhci,
            7 | 8 => ControllerModel::NecXhci,
            9 | 10 => ControllerModel::Ich9Ehci1,
            11 => ControllerModel::PciOhci,
            12 => ControllerModel::None,
            _ => return,
        });
        if controller.model == Some(ControllerModel::QemuXhci) {
            controller.ports = self.dice.maybe(40, &[8, 15]);
        }
        self.config.devices.controllers.push(controller);
    }

    fn express_buses(&mut self) {
        match self.dice.number(0, 9) {
            0 | 1 => {
                let mut root = self.controller(ControllerKind::Pci, 0);
                root.model = Some(ControllerModel::PcieRoot);
                self.config.devices.controllers.push(root);
                for index in 1..=self.dice.number(1, 10) {
                    let mut port = self.controller(ControllerKind::Pci, index);
                    port.model = Some(ControllerModel::PcieRootPort);
                    self.config.devices.controllers.push(port);
                }
            }
            2 => {
                for (index, model) in
                    [ControllerModel::DmiToPciBridge, ControllerModel::PciBridge].into_iter().enumerate()
                {
                    let mut bridge = self.controller(ControllerKind::Pci, u32::try_from(index).unwrap_or(0) + 1);
                    bridge.model = Some(model);
                    self.config.devices.controllers.push(bridge);
                }
            }
            3 => {
                for (index, model) in [
                    ControllerModel::PcieRootPort,
                    ControllerModel::PcieSwitchUpstreamPort,
                    ControllerModel::PcieSwitchDownstreamPort,
                    ControllerModel::PcieSwitchDownstreamPort,
                ]
                .into_iter()
                .enumerate()
                {
                    let mut port = self.controller(ControllerKind::Pci, u32::try_from(index).unwrap_or(0) + 1);
                    port.model = Some(model);
                    self.config.devices.controllers.push(port);
                }
            }
            4 => {
                let mut bus = self.controller(ControllerKind::Pci, 1);
                bus.model = Some(ControllerModel::PcieExpanderBus);
                if self.cells > 0 {
                    let mut target = ControllerTarget::default();
                    target.node = Some(self.dice.number(0, self.cells - 1));
                    bus.target = Some(target);
                }
                self.config.devices.controllers.push(bus);
            }
            _ => {}
        }
    }
}
