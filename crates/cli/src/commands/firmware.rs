//! `firmware`: what guests can boot.

use std::path::Path;

use polyvirt::firmware::{Descriptor, Feature, Firmwares, Interface};

use super::{Done, domxml::host_arch};
use crate::{
    args::{FirmwareCommand, FirmwareList},
    output::Output,
};

pub(super) fn firmware(command: FirmwareCommand, out: &mut Output) -> Done {
    let FirmwareCommand::List(args) = command;
    list(&args, out)
}

fn list(args: &FirmwareList, out: &mut Output) -> Done {
    let arch = match args.arch.as_deref().unwrap_or_else(|| host_arch()) {
        // QEMU's name of it.
        "i686" => "i386",
        "armv6l" | "armv7l" => "arm",
        other => other,
    };
    let installed = Firmwares::read(args.sysroot.as_deref().unwrap_or(Path::new("/")), None);
    for problem in &installed.problems {
        out.warning(&problem.to_string());
    }
    let fitting: Vec<&Descriptor> = installed.of_machine(arch, &args.machine).collect();
    let has = |interface| fitting.iter().any(|it| it.interface_types.contains(&interface));
    let secure = fitting.iter().any(|it| it.has(&Feature::SecureBoot));
    let mut interfaces = Vec::new();
    interfaces.extend(has(Interface::Bios).then_some("bios"));
    interfaces.extend(has(Interface::Uefi).then_some("efi"));
    if out.json {
        let all = fitting.iter().map(|it| {
            let template = it.nvram_template().map(|image| image.filename.as_str());
            serde_json::json!({ "executable": it.executable(), "nvram_template": template })
        });
        let all: Vec<_> = all.collect();
        let json = serde_json::json!({ "interfaces": interfaces, "secure": secure, "firmware": all });
        out.line(&json.to_string());
        return Ok(());
    }
    if fitting.is_empty() {
        out.warning(&format!("no firmware is installed for machine '{}' of {arch}", args.machine));
    }
    for it in fitting {
        let template = it.nvram_template().map(|image| format!("  variables from {}", image.filename));
        let secure = if it.has(&Feature::SecureBoot) { "  secure boot" } else { "" };
        out.line(&format!("{}{}{secure}", it.executable(), template.unwrap_or_default()));
    }
    Ok(())
}
