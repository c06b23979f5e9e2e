//! 5,000 definitions on disk: from open to a full list (name, UUID, state, vCPUs, memory, autostart), page cache warm.
//!
//! Each round is a fresh process, because a connection remembers what it read.

use std::{path::Path, process::Command, time::Instant};

const GUESTS: u32 = 5_000;
const ROUNDS: usize = 21;

fn guest(i: u32) -> String {
    let uuid = format!("00000000-0000-4000-8000-{i:012x}");
    format!(
        "<domain type='test'>
  <name>guest-{i:05}</name>
  <uuid>{uuid}</uuid>
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  <vcpu placement='static'>4</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='host-passthrough'/>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/var/lib/images/guest-{i:05}.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'>
      <mac address='52:54:00:00:{:02x}:{:02x}'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='virtio'/>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
  </devices>
</domain>
",
        i / 256 % 256,
        i % 256
    )
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    if let [_, mode, root] = &args[..]
        && mode == "--once"
    {
        once(Path::new(root));
        return;
    }
    let dir = polyvirt_tests::root();
    let config = dir.path().join("config/mock");
    std::fs::create_dir_all(&config).expect("a directory");
    for i in 0..GUESTS {
        std::fs::write(config.join(format!("guest-{i:05}.xml")), guest(i)).expect("a definition");
    }
    let me = std::env::current_exe().expect("this program");
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let output = Command::new(&me).arg("--once").arg(dir.path()).output().expect("a round");
            String::from_utf8_lossy(&output.stdout).trim().parse().expect("milliseconds")
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "list of {GUESTS} definitions, {ROUNDS} processes: median {:.1} ms, best {:.1}, worst {:.1}",
        times[ROUNDS / 2],
        times[0],
        times[ROUNDS - 1]
    );
}

/// Opens, lists, checks, and prints the milliseconds it took.
fn once(root: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let begin = Instant::now();
        let connection = polyvirt_tests::connect("mock", root, |_| {}).await;
        let list = connection.list().await.expect("a list");
        let took = begin.elapsed();
        assert_eq!(list.len(), usize::try_from(GUESTS).expect("small"));
        assert!(
            list.iter().all(|g| g.problem.is_none() && g.uuid.is_some() && g.vcpus == 4 && g.memory.0 == 2_097_152)
        );
        println!("{:.3}", took.as_secs_f64() * 1e3);
    });
}
