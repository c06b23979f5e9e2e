//! What a guest may use of the host: memory, CPU time, block devices, from its start on and while it runs.

use std::path::{Path, PathBuf};

use polyvirt::{
    Affect, CpuBandwidth, ErrorKind, MemoryLimitChange, PinTarget, SchedulerParams, block_weights,
    placement::{CpuSet, Kib, VcpuId},
};

use crate::bench::{Bench, Outcome, domain, ensure, explain};

/// A file of a guest's groups, in words.
fn words(guest: &str, names: &[&str]) -> Result<Vec<String>, String> {
    let groups = polyvirt_tests::groups_of(guest);
    let paths: Vec<PathBuf> = groups.iter().flat_map(|group| names.iter().map(|name| group.join(name))).collect();
    let path = paths.iter().find(|it| it.exists()).ok_or_else(|| format!("none of {paths:?}"))?;
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// Quota and period of a part, `.` for the whole.
fn bandwidth(guest: &str, part: &str) -> Result<Vec<String>, String> {
    let v2 = words(guest, &[&format!("{part}/cpu.max")]);
    v2.or_else(|_| {
        let quota = words(guest, &[&format!("{part}/cpu.cfs_quota_us")])?;
        let period = words(guest, &[&format!("{part}/cpu.cfs_period_us")])?;
        Ok([quota, period].concat().into_iter().map(|it| if it == "-1" { "max".to_owned() } else { it }).collect())
    })
}

fn is(what: &str, found: Result<Vec<String>, String>, wanted: &[&str]) -> Outcome {
    let found = found.map_err(|why| format!("{what}: {why}"))?;
    ensure!(found == wanted, "{what} is {found:?}, not {wanted:?}");
    Ok(())
}

/// A whole disk of this machine.
fn disk() -> Option<String> {
    let names = std::fs::read_dir("/sys/block").ok()?.flatten().map(|it| Path::new("/dev").join(it.file_name()));
    names.into_iter().find(|it| it.exists()).map(|it| it.display().to_string())
}

fn params(edit: impl FnOnce(&mut SchedulerParams)) -> SchedulerParams {
    let mut params = SchedulerParams::default();
    edit(&mut params);
    params
}

/// All kinds at once, in one group or in several, from the start on; changed, refused and lifted.
pub(crate) async fn from_the_start(bench: &Bench) -> Outcome {
    let disk = disk().ok_or("this machine has no disk")?;
    let more = format!(
        "<blkiotune><device><path>{disk}</path><write_bytes_sec>3000000</write_bytes_sec></device></blkiotune>
         <memtune><hard_limit unit='MiB'>700</hard_limit></memtune>
         <cputune><shares>300</shares><period>50000</period><quota>10000</quota><emulator_quota>30000</emulator_quota>
         <vcpupin vcpu='0' cpuset='0'/></cputune>"
    );
    let guest = bench.start(&domain("limits", "<vcpu current='1'>2</vcpu>", 48, &more)).await?;
    ensure!(guest.plan.weakened.is_empty(), "this machine lacks something: {:?}", guest.plan.weakened);
    crate::threads::are_where_planned(&guest).await?;
    let limit = (700_u64 << 20).to_string();
    is("memory", words("limits", &["memory.max", "memory.limit_in_bytes"]), &[&limit])?;
    is("weight", words("limits", &["cpu.weight", "cpu.shares"]), &["300"])?;
    is("the whole", bandwidth("limits", "."), &["max", "100000"])?;
    is("vCPU 0", bandwidth("limits", "vcpu0"), &["10000", "50000"])?;
    is("the emulator", bandwidth("limits", "emulator"), &["30000", "100000"])?;
    let written = words("limits", &["io.max", "blkio.throttle.write_bps_device"])?;
    ensure!(written.iter().any(|it| it == "wbps=3000000" || it == "3000000"), "writes: {written:?}");

    let it = &guest.guest;
    it.set_vcpus(2, false, Affect::Live).await.map_err(|e| explain("setvcpus", &e))?;
    is("vCPU 1", bandwidth("limits", "vcpu1"), &["10000", "50000"])?;
    let change = params(|it| it.vcpu = CpuBandwidth::new(None, Some(25_000)));
    it.set_scheduler(change, Affect::Both).await.map_err(|e| explain("schedinfo", &e))?;
    is("vCPU 1", bandwidth("limits", "vcpu1"), &["25000", "50000"])?;
    is("the emulator", bandwidth("limits", "emulator"), &["30000", "100000"])?;
    let wrong = it.set_scheduler(params(|it| it.shares = Some(262_145)), Affect::Live).await;
    ensure!(wrong.is_err_and(|it| it.kind() == ErrorKind::InvalidArgument), "a weight that no kernel gives was taken");
    let hard = MemoryLimitChange::new(Some(Some(Kib(600 << 10))), None, None);
    it.set_memory_limits(hard, Affect::Live).await.map_err(|e| explain("memtune", &e))?;
    let limit = (600_u64 << 20).to_string();
    is("memory", words("limits", &["memory.max", "memory.limit_in_bytes"]), &[&limit])?;
    let live = it.view().await.map_err(|e| explain("view", &e))?.live.ok_or("it does not run")?;
    let mut tune = block_weights(&live);
    ensure!(tune.device.len() == 1, "the live definition has no limits of {disk}: {tune:?}");
    tune.device[0].write_bytes_sec = Some(0);
    it.set_block_weights(tune, Affect::Live).await.map_err(|e| explain("blkiotune", &e))?;
    let written = words("limits", &["io.max", "blkio.throttle.write_bps_device"])?;
    ensure!(written.is_empty(), "writes are limited still: {written:?}");
    guest.end().await
}

/// A guest without any limit gets them, and then pins: its group gets one controller after the other.
pub(crate) async fn while_it_runs(bench: &Bench) -> Outcome {
    let disk = disk().ok_or("this machine has no disk")?;
    let guest = bench.start(&domain("later", "<vcpu>2</vcpu>", 48, "")).await?;
    ensure!(polyvirt_tests::groups_of("later").is_empty(), "a group that nothing has need of");
    let it = &guest.guest;
    let mut device = polyvirt::model::tuning::BlkioDevice::default();
    (device.path, device.read_iops_sec) = (disk, Some(50));
    let mut tune = polyvirt::model::tuning::BlkioTune::default();
    tune.device.push(device);
    it.set_block_weights(tune, Affect::Live).await.map_err(|e| explain("blkiotune", &e))?;
    let change = params(|it| (it.shares, it.vcpu.quota) = (Some(500), Some(20_000)));
    it.set_scheduler(change, Affect::Live).await.map_err(|e| explain("schedinfo", &e))?;
    is("weight", words("later", &["cpu.weight", "cpu.shares"]), &["500"])?;
    is("vCPU 1", bandwidth("later", "vcpu1"), &["20000", "100000"])?;
    is("the emulator", bandwidth("later", "emulator"), &["max", "100000"])?;
    let cpu: CpuSet = "1".parse().map_err(|e| format!("{e}"))?;
    it.pin(PinTarget::Vcpu(VcpuId(1)), &cpu, Affect::Live).await.map_err(|e| explain("vcpupin", &e))?;
    is("CPUs of vCPU 1", words("later", &["vcpu1/cpuset.cpus"]), &["1"])?;
    is("vCPU 1, pinned", bandwidth("later", "vcpu1"), &["20000", "100000"])?;
    let pinned = bench.look_at(guest.guest).await?;
    crate::threads::are_where_planned(&pinned).await?;
    // Where the kernel moves no count of memory, that is refused; elsewhere it is limited.
    let hard = MemoryLimitChange::new(Some(Some(Kib(600 << 10))), None, None);
    match pinned.guest.set_memory_limits(hard, Affect::Live).await {
        Err(error) => ensure!(error.kind() == ErrorKind::Unsupported, "{}", explain("memtune", &error)),
        Ok(()) => {
            let limit = (600_u64 << 20).to_string();
            is("memory", words("later", &["memory.max", "memory.limit_in_bytes"]), &[&limit])?;
        }
    }
    pinned.end().await
}
