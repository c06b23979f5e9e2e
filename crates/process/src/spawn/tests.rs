use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use nix::sys::signal::kill;
use nix::unistd::{Pid, pipe};

use super::*;
use crate::{CpuMask, Credentials, KeptFd, NodeMask, Watched, get_affinity};

const WITHIN: Duration = Duration::from_secs(20);

/// `cat`, with both its ends in our hands: once it has echoed a line it is past its start-up.
struct Cat {
    stdin: File,
    stdout: BufReader<File>,
}

impl Cat {
    fn spec() -> (SpawnSpec, Self) {
        let (input, stdin) = pipe().unwrap();
        let (stdout, output) = pipe().unwrap();
        let mut spec = SpawnSpec::new("/bin/cat");
        spec.stdin = Stdio::Fd(input);
        spec.stdout = Stdio::Fd(output);
        (spec, Self { stdin: stdin.into(), stdout: BufReader::new(stdout.into()) })
    }

    fn echo(&mut self) {
        self.stdin.write_all(b"hello\n").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
    }
}

fn sh(script: &str) -> SpawnSpec {
    let mut spec = SpawnSpec::new("/bin/sh");
    spec.args = vec!["-c".into(), script.into()];
    spec
}

async fn output(mut spec: SpawnSpec) -> String {
    let (reader, writer) = pipe().unwrap();
    spec.stdout = Stdio::Fd(writer);
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    drop(spec);
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    child.wait().await.unwrap();
    text
}

fn status_line(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.trim().to_owned()
}

async fn failure(spec: &SpawnSpec) -> SpawnError {
    let gated = spawn(spec).unwrap();
    let id = gated.id();
    let error = gated.open_gate(WITHIN).await.unwrap_err();
    assert!(!id.is_running().unwrap(), "the failed child is still there");
    error
}

#[tokio::test]
async fn runs_and_tells_how_it_ended() {
    let child = spawn(&sh("exit 7")).unwrap().open_gate(WITHIN).await.unwrap();
    assert_eq!(child.wait().await.unwrap(), ExitStatus::Code(7));
    assert_eq!(child.wait().await.unwrap(), ExitStatus::Code(7));
    assert_eq!(child.try_wait().unwrap(), Some(ExitStatus::Code(7)));
    let child = spawn(&sh("kill -USR1 $$")).unwrap().open_gate(WITHIN).await.unwrap();
    let number = Signal::SIGUSR1 as i32;
    assert_eq!(child.wait().await.unwrap(), ExitStatus::Signal { number, core_dumped: false });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_children_with_many_waiters() {
    let children = (0..20).map(|code| async move {
        let child = std::sync::Arc::new(spawn(&sh(&format!("exit {code}"))).unwrap().open_gate(WITHIN).await.unwrap());
        let other = child.clone();
        let waiter = tokio::spawn(async move { other.wait().await.unwrap() });
        assert_eq!(child.wait().await.unwrap(), ExitStatus::Code(code));
        assert_eq!(waiter.await.unwrap(), ExitStatus::Code(code));
    });
    let tasks: Vec<_> = children.map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn a_dropped_gate_means_no_program() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("ran");
    let gated = spawn(&sh(&format!("echo ran > {}", mark.display()))).unwrap();
    let id = gated.id();
    assert!(id.is_running().unwrap());
    drop(gated);
    assert!(!id.is_running().unwrap());
    assert_eq!(ProcessId::of(id.pid).unwrap_err().kind(), io::ErrorKind::NotFound, "not reaped");
    assert!(!mark.exists());
}

/// Not a test of its own: the parent that dies in the next one.
#[test]
fn parent_that_dies() {
    let Some(mark) = std::env::var_os("POLYVIRT_TEST_MARK") else { return };
    let script = format!("echo ran > {}", mark.display());
    let gated: Vec<GatedChild> = (0..3).map(|_| spawn(&sh(&script)).unwrap()).collect();
    let ids: Vec<String> = gated.iter().map(|it| format!("{} {}", it.id().pid, it.id().start_time)).collect();
    println!("\nids {}", ids.join(" "));
    // Until we are killed.
    io::stdin().read_exact(&mut [0]).ok();
}

#[tokio::test]
async fn a_dead_parent_means_no_program() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("ran");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "spawn::tests::parent_that_dies"])
        .env("POLYVIRT_TEST_MARK", &mark)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("ids ")).unwrap();
    let numbers: Vec<u64> = line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
    let watched: Vec<Watched> = numbers
        .chunks(2)
        .map(|id| ProcessId { pid: u32::try_from(id[0]).unwrap(), start_time: id[1] })
        .map(|id| Watched::open(id).unwrap().expect("waits at its gate"))
        .collect();
    assert_eq!(watched.len(), 3);
    parent.kill().unwrap();
    parent.wait().unwrap();
    for child in &watched {
        // Each holds only its own gate, or the first would wait for the last.
        tokio::time::timeout(WITHIN, child.exited()).await.expect("outlived its parent").unwrap();
    }
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_missing_program_is_named_with_step_and_errno() {
    let error = failure(&SpawnSpec::new("/nonexistent/qemu")).await;
    assert_eq!(error.step(), Some((Step::Exec, libc::ENOENT)));
    assert_eq!(
        error.to_string(),
        "cannot start '/nonexistent/qemu': the child could not execute '/nonexistent/qemu': \
         No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn each_step_reports_its_own_failure() {
    let mut spec = sh("true");
    spec.directory = "/nonexistent".into();
    assert_eq!(failure(&spec).await.step(), Some((Step::Directory, libc::ENOENT)));

    let mut spec = sh("true");
    spec.affinity = Some(CpuMask::new([60_000]).unwrap());
    let error = failure(&spec).await;
    assert_eq!(error.step(), Some((Step::Affinity, libc::EINVAL)));
    assert!(error.to_string().contains("60000"), "{error}");

    let mut spec = sh("true");
    spec.memory_policy = Some(MemoryPolicy::new(PolicyMode::Bind, NodeMask::new([63]).unwrap()));
    let error = failure(&spec).await;
    assert_eq!(error.step(), Some((Step::MemoryPolicy, libc::EINVAL)));
    assert!(error.to_string().contains("Bind of nodes 63"), "{error}");

    let mut spec = sh("true");
    spec.limits = vec![(Resource::CoreFile, Limit::exactly(0)), (Resource::OpenFiles, Limit { soft: 9, hard: 8 })];
    let error = failure(&spec).await;
    assert_eq!(error.step(), Some((Step::Limit, libc::EINVAL)));
    assert!(error.to_string().contains("OpenFiles"), "{error}");

    let mut spec = sh("true");
    spec.cgroups = vec![File::open("/dev/null").unwrap().into()];
    assert_eq!(failure(&spec).await.step(), Some((Step::Cgroup, libc::EBADF)));
}

#[test]
fn senseless_requests_are_refused_before_forking() {
    type Change = fn(&mut SpawnSpec);
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    let cases: [(Change, &str); 8] = [
        (|spec| spec.program = "sh".into(), "not absolute"),
        (|spec| spec.args.push("a\0b".into()), "NUL"),
        (|spec| spec.env.push(("A=B".into(), "c".into())), "no name"),
        (|spec| spec.env.push(("A".into(), "c\0".into())), "NUL"),
        (|spec| spec.affinity = Some(CpuMask::default()), "affinity is empty"),
        (|spec| spec.memory_policy = Some(MemoryPolicy::new(PolicyMode::Bind, NodeMask::default())), "no node"),
        (
            |spec| {
                let nodes = NodeMask::new([0, 1]).unwrap();
                spec.memory_policy = Some(MemoryPolicy::new(PolicyMode::Preferred, nodes));
            },
            "takes one node, not 0-1",
        ),
        (|spec| spec.directory = "/\0".into(), "NUL"),
    ];
    for (change, expected) in cases {
        let mut spec = sh("true");
        change(&mut spec);
        let text = spawn(&spec).unwrap_err().to_string();
        assert!(text.contains(expected), "{text:?} lacks {expected:?}");
    }
    for (numbers, expected) in [(vec![2], "number 2 cannot"), (vec![1024], "number 1024"), (vec![5, 5], "number 5")] {
        let mut spec = sh("true");
        spec.keep = numbers.into_iter().map(|number| KeptFd::new(null(), number)).collect();
        let text = spawn(&spec).unwrap_err().to_string();
        assert!(text.contains(expected), "{text:?} lacks {expected:?}");
    }
}

#[tokio::test]
async fn affinity_and_memory_policy_are_really_set() {
    let cpu = get_affinity(0).unwrap().iter().last().unwrap();
    let (mut spec, mut cat) = Cat::spec();
    spec.affinity = Some(CpuMask::new([cpu]).unwrap());
    spec.memory_policy = Some(MemoryPolicy::new(PolicyMode::Bind, NodeMask::new([0]).unwrap()));
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    cat.echo();
    assert_eq!(status_line(child.id().pid, "Cpus_allowed_list"), cpu.to_string());
    let maps = fs::read_to_string(format!("/proc/{}/numa_maps", child.id().pid)).unwrap();
    assert!(maps.contains(" bind:0 "), "{maps}");
    child.kill(Signal::SIGKILL).unwrap();
    child.wait().await.unwrap();
}

#[tokio::test]
async fn exactly_the_named_descriptors_arrive() {
    // One that a careless program would hand on.
    let stray = File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&stray, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (mut spec, mut cat) = Cat::spec();
    let zero = File::open("/dev/zero").unwrap();
    spec.keep = vec![KeptFd::new(zero.into(), 9)];
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    cat.echo();
    let directory = format!("/proc/{}/fd", child.id().pid);
    let mut found: Vec<u32> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2, 9]);
    assert_eq!(fs::read_link(format!("{directory}/9")).unwrap(), Path::new("/dev/zero"));
    assert_eq!(fs::read_link(format!("{directory}/2")).unwrap(), Path::new("/dev/null"));
    child.kill(Signal::SIGKILL).unwrap();
    child.wait().await.unwrap();
}

#[tokio::test]
async fn session_umask_limits_environment_and_signals() {
    let mut spec = sh("umask; ulimit -c; ulimit -n; echo $KEY; echo ${HOME-none}; pwd");
    spec.env = vec![("KEY".into(), "va=lue".into())];
    spec.umask = 0o027;
    spec.limits = vec![(Resource::CoreFile, Limit::exactly(0)), (Resource::OpenFiles, Limit { soft: 64, hard: 128 })];
    assert_eq!(output(spec).await, "0027\n0\n64\nva=lue\nnone\n/\n");

    let (mut spec, mut cat) = Cat::spec();
    spec.no_new_privs = true;
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    cat.echo();
    let pid = child.id().pid;
    assert_eq!(status_line(pid, "NoNewPrivs"), "1");
    // This very test ignores SIGPIPE, as every Rust program does.
    assert_eq!(status_line(pid, "SigIgn"), "0000000000000000");
    assert_eq!(status_line(pid, "SigBlk"), "0000000000000000");
    let raw = Pid::from_raw(i32::try_from(pid).unwrap());
    assert_eq!(nix::unistd::getsid(Some(raw)).unwrap(), raw);
    child.kill(Signal::SIGKILL).unwrap();
    child.wait().await.unwrap();
}

#[tokio::test]
async fn becomes_another_user() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: only root can start a process as another user");
        return;
    }
    let (mut spec, mut cat) = Cat::spec();
    spec.credentials = Some(Credentials::new(65_534, 65_533, vec![65_500, 65_501]));
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    cat.echo();
    let pid = child.id().pid;
    assert_eq!(status_line(pid, "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(status_line(pid, "Gid"), "65533\t65533\t65533\t65533");
    assert_eq!(status_line(pid, "Groups"), "65500 65501");
    assert_eq!(status_line(pid, "CapEff"), "0000000000000000");
    assert_eq!(status_line(pid, "CapPrm"), "0000000000000000");
    child.kill(Signal::SIGKILL).unwrap();
    child.wait().await.unwrap();

    // What only root may enter it cannot: the directory is entered with the new rights.
    let private = tempfile::tempdir().unwrap();
    fs::set_permissions(private.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let mut spec = sh("true");
    spec.credentials = Some(Credentials::new(65_534, 65_533, Vec::new()));
    spec.directory = private.path().to_owned();
    assert_eq!(failure(&spec).await.step(), Some((Step::Directory, libc::EACCES)));
}

#[test]
fn users_are_looked_up_by_name() {
    let root = Credentials::of_user("root").unwrap().unwrap();
    assert_eq!((root.uid, root.gid), (0, 0));
    assert!(root.groups.contains(&0));
    assert_eq!(Credentials::of_user("no-such-user-here").unwrap(), None);
}

#[tokio::test]
async fn signals_after_the_end_reach_nobody() {
    let child = spawn(&sh("true")).unwrap().open_gate(WITHIN).await.unwrap();
    let watched = Watched::open(child.id()).unwrap();
    child.wait().await.unwrap();
    assert!(!child.kill(Signal::SIGKILL).unwrap());
    if let Some(watched) = watched {
        watched.exited().await.unwrap();
        assert!(!watched.kill(Signal::SIGKILL).unwrap());
    }
    assert!(Watched::open(child.id()).unwrap().is_none());
}

#[tokio::test]
async fn a_child_that_nobody_holds_runs_on_and_leaves_no_zombie() {
    let (spec, mut cat) = Cat::spec();
    let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
    drop(spec);
    let entry = format!("/proc/{}", child.id().pid);
    drop(child);
    cat.echo();
    drop(cat);
    let gone = async {
        while Path::new(&entry).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(WITHIN, gone).await.expect("reaped");
}

#[tokio::test]
async fn another_process_can_be_watched_and_only_it() {
    let mut other = Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let id = ProcessId::of(other.id()).unwrap();
    assert!(Watched::open(ProcessId { start_time: id.start_time + 1, ..id }).unwrap().is_none());
    let watched = Watched::open(id).unwrap().unwrap();
    assert_eq!(watched.id(), id);
    assert!(watched.kill(Signal::SIGKILL).unwrap());
    watched.exited().await.unwrap();
    watched.exited().await.unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_child_that_dies_at_the_gate_is_reported() {
    let gated = spawn(&sh("true")).unwrap();
    kill(Pid::from_raw(i32::try_from(gated.id().pid).unwrap()), Signal::SIGKILL).unwrap();
    match gated.open_gate(WITHIN).await.unwrap_err() {
        SpawnError::Died { status: ExitStatus::Signal { number: 9, .. }, .. } => {}
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_child_that_does_not_come_is_given_up() {
    let gated = spawn(&sh("true")).unwrap();
    let id = gated.id();
    kill(Pid::from_raw(i32::try_from(id.pid).unwrap()), Signal::SIGSTOP).unwrap();
    let error = gated.open_gate(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, SpawnError::Timeout { .. }), "{error}");
    assert!(!id.is_running().unwrap());
}

#[test]
fn what_a_child_says_is_understood() {
    let exec = Report { step: Step::Exec, index: 0, errno: 0 };
    let failed = Report { errno: 2, ..exec };
    assert_eq!(understand(&[]), Told::Nothing);
    assert_eq!(understand(&exec.encode()), Told::Runs);
    assert_eq!(understand(&[exec.encode(), failed.encode()].concat()), Told::Failed(failed));
    assert_eq!(understand(&failed.encode()[..5]), Told::Nothing);
}

#[test]
fn gaps_leave_the_open_ones_out() {
    assert_eq!(gaps(vec![0, 1, 2]), [(3, c_uint::MAX)]);
    assert_eq!(gaps(vec![7, 0, 1, 2, 5]), [(3, 4), (6, 6), (8, c_uint::MAX)]);
}
