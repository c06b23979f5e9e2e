//! Groups with real processes in them; wherever the host lets us make any.

use std::{fs, io};

use super::*;
use crate::{
    CpuMask, NodeMask, SpawnSpec, Stdio,
    cgroup::{GroupName, Hierarchy, Part},
    get_affinity, spawn, threads,
};

const WITHIN: Duration = Duration::from_secs(20);

fn group(name: &str) -> Option<(Hierarchy, Cgroup)> {
    match Hierarchy::detect() {
        Ok(hierarchy) => {
            let name = GroupName::new(&format!("test-{}-{name}", std::process::id()));
            let group = hierarchy.create(&name).unwrap();
            Some((hierarchy, group))
        }
        Err(reason) => {
            assert_ne!(std::env::var("POLYVIRT_REQUIRE").as_deref(), Ok("cgroup"), "{reason}");
            println!("skipped: {reason}");
            None
        }
    }
}

/// A process that does nothing, in the emulator part.
fn spec(group: &Cgroup) -> SpawnSpec {
    let mut spec = SpawnSpec::new("/bin/sleep");
    spec.args = vec!["1000".into()];
    spec.cgroups = group.join_files(Part::Emulator).unwrap();
    spec
}

fn cgroup_of(pid: u32, tid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{tid}/cgroup")).unwrap()
}

#[tokio::test]
async fn a_process_starts_in_its_part_and_is_confined() {
    let Some((_, group)) = group("confined") else { return };
    let cpu = CpuMask::new(get_affinity(0).unwrap().iter().last()).unwrap();
    let emulator = group.part(Part::Emulator).unwrap();
    emulator.set_cpus(&cpu).unwrap();
    emulator.set_mems(&NodeMask::new([0]).unwrap()).unwrap();
    let child = spawn(&spec(&group)).unwrap().open_gate(WITHIN).await.unwrap();
    let pid = child.id().pid;
    assert_eq!(get_affinity(pid).unwrap(), cpu);
    assert_eq!(emulator.threads().unwrap(), [pid]);
    assert_eq!(group.processes().unwrap(), [pid]);
    let name = group.path().file_name().unwrap().to_str().unwrap();
    assert!(cgroup_of(pid, pid).contains(&format!("/polyvirt/{name}/emulator")));

    match group.destroy(Duration::ZERO).await {
        Err(CgroupError::Populated { first, .. }) => assert_eq!(first, pid),
        other => panic!("{other:?}"),
    }
    group.kill_all(WITHIN).await.unwrap();
    assert!(!child.wait().await.unwrap().is_success());
    group.destroy(WITHIN).await.unwrap();
    group.destroy(WITHIN).await.unwrap();
    assert!(!group.path().exists());
}

/// Not a test of its own: a process with two threads, for the next one.
#[test]
fn two_threads() {
    if std::env::var_os("POLYVIRT_TEST_THREADS").is_none() {
        return;
    }
    let thread = std::thread::Builder::new().name("CPU 0/TCG".into()).spawn(|| {
        println!("\nready");
        io::stdin().read_line(&mut String::new()).unwrap();
    });
    thread.unwrap().join().unwrap();
}

#[tokio::test]
async fn threads_move_apart() {
    use std::io::BufRead;
    let Some((hierarchy, group)) = group("threads") else { return };
    group.part(Part::Emulator).unwrap();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (input, _keep) = nix::unistd::pipe().unwrap();
    let mut spec = SpawnSpec::new(std::env::current_exe().unwrap());
    spec.args = ["--exact", "--nocapture", "cgroup::remove::tests::two_threads"].map(Into::into).to_vec();
    spec.env = vec![("POLYVIRT_TEST_THREADS".into(), "1".into())];
    spec.stdin = Stdio::Fd(input);
    spec.stdout = Stdio::Fd(writer);
    spec.cgroups = group.join_files(Part::Emulator).unwrap();
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    drop(spec);
    let lines = io::BufReader::new(fs::File::from(reader)).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "ready"));

    let pid = child.id().pid;
    let tid = threads(pid).unwrap().into_iter().find(|thread| thread.name == "CPU 0/TCG").unwrap().tid;
    let cpu = CpuMask::new(get_affinity(pid).unwrap().iter().take(1)).unwrap();
    let vcpu = group.part(Part::Vcpu(0)).unwrap();
    vcpu.set_cpus(&cpu).unwrap();
    vcpu.set_mems(&NodeMask::new([0]).unwrap()).unwrap();
    vcpu.attach(tid).unwrap();
    assert_eq!(vcpu.threads().unwrap(), [tid]);
    assert_eq!(get_affinity(tid).unwrap(), cpu);
    assert!(group.part(Part::Emulator).unwrap().threads().unwrap().contains(&pid));
    // Found again by name alone, as after a restart.
    let name = GroupName::new(group.path().file_name().unwrap().to_str().unwrap());
    assert!(hierarchy.groups().unwrap().contains(&name));
    let found = hierarchy.open(&name).unwrap();
    assert_eq!(found.processes().unwrap(), [pid]);
    match hierarchy.create(&name) {
        Err(CgroupError::Populated { count: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    found.kill_all(WITHIN).await.unwrap();
    child.wait().await.unwrap();
    found.destroy(WITHIN).await.unwrap();
    assert!(hierarchy.open(&name).is_none());
}

#[tokio::test]
async fn a_running_process_is_adopted_with_its_threads() {
    let Some((_, group)) = group("adopted") else { return };
    let mut spec = SpawnSpec::new("/bin/sleep");
    spec.args = vec!["1000".into()];
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    assert!(group.processes().unwrap().is_empty());
    let pid = child.id().pid;
    group.adopt(pid, Part::Emulator).unwrap();
    group.adopt(pid, Part::Emulator).unwrap();
    assert_eq!(group.processes().unwrap(), [pid]);
    assert_eq!(group.part(Part::Emulator).unwrap().threads().unwrap(), [pid]);
    group.kill_all(WITHIN).await.unwrap();
    child.wait().await.unwrap();
    assert!(group.adopt(0x3fff_ffff, Part::Emulator).is_err());
    group.destroy(WITHIN).await.unwrap();
}

#[tokio::test]
async fn what_is_not_possible_is_said() {
    let Some((_, group)) = group("refused") else { return };
    let part = group.part(Part::IoThread(1)).unwrap();
    let error = part.set_cpus(&CpuMask::new([60_000]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("write '60000' to") && error.contains("iothread1/cpuset.cpus"), "{error}");
    assert!(part.set_mems(&NodeMask::new([1023]).unwrap()).is_err());
    assert!(part.attach(0x3fff_ffff).is_err());
    group.destroy(WITHIN).await.unwrap();
}

#[tokio::test]
async fn a_process_that_forks_does_not_escape() {
    let Some((_, group)) = group("forks") else { return };
    group.part(Part::Emulator).unwrap();
    let mut spec = SpawnSpec::new("/bin/sh");
    let script = "i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i+1)); done; wait";
    spec.args = vec!["-c".into(), script.into()];
    spec.env = vec![("PATH".into(), "/bin:/usr/bin".into())];
    spec.cgroups = group.join_files(Part::Emulator).unwrap();
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    group.kill_all(WITHIN).await.unwrap();
    assert_eq!(group.processes().unwrap(), [0u32; 0]);
    child.wait().await.unwrap();
    group.destroy(WITHIN).await.unwrap();
}
