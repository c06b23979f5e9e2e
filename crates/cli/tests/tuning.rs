//! CPU, memory and limits of stored definitions, as a person or a script changes them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use root::Root;

fn defined(more: &str) -> Root {
    let root = Root::new();
    let devices = format!("{more}<serial");
    let xml = root::guest("g").replacen("<serial", &devices, 1);
    root.ok(&["define", &root.file("g.in", &xml)]);
    root
}

#[test]
fn vcpus_of_a_definition_are_counted_as_virsh_does() {
    let root = defined("");
    root.ok(&["setvcpus", "g", "4", "--maximum", "--config"]);
    root.ok(&["setvcpus", "g", "3", "--config", "--hotpluggable"]);
    assert_eq!(root.ok(&["vcpucount", "g"]), "maximum      config         4\ncurrent      config         3\n");
    assert_eq!(root.ok(&["vcpucount", "g", "--maximum", "--config"]), "4\n");
    assert!(root.ok(&["dumpxml", "g"]).contains("<vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/>"));
    root.ok(&["setvcpu", "g", "2", "--disable"]);
    assert_eq!(root.ok(&["vcpucount", "g", "--active"]), "2\n");
    let refused = root.refused(&["setvcpus", "g", "9", "--config"]);
    assert!(refused.contains("9 vCPUs, the definition allows 4"), "{refused}");
    assert!(root.refused(&["vcpucount", "g", "--live"]).contains("does not run"));
    assert!(root.refused(&["setvcpus", "g", "1", "--live"]).contains("does not run"));
}

#[test]
fn memory_of_a_definition_has_units() {
    let root = defined("");
    root.ok(&["setmaxmem", "g", "1GiB", "--config"]);
    root.ok(&["setmem", "g", "512M"]);
    let info = root.ok(&["dominfo", "g"]);
    assert!(info.contains("1048576 KiB") && info.contains("524288 KiB"), "{info}");
    assert!(root.refused(&["setmem", "g", "2G"]).contains("up to 1 GiB"));
    assert!(root.refused(&["setmem", "g", "much"]).contains("is no size"));
    root.ok(&["memtune", "g", "--hard-limit", "2GiB", "--swap-hard-limit", "3GiB"]);
    root.ok(&["memtune", "g", "--swap-hard-limit", "-1"]);
    assert_eq!(
        root.ok(&["memtune", "g"]),
        "hard_limit     : 2097152\nsoft_limit     : unlimited\nswap_hard_limit: unlimited\n"
    );
    let refused = root.refused(&["memtune", "g", "--swap-hard-limit", "1GiB"]);
    assert!(refused.contains("less than the 2 GiB"), "{refused}");
}

#[test]
fn io_threads_of_a_definition() {
    let root = defined("");
    root.ok(&["iothreadadd", "g", "2"]);
    root.ok(&["iothreadset", "g", "2", "--poll-max-ns", "9000"]);
    root.ok(&["iothreadpin", "g", "2", "0"]);
    let xml = root.ok(&["dumpxml", "g"]);
    assert!(xml.contains("<poll max='9000'/>") && xml.contains("<iothreadpin iothread='2' cpuset='0'/>"), "{xml}");
    assert!(root.ok(&["iothreadinfo", "g", "--json"]).contains("\"cpus\": \"0\""));
    assert!(root.refused(&["iothreadadd", "g", "2"]).contains("already"));
    root.ok(&["iothreaddel", "g", "2"]);
    assert!(root.refused(&["iothreaddel", "g", "2"]).contains("no I/O thread 2"));
}

#[test]
fn disks_are_limited_and_cables_pulled() {
    let root = defined(
        "<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/></disk>
         <interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>",
    );
    root.ok(&["blkdeviotune", "g", "vda", "--total-bytes-sec", "1M", "--read-iops-sec", "7"]);
    let shown = root.ok(&["blkdeviotune", "g", "/a"]);
    assert!(shown.starts_with("total_bytes_sec: 1048576\nread_bytes_sec : 0\n"), "{shown}");
    let refused = root.refused(&["blkdeviotune", "g", "vda", "--write-bytes-sec", "5"]);
    assert!(refused.contains("excludes"), "{refused}");
    assert!(root.refused(&["blkdeviotune", "g", "vdz"]).contains("no disk 'vdz'"));
    let card = "52:54:00:11:22:33";
    assert_eq!(root.ok(&["domif-getlink", "g", card]), format!("{card} up\n"));
    root.ok(&["domif-setlink", "g", card, "down", "--config"]);
    assert_eq!(root.ok(&["domif-getlink", "g", card, "--config"]), format!("{card} down\n"));
    assert!(root.refused(&["domif-getlink", "g", "vnet9"]).contains("vnet9"));
    assert!(root.ok(&["domiftune", "g", card]).starts_with("inbound.average: 0\ninbound.peak   : 0\n"));
    assert!(root.refused(&["domiftune", "g", card, "--inbound", "100", "--config"]).contains("not carried out"));
}

#[test]
fn cpu_time_of_a_definition() {
    let root = defined("");
    root.ok(&["schedinfo", "g", "cpu_shares=512", "vcpu_period=50000"]);
    let shown = root.ok(&["schedinfo", "g", "--set", "vcpu_quota=-1", "--config"]);
    assert!(
        shown
            .starts_with("Scheduler      : posix\ncpu_shares     : 512\nvcpu_period    : 50000\nvcpu_quota     : -1\n")
    );
    assert!(root.ok(&["dumpxml", "g"]).contains("<shares>512</shares>"));
    assert!(root.ok(&["schedinfo", "g", "--json"]).contains("\"emulator_quota\": 0"));
    root.ok(&["schedinfo", "g", "cpu_shares=0"]);
    assert!(!root.ok(&["dumpxml", "g"]).contains("shares"));
    assert!(root.refused(&["schedinfo", "g", "cpu_shares=262145"]).contains("262145 shares of CPU time, 1 to 262144"));
    assert!(root.refused(&["schedinfo", "g", "global_quota=5"]).contains("1000 to 17592186044415"));
    assert!(root.refused(&["schedinfo", "g", "weight=5"]).contains("there are cpu_shares"));
    assert!(root.refused(&["schedinfo", "g", "cpu_shares=5", "--live"]).contains("does not run"));
}

#[test]
fn block_io_of_a_definition() {
    let root = defined("");
    root.ok(&["blkiotune", "g", "--weight", "300", "--device-read-bytes-sec", "/dev/a,1M,/dev/b,7"]);
    root.ok(&["blkiotune", "g", "--device-weights", "/dev/a,500", "--device-read-bytes-sec", "/dev/b,0"]);
    assert_eq!(
        root.ok(&["blkiotune", "g"]),
        "weight         : 300\ndevice_weight  : /dev/a,500\ndevice_read_iops_sec: \ndevice_write_iops_sec: \n\
         device_read_bytes_sec: /dev/a,1048576\ndevice_write_bytes_sec: \n"
    );
    assert!(root.refused(&["blkiotune", "g", "--weight", "10001"]).contains("a weight of 10001, 1 to 10000"));
    assert!(root.refused(&["blkiotune", "g", "--device-weights", "sda,5"]).contains("'sda' is no path"));
}

#[test]
fn pins_and_policies_of_a_definition_are_said_as_virsh_does() {
    let root = defined("");
    root.ok(&["emulatorpin", "g", "--cpulist", "0"]);
    assert_eq!(
        root.ok(&["emulatorpin", "g"]),
        "emulator: CPU Affinity\n----------------------------------\n       *: 0\n"
    );
    root.ok(&["vcpupin", "g", "0", "r", "--config"]);
    assert!(!root.ok(&["vcpupin", "g", "0", "--json"]).contains("\"-\""), "all CPUs are named");
    root.ok(&["numatune", "g", "--mode", "3", "--nodeset", "0"]);
    assert_eq!(root.ok(&["numatune", "g"]), "numa_mode      : restrictive\nnuma_nodeset   : 0\n");
    assert!(root.refused(&["numatune", "g", "--mode", "4"]).contains("'4'"));
    assert!(root.refused(&["vcpupin", "g", "9", "0"]).contains("there is no vCPU 9"));
    assert!(root.refused(&["emulatorpin", "g", "4095"]).contains("4095"));
}
