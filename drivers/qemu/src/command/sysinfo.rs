//! What firmware tells the guest: SMBIOS tables, and files of fw_cfg.

use polyvirt_core::model::os::{SmbiosMode, Sysinfo, SysinfoType};

use super::{Args, Input, option::Opts};

pub(super) fn sysinfo(args: &mut Args, input: &Input<'_>) {
    let mode = input.config.os.as_ref().and_then(|it| it.smbios.as_ref()).and_then(|it| it.mode);
    let infos = &input.config.sysinfo;
    if mode == Some(SmbiosMode::Sysinfo) {
        for info in infos.iter().filter(|it| it.kind != Some(SysinfoType::Fwcfg)) {
            tables(args, info);
        }
    }
    for entry in infos.iter().filter(|it| it.kind == Some(SysinfoType::Fwcfg)).flat_map(|it| &it.entry) {
        let opts = Opts::pair("name", entry.name.as_deref().unwrap_or_default());
        let opts = match &entry.file {
            Some(file) => opts.with("file", file),
            None => opts.with("string", entry.value.as_deref().unwrap_or_default()),
        };
        args.add("-fw_cfg", opts.build());
    }
}

/// One `-smbios`. QEMU has libvirt's words for the entries.
macro_rules! table {
    ($args:expr, $number:literal, $block:expr) => {
        let entries = $block.entry.iter().filter_map(|it| Some((it.name?.as_str(), it.value.as_deref()?)));
        let mut entries = entries.peekable();
        if entries.peek().is_some() {
            let opts = entries.fold(Opts::pair("type", $number), |opts, (name, value)| opts.with(name, value));
            $args.add("-smbios", opts.build());
        }
    };
}

/// Types 0, 1, 2, 3 and 11 of the SMBIOS specification.
fn tables(args: &mut Args, info: &Sysinfo) {
    if let Some(bios) = &info.bios {
        table!(args, 0, bios);
    }
    if let Some(system) = &info.system {
        table!(args, 1, system);
    }
    for board in &info.base_board {
        table!(args, 2, board);
    }
    if let Some(chassis) = &info.chassis {
        table!(args, 3, chassis);
    }
    if let Some(strings) = info.oem_strings.as_ref().filter(|it| !it.entry.is_empty()) {
        let opts = strings.entry.iter().fold(Opts::pair("type", 11), |opts, it| opts.with("value", it));
        args.add("-smbios", opts.build());
    }
}
