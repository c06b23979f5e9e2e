//! Trusted platform modules: the host's, or one that swtpm emulates.

use std::path::PathBuf;

use polyvirt_core::model::misc::{Tpm, TpmBackendType, TpmModel};

use super::{
    Args, Folders, Input, Purpose, alias,
    option::{Members, Opts},
};

/// The host's TPM where nobody names it.
const TPM: &str = "/dev/tpm0";

pub(super) fn tpms(args: &mut Args, input: &Input<'_>) {
    for tpm in &input.config.devices.tpms {
        let name = alias::of(&tpm.info);
        if tpm.model == Some(TpmModel::SpaprTpmProxy) {
            let path = device(tpm);
            let members = Members::new("driver", "spapr-tpm-proxy").with("id", name).with("host-path", path);
            args.device(input, &tpm.info, members);
            continue;
        }
        let id = format!("tpm-{name}");
        let backend = backend(args, input, tpm, &id);
        args.add("-tpmdev", backend.build());
        let model = match tpm.model {
            Some(TpmModel::TpmCrb) => "tpm-crb",
            Some(TpmModel::TpmSpapr) => "tpm-spapr",
            // Boards of Arm have no ISA bus to put it on.
            _ if matches!(input.binary.arch.as_str(), "aarch64" | "arm" | "loongarch64" | "riscv64") => {
                "tpm-tis-device"
            }
            _ => "tpm-tis",
        };
        args.device(input, &tpm.info, Members::new("driver", model).with("tpmdev", id).with("id", name));
    }
}

/// Where swtpm listens that is started for the guest.
pub(crate) fn socket(folders: &Folders) -> PathBuf {
    folders.run.join("swtpm.sock")
}

fn device(tpm: &Tpm) -> &str {
    tpm.backend.as_ref().and_then(|it| it.device.as_ref()).map_or(TPM, |it| it.path.as_str())
}

fn backend(args: &mut Args, input: &Input<'_>, tpm: &Tpm, id: &str) -> Opts {
    let about = tpm.backend.as_ref();
    match about.and_then(|it| it.kind) {
        Some(TpmBackendType::Passthrough) => {
            let name = alias::of(&tpm.info);
            let opts = Opts::new("passthrough").with("id", id);
            match input.purpose {
                Purpose::Shown => {
                    let path = args.descriptors(&format!("{name}-tpm"));
                    let cancel = args.descriptors(&format!("{name}-cancel"));
                    opts.with("path", path).with("cancel-path", cancel)
                }
                Purpose::Run => opts.with("path", device(tpm)),
            }
        }
        kind => {
            let external =
                (kind == Some(TpmBackendType::External)).then(|| about?.source.as_ref()?.path.clone()).flatten();
            let own = || socket(input.folders).to_string_lossy().into_owned();
            let chardev = "chrtpm";
            let path = external.unwrap_or_else(own);
            args.add("-chardev", Opts::new("socket").with("id", chardev).with("path", path).build());
            Opts::new("emulator").with("id", id).with("chardev", chardev)
        }
    }
}
