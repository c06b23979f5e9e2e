//! What the cgroup of this process lets it use (`cpuset(7)`; Documentation/admin-guide/cgroup-v2.rst, "Cpuset" and "Memory";
//! cgroup-v1/memory.rst).

use std::path::{Path, PathBuf};

use polyvirt_numa_placement::{CpuSet, HostTopology, Kib, NodeSet};

use crate::{Host, HostError, bounded, cgroup::below};

/// CPUs and nodes of our own group; `None` where no cpuset controller is.
pub(crate) fn own(host: &Host) -> Result<Option<(CpuSet, NodeSet)>, HostError> {
    // Without procfs there is no process of ours in that tree.
    let Ok(layout) = host.cgroups() else { return Ok(None) };
    let (directory, files) = match (layout.v1_of("cpuset"), &layout.v2) {
        (Some(tree), _) => (&tree.directory, ["cpuset.effective_cpus", "cpuset.effective_mems"]),
        (None, Some(tree)) => (&tree.directory, ["cpuset.cpus.effective", "cpuset.mems.effective"]),
        (None, None) => return Ok(None),
    };
    let text = |file: &str| bounded::optional(&below(host, Path::new(directory)).join(file));
    let (Some(cpus), Some(nodes)) = (text(files[0])?, text(files[1])?) else { return Ok(None) };
    let (Ok(cpus), Ok(nodes)) = (CpuSet::from_kernel_list(cpus.trim()), NodeSet::from_kernel_list(nodes.trim())) else {
        return Ok(None);
    };
    Ok((!cpus.is_empty() && !nodes.is_empty()).then_some((cpus, nodes)))
}

/// The smallest memory limit of our own group and those above it, and its file; `None` where nothing limits.
fn memory(host: &Host) -> Result<Option<(Kib, PathBuf)>, HostError> {
    let Ok(layout) = host.cgroups() else { return Ok(None) };
    let (mount, own, file) = match (layout.v1_of("memory"), &layout.v2) {
        (Some(tree), _) => (&tree.mount, &tree.directory, "memory.limit_in_bytes"),
        (None, Some(tree)) => (&tree.mount, &tree.directory, "memory.max"),
        (None, None) => return Ok(None),
    };
    let mut least: Option<(Kib, PathBuf)> = None;
    for directory in own.ancestors().take_while(|directory| directory.starts_with(mount)) {
        let path = directory.join(file);
        let text = bounded::optional(&below(host, &path))?.unwrap_or_default();
        // "max": as much as there is.
        let Ok(bytes) = text.trim().parse::<u64>() else { continue };
        if least.as_ref().is_none_or(|(known, _)| bytes / 1024 < known.0) {
            least = Some((Kib(bytes / 1024), path));
        }
    }
    Ok(least)
}

/// The host, or the part of it that our cgroup leaves us.
pub(crate) fn usable(host: &Host, whole: HostTopology) -> Result<HostTopology, HostError> {
    let installed = whole.memory();
    let part = match own(host)? {
        Some((cpus, nodes)) if !whole.online_cpus().is_subset(&cpus) || !whole.online_nodes().is_subset(&nodes) => {
            whole.confined(&cpus, &nodes)?
        }
        _ => whole,
    };
    // Version 1 says "no limit" by a number that no machine has.
    Ok(match memory(host)?.filter(|(size, _)| *size < installed) {
        Some((size, file)) => part.limited(size, file.display().to_string()),
        None => part,
    })
}
