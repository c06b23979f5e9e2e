//! Embeds the QEMU driver alone and boots a guest: no daemon, no C library.
//!
//! `cargo run --example embed_qemu --no-default-features --features qemu -- KERNEL INITRD [MARKER]`: prints the guest's serial
//! console until a line has MARKER, then ends the guest.

use std::{error::Error, time::Duration};

use polyvirt::model::{DomainConfig, DomainKind, Kib, chardev::Serial, features::Features, os::Os, vcpu::Vcpu};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().collect();
    let [_, kernel, initrd, rest @ ..] = &args[..] else { return Err("KERNEL INITRD [MARKER]".into()) };
    let marker = rest.first().map_or("login:", String::as_str);
    let root = tempfile::Builder::new().prefix("pv").tempdir()?;
    std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;

    let connection = polyvirt::open(&format!("qemu:///embed?root={}", root.path().display())).await?;
    let os = Os::hvm("x86_64", "q35").with_kernel(kernel.as_str()).with_initrd(initrd.as_str());
    let definition = DomainConfig::new(DomainKind::Qemu, "embedded")
        .with_memory(Kib::from_mib(256))
        .with_vcpu(Vcpu::of(2).auto())
        .with_os(os.with_cmdline("console=ttyS0 quiet"))
        .with_features(Features::default().with_acpi(true))
        .with_device(Serial::pty());
    let guest = connection.create(&definition.to_xml(), true).await?.guest;
    let mut console = BufReader::new(guest.console(None).await?);
    guest.resume().await?;

    let boot = async {
        let mut line = Vec::new();
        while console.read_until(b'\n', &mut line).await? > 0 {
            let text = String::from_utf8_lossy(&line).into_owned();
            print!("{text}");
            if text.contains(marker) {
                return Ok(());
            }
            line.clear();
        }
        Err(Box::<dyn Error>::from("the console ended"))
    };
    let booted = tokio::time::timeout(Duration::from_secs(120), boot).await;
    guest.destroy(polyvirt::Destroy::default()).await?;
    booted?
}
