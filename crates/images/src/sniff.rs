//! What the first bytes of an image look like.

/// The longest beginning that [`sniff`] looks at.
pub(crate) const LOOKED_AT: usize = 512;

/// What a file that begins so looks like, as QEMU calls it; `None` for what looks like raw data.
///
/// For messages and refusals only: whoever can write into the file decides the answer.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<&'static str> {
    let version = head.get(4..8).map(|it| [it[0], it[1], it[2], it[3]]).map(u32::from_be_bytes);
    if head.starts_with(b"QFI\xfb") {
        return match version {
            Some(1) => Some("qcow"),
            Some(2 | 3) => Some("qcow2"),
            _ => None,
        };
    }
    let beginnings: [(&[u8], &str); 9] = [
        (b"QED\0", "qed"),
        (b"KDMV", "vmdk"),
        (b"COWD", "vmdk"),
        (b"# Disk DescriptorFile", "vmdk"),
        (b"conectix", "vpc"),
        (b"vhdxfile", "vhdx"),
        (b"LUKS\xba\xbe", "luks"),
        (b"WithoutFreeSpace", "parallels"),
        (b"WithouFreSpacExt", "parallels"),
    ];
    let found = beginnings.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name);
    // VirtualBox has its signature behind a text (QEMU, block/vdi).
    found.or_else(|| (head.get(64..68) == Some(&0xbeda_107f_u32.to_le_bytes()[..])).then_some("vdi"))
}
