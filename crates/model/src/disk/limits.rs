//! Limits of a disk's I/O, of its own and shared.

use polyvirt_xml::Element;

/// `<iotune>`: limits per second.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoTune {
    /// The limits.
    #[xml(group)]
    pub limits: IoLimits,
}

/// Limits of I/O; 0 or absent: none.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoLimits {
    /// Bytes per second.
    #[xml(leaf, name = "total_bytes_sec")]
    pub total_bytes_sec: Option<u64>,
    /// Bytes read per second.
    #[xml(leaf, name = "read_bytes_sec")]
    pub read_bytes_sec: Option<u64>,
    /// Bytes written per second.
    #[xml(leaf, name = "write_bytes_sec")]
    pub write_bytes_sec: Option<u64>,
    /// Requests per second.
    #[xml(leaf, name = "total_iops_sec")]
    pub total_iops_sec: Option<u64>,
    /// Reads per second.
    #[xml(leaf, name = "read_iops_sec")]
    pub read_iops_sec: Option<u64>,
    /// Writes per second.
    #[xml(leaf, name = "write_iops_sec")]
    pub write_iops_sec: Option<u64>,
    /// Bytes per second in a burst.
    #[xml(leaf, name = "total_bytes_sec_max")]
    pub total_bytes_sec_max: Option<u64>,
    /// Bytes read per second in a burst.
    #[xml(leaf, name = "read_bytes_sec_max")]
    pub read_bytes_sec_max: Option<u64>,
    /// Bytes written per second in a burst.
    #[xml(leaf, name = "write_bytes_sec_max")]
    pub write_bytes_sec_max: Option<u64>,
    /// Requests per second in a burst.
    #[xml(leaf, name = "total_iops_sec_max")]
    pub total_iops_sec_max: Option<u64>,
    /// Reads per second in a burst.
    #[xml(leaf, name = "read_iops_sec_max")]
    pub read_iops_sec_max: Option<u64>,
    /// Writes per second in a burst.
    #[xml(leaf, name = "write_iops_sec_max")]
    pub write_iops_sec_max: Option<u64>,
    /// Bytes that count as one request. Since 1.2.11.
    #[xml(leaf, name = "size_iops_sec")]
    pub size_iops_sec: Option<u64>,
    /// The group that shares the limits. Since 3.0.0.
    #[xml(leaf, name = "group_name")]
    pub group_name: Option<String>,
    /// Seconds of a burst. Since 2.4.0.
    #[xml(leaf, name = "total_bytes_sec_max_length")]
    pub total_bytes_sec_max_length: Option<u64>,
    /// Seconds of a burst of reading. Since 2.4.0.
    #[xml(leaf, name = "read_bytes_sec_max_length")]
    pub read_bytes_sec_max_length: Option<u64>,
    /// Seconds of a burst of writing. Since 2.4.0.
    #[xml(leaf, name = "write_bytes_sec_max_length")]
    pub write_bytes_sec_max_length: Option<u64>,
    /// Seconds of a burst of requests. Since 2.4.0.
    #[xml(leaf, name = "total_iops_sec_max_length")]
    pub total_iops_sec_max_length: Option<u64>,
    /// Seconds of a burst of reads. Since 2.4.0.
    #[xml(leaf, name = "read_iops_sec_max_length")]
    pub read_iops_sec_max_length: Option<u64>,
    /// Seconds of a burst of writes. Since 2.4.0.
    #[xml(leaf, name = "write_iops_sec_max_length")]
    pub write_iops_sec_max_length: Option<u64>,
}

macro_rules! numbers {
    ($($name:ident)*) => {
        impl IoLimits {
            /// All numbers with the names that a definition has for them.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// The number of that name.
            pub fn number_mut(&mut self, name: &str) -> Option<&mut Option<u64>> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

numbers! {
    total_bytes_sec read_bytes_sec write_bytes_sec total_iops_sec read_iops_sec write_iops_sec
    total_bytes_sec_max read_bytes_sec_max write_bytes_sec_max total_iops_sec_max read_iops_sec_max write_iops_sec_max
    size_iops_sec
    total_bytes_sec_max_length read_bytes_sec_max_length write_bytes_sec_max_length
    total_iops_sec_max_length read_iops_sec_max_length write_iops_sec_max_length
}

impl IoLimits {
    /// Puts the limits that are given in place of these; 0 lifts one.
    pub fn change(&mut self, given: &Self) {
        for (name, limit) in given.numbers() {
            if let (Some(limit), Some(now)) = (limit, self.number_mut(name)) {
                *now = Some(limit).filter(|it| *it > 0);
            }
        }
        if let Some(group) = &given.group_name {
            self.group_name = Some(group.clone()).filter(|it| !it.is_empty());
        }
    }
}

/// `<throttlefilters>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ThrottleFilters {
    /// The groups in order.
    #[xml(child)]
    pub throttlefilter: Vec<ThrottleFilter>,
}

/// `<throttlefilter>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ThrottleFilter {
    /// The group's name.
    #[xml(attr)]
    pub group: String,
}

/// `<throttlegroups>` of a domain.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ThrottleGroups {
    /// The groups.
    #[xml(child)]
    pub throttlegroup: Vec<IoTune>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_not_given_stay_and_zero_lifts_one() {
        let mut limits = IoLimits { total_bytes_sec: Some(5), total_iops_sec: Some(6), ..IoLimits::default() };
        limits.change(&IoLimits { total_bytes_sec: Some(0), read_bytes_sec: Some(7), ..IoLimits::default() });
        let set: Vec<_> = limits.numbers().filter_map(|(name, limit)| Some((name, limit?))).collect();
        assert_eq!(set, [("read_bytes_sec", 7), ("total_iops_sec", 6)]);
    }
}
