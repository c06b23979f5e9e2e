//! What the cgroup of this process lets it use (`cpuset(7)`; Documentation/admin-guide/cgroup-v2.rst, "Cpuset").

use std::path::Path;

use polyvirt_numa_placement::{CpuSet, HostTopology, NodeSet};

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

/// The host, or the part of it that our cgroup leaves us.
pub(crate) fn usable(host: &Host, whole: HostTopology) -> Result<HostTopology, HostError> {
    let Some((cpus, nodes)) = own(host)? else { return Ok(whole) };
    let all = whole.online_cpus().difference(&cpus).is_empty() && whole.online_nodes().difference(&nodes).is_empty();
    Ok(if all { whole } else { whole.confined(&cpus, &nodes)? })
}
