//! Which vCPUs are there, and which of them can be plugged: `<vcpu current=>` and `<vcpus>` say it together.

use polyvirt_numa_placement::VcpuSet;

use crate::domain::DomainConfig;
use crate::vcpu::{VcpuState, Vcpus};

fn first(count: u32) -> VcpuSet {
    count.checked_sub(1).map_or_else(VcpuSet::new, |last| VcpuSet::of_range(0, last))
}

impl DomainConfig {
    /// The vCPUs that are online at boot; of a running guest, those it has.
    #[must_use]
    pub fn online_vcpus(&self) -> VcpuSet {
        let max = self.vcpus_max();
        let Some(vcpus) = &self.vcpus else { return first(self.vcpus_online()) };
        let mut online = first(max);
        for vcpu in vcpus.vcpu.iter().filter(|it| it.enabled == Some(false)) {
            online.remove(vcpu.id);
        }
        online
    }

    /// Those of them that can be unplugged.
    #[must_use]
    pub fn removable_vcpus(&self) -> VcpuSet {
        let all = self.vcpus.iter().flat_map(|it| &it.vcpu);
        let mut removable = VcpuSet::new();
        for vcpu in all.filter(|it| it.enabled != Some(false) && it.hotpluggable == Some(true)) {
            removable.insert(vcpu.id);
        }
        removable
    }

    /// Writes down which vCPUs are online and which of them can be unplugged. Single vCPUs are described only where `<vcpu current=>`
    /// alone would not say it.
    pub fn set_vcpus(&mut self, online: &VcpuSet, removable: &VcpuSet) {
        let max = self.vcpus_max();
        let count = u32::try_from(online.len()).unwrap_or(u32::MAX);
        self.vcpu.get_or_insert_default().current = Some(count).filter(|count| *count < max);
        if *online == first(count) && removable.is_disjoint(online) {
            self.vcpus = None;
            return;
        }
        let known: Vec<(u32, u32)> =
            self.vcpus.iter().flat_map(|it| &it.vcpu).filter_map(|it| Some((it.id, it.order?))).collect();
        // Those that were there keep their order, others follow.
        let mut order: Vec<u32> = online.iter().map(|id| id.0).collect();
        order
            .sort_by_key(|id| (known.iter().find(|(other, _)| other == id).map_or(u32::MAX, |(_, order)| *order), *id));
        let state = |id: u32| {
            let enabled = online.contains(id);
            VcpuState {
                id,
                enabled: Some(enabled),
                hotpluggable: Some(!enabled || removable.contains(id)),
                order: order.iter().position(|other| *other == id).and_then(|at| u32::try_from(at + 1).ok()),
            }
        };
        self.vcpus = Some(Vcpus { vcpu: (0..max).map(state).collect() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcpu::Vcpu;

    fn guest(current: Option<u32>) -> DomainConfig {
        DomainConfig { vcpu: Some(Vcpu { count: Some(4), current, ..Vcpu::default() }), ..DomainConfig::default() }
    }

    fn set(text: &str) -> VcpuSet {
        if text.is_empty() { VcpuSet::new() } else { text.parse().unwrap() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (online, removable) in [("0-3", ""), ("0-1", ""), ("0,2", ""), ("0-3", "2-3"), ("0,3", "3")] {
            let mut config = guest(None);
            config.set_vcpus(&set(online), &set(removable));
            assert_eq!((config.online_vcpus(), config.removable_vcpus()), (set(online), set(removable)), "{online}");
            assert_eq!(config.vcpus_online() as usize, set(online).len());
        }
    }

    #[test]
    fn plain_numbers_need_no_description_of_single_vcpus() {
        let mut config = guest(Some(2));
        config.set_vcpus(&set("0-2"), &VcpuSet::new());
        assert_eq!((config.vcpus.as_ref(), config.vcpu.as_ref().unwrap().current), (None, Some(3)));
        config.set_vcpus(&set("0-3"), &VcpuSet::new());
        assert_eq!(config.vcpu.unwrap().current, None);
    }

    #[test]
    fn the_order_of_those_that_stay_is_kept() {
        let mut config = guest(None);
        config.set_vcpus(&set("0,3"), &set("3"));
        config.set_vcpus(&set("0,2-3"), &set("2-3"));
        let orders: Vec<_> = config.vcpus.unwrap().vcpu.iter().map(|it| it.order).collect();
        assert_eq!(orders, [Some(1), None, Some(3), Some(2)]);
    }
}
