//! PCI: root ports, bridges, switches, expanders and host bridges.

use polyvirt_core::model::controller::{Controller, ControllerModel};

use super::{Args, Input, option::Members};

/// The device of a bridge; `None` for a root, which is the machine's.
pub(super) fn bridge(args: &mut Args, controller: &Controller, input: &Input<'_>) -> Result<Option<Members>, String> {
    let index = controller.index.unwrap_or(0);
    let target = controller.target.as_ref();
    let chassis = target.and_then(|it| it.chassis).unwrap_or(index);
    let port = target.and_then(|it| it.port).unwrap_or(index);
    let model = controller.model_name.as_ref().and_then(|it| it.name).map(|it| it.as_str());
    let hotplug = target.and_then(|it| it.hotplug);
    let reserve = target.and_then(|it| it.mem_reserve).map(|it| it.saturating_mul(1024));
    let members = match controller.model {
        None | Some(ControllerModel::PciRoot | ControllerModel::PcieRoot) if index == 0 => {
            root(args, controller, input);
            return Ok(None);
        }
        Some(ControllerModel::PciRoot) => Members::new("driver", "spapr-pci-host-bridge")
            .with("index", target.and_then(|it| it.index).unwrap_or(index))
            .maybe("numa_node", target.and_then(|it| it.node)),
        Some(ControllerModel::PcieRootPort) => Members::new("driver", model.unwrap_or("pcie-root-port"))
            .with("port", port)
            .with("chassis", chassis)
            .maybe("hotplug", hotplug)
            .maybe("mem-reserve", reserve),
        Some(ControllerModel::PcieSwitchUpstreamPort) => Members::new("driver", model.unwrap_or("x3130-upstream")),
        Some(ControllerModel::PcieSwitchDownstreamPort) => {
            Members::new("driver", model.unwrap_or("xio3130-downstream"))
                .with("port", port)
                .with("chassis", chassis)
                .maybe("hotplug", hotplug)
        }
        Some(ControllerModel::PciBridge) => Members::new("driver", model.unwrap_or("pci-bridge"))
            .with("chassis_nr", target.and_then(|it| it.chassis_nr).unwrap_or(index))
            .maybe("mem-reserve", reserve),
        Some(ControllerModel::PcieToPciBridge) => Members::new("driver", model.unwrap_or("pcie-pci-bridge")),
        Some(ControllerModel::DmiToPciBridge) => Members::new("driver", model.unwrap_or("i82801b11-bridge")),
        Some(ControllerModel::PciExpanderBus) => expander(controller, model.unwrap_or("pxb")),
        Some(ControllerModel::PcieExpanderBus) => expander(controller, model.unwrap_or("pxb-pcie")),
        other => {
            let words = "'pcie-root-port', 'pci-bridge', 'pcie-to-pci-bridge' or 'dmi-to-pci-bridge'";
            let name = other.map_or("", ControllerModel::as_str);
            return Err(format!("no PCI controller '{name}' can be had; use {words}"));
        }
    };
    Ok(Some(members))
}

fn expander(controller: &Controller, driver: &str) -> Members {
    let target = controller.target.as_ref();
    Members::new("driver", driver)
        .maybe("bus_nr", target.and_then(|it| it.bus_nr))
        .maybe("numa_node", target.and_then(|it| it.node))
}

/// What can be said of a bus that the machine has: properties of its host bridge.
fn root(args: &mut Args, controller: &Controller, input: &Input<'_>) {
    if let Some(hole) = controller.pcihole64 {
        let bridge = if input.is_q35() { "q35-pcihost" } else { "i440FX-pcihost" };
        args.add("-global", format!("{bridge}.pci-hole64-size={}K", hole.0));
    }
    let hotplug = controller.target.as_ref().and_then(|it| it.hotplug);
    if let Some(on) = hotplug.filter(|_| controller.model == Some(ControllerModel::PciRoot) && input.is_x86()) {
        args.add("-global", format!("PIIX4_PM.acpi-root-pci-hotplug={}", super::option::on_off(on)));
    }
}
