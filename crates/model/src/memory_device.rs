//! `<memory>` of `<devices>`: DIMMs, NVDIMMs, virtio-mem, virtio-pmem, enclaves.

use polyvirt_numa_placement::{Kib, NodeSet};
use polyvirt_xml::{Element, words};
use uuid::Uuid;

use crate::address::DeviceInfo;
use crate::codec::{Sets, Size, Uuids};
use crate::memory::MemoryAccess;

words! {
    /// Memory devices.
    pub enum MemoryModel {
        Dimm = "dimm", Nvdimm = "nvdimm", VirtioPmem = "virtio-pmem", VirtioMem = "virtio-mem", SgxEpc = "sgx-epc",
    }
}

/// `<memory>` of `<devices>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryDevice {
    /// The device.
    #[xml(attr)]
    pub model: Option<MemoryModel>,
    /// Whether other processes may map it. Since 3.2.0.
    #[xml(attr)]
    pub access: Option<MemoryAccess>,
    /// Whether its content is discarded when the guest ends. Since 4.4.0.
    #[xml(attr, yesno)]
    pub discard: Option<bool>,
    /// pSeries: the identity of an NVDIMM. Since 6.2.0.
    #[xml(leaf, codec = Uuids)]
    pub uuid: Option<Uuid>,
    /// What it is made of.
    #[xml(child)]
    pub source: Option<MemoryDeviceSource>,
    /// What the guest sees.
    #[xml(child)]
    pub target: Option<MemoryDeviceTarget>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

/// `<source>` of a memory device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryDeviceSource {
    /// Host nodes.
    #[xml(leaf, codec = Sets)]
    pub nodemask: Option<NodeSet>,
    /// The page size.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub pagesize: Option<Kib>,
    /// A file or device.
    #[xml(leaf)]
    pub path: Option<String>,
    /// How it is aligned. Since 5.0.0.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub alignsize: Option<Kib>,
    /// The file is persistent memory. Since 5.0.0.
    #[xml(flag)]
    pub pmem: bool,
}

/// `<target>` of a memory device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryDeviceTarget {
    /// virtio-mem: whether it uses several slots.
    #[xml(attr, yesno)]
    pub dynamic_memslots: Option<bool>,
    /// Its size; required.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub size: Option<Kib>,
    /// The guest cell it belongs to.
    #[xml(leaf)]
    pub node: Option<u32>,
    /// NVDIMM: the label area.
    #[xml(child)]
    pub label: Option<MemoryLabel>,
    /// NVDIMM: the guest may not write. Since 5.0.0.
    #[xml(flag)]
    pub readonly: bool,
    /// virtio-mem: its granularity. Since 7.9.0.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub block: Option<Kib>,
    /// virtio-mem: how much the guest is asked to use. Since 7.9.0.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub requested: Option<Kib>,
    /// virtio-mem: how much the guest uses, while it runs. Since 7.9.0.
    #[xml(leaf, codec = Size, unit = "KiB", live)]
    pub current: Option<Kib>,
    /// virtio: where it is mapped.
    #[xml(child)]
    pub address: Option<MemoryBase>,
}

/// `<label>` of an NVDIMM.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryLabel {
    /// Its size.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub size: Option<Kib>,
}

/// `<address base='…'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryBase {
    /// The guest-physical address.
    #[xml(attr, hex = 1)]
    pub base: u64,
}
