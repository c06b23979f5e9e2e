//! Access lists of files, as the kernel keeps them in `system.posix_acl_access` (kernel, `include/uapi/linux/posix_acl_xattr.h`;
//! acl(5)).

use std::{fmt, path::Path};

/// The attribute that holds a list.
const ATTRIBUTE: &str = "system.posix_acl_access";
/// The version of its layout.
const VERSION: u32 = 2;
/// Bytes of one entry.
const ENTRY: usize = 8;

/// Whom an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Owner,
    User(u32),
    OwningGroup,
    Group(u32),
    Mask,
    Other,
}

/// An access list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acl(pub(crate) Vec<(Who, u32)>);

impl Acl {
    /// The list of a file; `None` if it has none, or its file system has no such lists.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        Self::parse(&xattr::get(path, ATTRIBUTE).ok().flatten()?)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: &[u8]| Some(u32::from_le_bytes(at.try_into().ok()?));
        let (version, entries) = bytes.split_at_checked(4)?;
        if number(version)? != VERSION || !entries.len().is_multiple_of(ENTRY) {
            return None;
        }
        let entry = |it: &[u8]| {
            let (tag, permissions) =
                (u16::from_le_bytes([it[0], it[1]]), u32::from(u16::from_le_bytes([it[2], it[3]])));
            let id = number(&it[4..8])?;
            let who = match tag {
                0x01 => Who::Owner,
                0x02 => Who::User(id),
                0x04 => Who::OwningGroup,
                0x08 => Who::Group(id),
                0x10 => Who::Mask,
                0x20 => Who::Other,
                _ => return None,
            };
            Some((who, permissions))
        };
        entries.chunks_exact(ENTRY).map(entry).collect::<Option<_>>().map(Self)
    }

    /// The permissions of an entry.
    pub(crate) fn get(&self, who: Who) -> Option<u32> {
        self.0.iter().find(|(it, _)| *it == who).map(|(_, permissions)| *permissions)
    }
}

impl fmt::Display for Acl {
    /// In the short form of getfacl(1), without what the mode shows too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (who, permissions) in &self.0 {
            let name = match who {
                Who::User(id) => format!("user:{id}"),
                Who::Group(id) => format!("group:{id}"),
                Who::Mask => "mask:".to_owned(),
                _ => continue,
            };
            let letters: String = [(4, 'r'), (2, 'w'), (1, 'x')]
                .map(|(bit, it)| if permissions & bit != 0 { it } else { '-' })
                .iter()
                .collect();
            write!(f, "{}{name}:{letters}", if std::mem::take(&mut first) { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_nonsense_is_not() {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in
            [(0x01u16, 6u16, u32::MAX), (0x02, 4, 64055), (0x10, 5, u32::MAX), (0x20, 0, u32::MAX)]
        {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        let acl = Acl::parse(&bytes).unwrap();
        assert_eq!((acl.get(Who::User(64055)), acl.get(Who::Group(1))), (Some(4), None));
        assert_eq!(acl.to_string(), "user:64055:r--,mask::r-x");
        for cut in 0..bytes.len() {
            assert!(Acl::parse(&bytes[..cut]).is_none_or(|it| it.0.len() < acl.0.len()), "{cut}");
        }
        bytes[0] = 9;
        assert_eq!(Acl::parse(&bytes), None);
    }
}
