//! Writes cpio archives in the "newc" form that Linux unpacks as its initramfs (Documentation/driver-api/early-userspace/
//! buffer-format.rst in the kernel's tree). Owner is root, times are zero: equal inputs give equal bytes.

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory. Parents come first.
    pub(crate) fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, 2, (0, 0), &[]);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, executable: bool, data: &[u8]) {
        self.entry(name, if executable { 0o100_755 } else { 0o100_644 }, 1, (0, 0), data);
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, name: &str, to: &str) {
        self.entry(name, 0o120_777, 1, (0, 0), to.as_bytes());
    }

    /// Adds a character device.
    pub(crate) fn character_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, 0o020_600, 1, (major, minor), &[]);
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 1, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, links: u32, (major, minor): (u32, u32), data: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(data.len()).expect("a file of an initramfs is far below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("names are ours and short");
        // inode, mode, uid, gid, links, time, size, device major and minor, the node's own, name size with its zero, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    /// Headers and data begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_data_each_padded() {
        let mut archive = Archive::default();
        archive.file("abc", true, b"hello");
        let bytes = archive.finish();
        let header = "070701".to_owned()
            + "00000001"
            + "000081ed"
            + "00000000"
            + "00000000"
            + "00000001"
            + "00000000"
            + "00000005";
        assert!(bytes.starts_with(header.as_bytes()));
        // 110 bytes of header and 4 of name end at 114: two bytes of padding, then the data, then three.
        assert_eq!(&bytes[110..124], b"abc\0\0\0hello\0\0\0");
        assert!(bytes[124..].starts_with(b"070701"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn equal_inputs_give_equal_bytes() {
        let make = || {
            let mut archive = Archive::default();
            archive.directory("dev");
            archive.character_device("dev/console", 5, 1);
            archive.link("bin/sh", "busybox");
            archive.finish()
        };
        assert_eq!(make(), make());
    }
}
