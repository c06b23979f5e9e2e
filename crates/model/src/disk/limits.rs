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
