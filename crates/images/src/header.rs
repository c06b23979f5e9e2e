//! Headers of image formats. Pure: bytes go in, what they say comes out.
//!
//! Sources: QEMU's docs/interop/qcow2.txt and qed_spec.txt; VMware's "Virtual Disk Format 5.0"; Microsoft's "Virtual Hard Disk Image
//! Format Specification"; QEMU's manual of `qemu-img` for the rest.

use polyvirt_core::model::storage::ImageFormat;

use crate::sniff::sniff;

/// As much of an image as is ever read, in bytes: a qcow2 image's header is in its first cluster, and those have 2 MiB at most.
pub const HEAD_LIMIT: usize = 2 << 20;

/// The longest name of a backing image (QEMU, docs/interop/qcow2.txt: 1023 bytes).
const NAME_LIMIT: usize = 1023;

/// The longest text that describes a VMware image: 20 sectors are all that QEMU reads of it.
const VMDK_TEXT: usize = 20 * 512;

/// Header extensions of a qcow2 image that are looked at; QEMU writes five kinds.
const EXTENSIONS: usize = 64;

/// What an image says of itself and of what it is based on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The name of the image that it is based on, as it stands there.
    pub backing: Option<String>,
    /// The format of that image, as QEMU calls it, if it says; empty is as good as absent.
    pub backing_format: Option<String>,
    /// The file that has the guest's data in its place.
    pub data_file: Option<String>,
    /// Bytes that the guest sees.
    pub virtual_size: u64,
    /// Whether a key is needed to read it.
    pub encrypted: bool,
}

/// Why a header cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// More bytes of the image have to be read: this many, never more than [`HEAD_LIMIT`].
    #[error("the first {0} bytes are needed")]
    Short(usize),
    /// It is another format than was said.
    #[error("it is no {wanted} image{}", .found.map(|it| format!(", but looks like {it}")).unwrap_or_default())]
    Other {
        /// As it was said to be.
        wanted: ImageFormat,
        /// What it looks like.
        found: Option<&'static str>,
    },
    /// It has a number that cannot be right.
    #[error("its header is broken: {0}")]
    Broken(String),
}

impl Header {
    /// Whether images of a format can be based on others.
    #[must_use]
    pub fn may_have_backing(format: ImageFormat) -> bool {
        matches!(format, ImageFormat::Qcow | ImageFormat::Qcow2 | ImageFormat::Qed | ImageFormat::Vmdk)
    }

    /// Reads the header of an image of a format from the beginning of its file.
    ///
    /// # Errors
    /// [`HeaderError::Short`] if `head` is too little of the file: read more and ask again; at the end of the file the header is
    /// broken. Formats without backing images have an empty header.
    pub fn parse(format: ImageFormat, head: &[u8]) -> Result<Self, HeaderError> {
        let wanted = match format {
            ImageFormat::Qcow => "qcow",
            ImageFormat::Qcow2 => "qcow2",
            ImageFormat::Qed => "qed",
            ImageFormat::Vmdk => "vmdk",
            _ => return Ok(Self::default()),
        };
        let found = sniff(head);
        if found != Some(wanted) {
            return Err(HeaderError::Other { wanted: format, found });
        }
        match format {
            ImageFormat::Qcow => qcow(head),
            ImageFormat::Qcow2 => qcow2(head),
            ImageFormat::Qed => qed(head),
            _ => vmdk(head),
        }
    }
}

/// Bytes of a header, by their offset.
fn bytes(head: &[u8], at: usize, length: usize) -> Result<&[u8], HeaderError> {
    let end = at.checked_add(length).filter(|it| *it <= HEAD_LIMIT);
    let end = end.ok_or_else(|| HeaderError::Broken(format!("{length} bytes at {at} are beyond {HEAD_LIMIT}")))?;
    head.get(at..end).ok_or(HeaderError::Short(end))
}

fn be32(head: &[u8], at: usize) -> Result<u32, HeaderError> {
    bytes(head, at, 4).map(|it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]))
}

fn be64(head: &[u8], at: usize) -> Result<u64, HeaderError> {
    Ok(u64::from(be32(head, at)?) << 32 | u64::from(be32(head, at + 4)?))
}

fn le32(head: &[u8], at: usize) -> Result<u32, HeaderError> {
    be32(head, at).map(u32::swap_bytes)
}

fn le64(head: &[u8], at: usize) -> Result<u64, HeaderError> {
    be64(head, at).map(u64::swap_bytes)
}

/// A number of the header as a place in it.
fn place(what: &str, number: u64, limit: usize) -> Result<usize, HeaderError> {
    let number = usize::try_from(number).ok().filter(|it| *it <= limit);
    number.ok_or_else(|| HeaderError::Broken(format!("its {what} is larger than {limit}")))
}

/// A name: UTF-8 without a zero in it.
fn text(what: &str, raw: &[u8]) -> Result<String, HeaderError> {
    let whole = std::str::from_utf8(raw).ok().filter(|it| !it.contains('\0'));
    whole.map(str::to_owned).ok_or_else(|| HeaderError::Broken(format!("its {what} is no text")))
}

/// The name of a backing image; an offset of zero: there is none.
fn backing(head: &[u8], offset: u64, length: u32) -> Result<Option<String>, HeaderError> {
    if offset == 0 || length == 0 {
        return Ok(None);
    }
    let at = place("backing file's offset", offset, HEAD_LIMIT - NAME_LIMIT)?;
    let length = place("backing file's length", u64::from(length), NAME_LIMIT)?;
    text("backing file's name", bytes(head, at, length)?).map(Some)
}

fn qcow(head: &[u8]) -> Result<Header, HeaderError> {
    Ok(Header {
        backing: backing(head, be64(head, 8)?, be32(head, 16)?)?,
        virtual_size: be64(head, 24)?,
        encrypted: be32(head, 36)? != 0,
        ..Header::default()
    })
}

/// The image's data is in another file (incompatible feature bit 2).
const EXTERNAL_DATA: u64 = 1 << 2;
/// Types of header extensions: the backing image's format, the data file's name.
const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE: u32 = 0x4441_5441;

fn qcow2(head: &[u8]) -> Result<Header, HeaderError> {
    let cluster_bits = be32(head, 20)?;
    if !(9..=21).contains(&cluster_bits) {
        return Err(HeaderError::Broken(format!("its clusters have 2^{cluster_bits} bytes; 9 to 21 bits are allowed")));
    }
    let cluster = 1_usize << cluster_bits;
    let (features, length) = match be32(head, 4)? {
        2 => (0, 72),
        _ => (be64(head, 72)?, place("length", u64::from(be32(head, 100)?), cluster)?),
    };
    let offset = be64(head, 8)?;
    let mut header = Header {
        backing: backing(head, offset, be32(head, 16)?)?,
        virtual_size: be64(head, 24)?,
        encrypted: be32(head, 32)? != 0,
        ..Header::default()
    };
    // Extensions are in the first cluster, before the backing file's name.
    let end = if offset == 0 { cluster } else { place("backing file's offset", offset, cluster)? };
    let mut at = length.max(72);
    for _ in 0..EXTENSIONS {
        if at + 8 > end {
            break;
        }
        let kind = be32(head, at)?;
        if kind == 0 {
            break;
        }
        let length = place("extension's length", u64::from(be32(head, at + 4)?), end - at - 8)?;
        match kind {
            BACKING_FORMAT => {
                place("backing format's length", length as u64, 15)?;
                header.backing_format = Some(text("backing format", bytes(head, at + 8, length)?)?);
            }
            DATA_FILE if features & EXTERNAL_DATA != 0 => {
                place("data file's length", length as u64, NAME_LIMIT)?;
                header.data_file = Some(text("data file's name", bytes(head, at + 8, length)?)?);
            }
            _ => {}
        }
        at += 8 + length.next_multiple_of(8);
    }
    if features & EXTERNAL_DATA != 0 && header.data_file.is_none() {
        return Err(HeaderError::Broken("its data is in another file, and it does not say in which".to_owned()));
    }
    Ok(header)
}

/// The image has a backing image (bit 0), which is raw whatever it looks like (bit 2).
const QED_BACKING: u64 = 1;
const QED_RAW: u64 = 1 << 2;

fn qed(head: &[u8]) -> Result<Header, HeaderError> {
    let features = le64(head, 16)?;
    let mut header = Header { virtual_size: le64(head, 48)?, ..Header::default() };
    if features & QED_BACKING != 0 {
        header.backing = backing(head, u64::from(le32(head, 56)?), le32(head, 60)?)?;
        header.backing_format = (features & QED_RAW != 0).then(|| "raw".to_owned());
    }
    Ok(header)
}

fn vmdk(head: &[u8]) -> Result<Header, HeaderError> {
    let (at, sectors) = if head.starts_with(b"KDMV") {
        // All are in sectors of 512 bytes.
        let sectors = le64(head, 12)?;
        let (at, length) = (le64(head, 28)?, le64(head, 36)?);
        if at == 0 || length == 0 {
            return Ok(Header { virtual_size: sectors.saturating_mul(512), ..Header::default() });
        }
        (place("description's offset", at, HEAD_LIMIT / 1024)? * 512, sectors)
    } else if head.starts_with(b"COWD") {
        return Ok(Header { virtual_size: u64::from(le32(head, 12)?).saturating_mul(512), ..Header::default() });
    } else {
        (0, 0)
    };
    // It is text, and ends with a zero or with the file.
    let end = (at + VMDK_TEXT).min(HEAD_LIMIT);
    if head.len() < end {
        return Err(HeaderError::Short(end));
    }
    let raw = head[at..end].split(|it| *it == 0).next().unwrap_or_default();
    let about = text("description", raw)?;
    let value = |name: &str| {
        about.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    // All ones: there is none.
    let parent = value("parentCID").filter(|it| !it.eq_ignore_ascii_case("ffffffff"));
    let backing = parent.and_then(|_| value("parentFileNameHint")).filter(|it| !it.is_empty());
    if let Some(name) = &backing {
        place("backing file's length", name.len() as u64, NAME_LIMIT)?;
    }
    // The format itself says that it is another of the kind.
    let backing_format = backing.is_some().then(|| "vmdk".to_owned());
    Ok(Header { backing, backing_format, virtual_size: sectors.saturating_mul(512), ..Header::default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A qcow2 image of version 3 with these extensions and this backing name.
    fn made(extensions: &[(u32, &[u8])], backing: &[u8], features: u64) -> Vec<u8> {
        let mut tail = Vec::new();
        for (kind, data) in extensions {
            tail.extend(kind.to_be_bytes());
            tail.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            tail.extend(*data);
            tail.resize(tail.len().next_multiple_of(8), 0);
        }
        tail.extend([0; 8]);
        let at = if backing.is_empty() { 0 } else { 104 + tail.len() as u64 };
        let mut head = b"QFI\xfb\0\0\0\x03".to_vec();
        head.extend(at.to_be_bytes());
        head.extend(u32::try_from(backing.len()).unwrap().to_be_bytes());
        head.extend(16_u32.to_be_bytes());
        head.extend(4096_u64.to_be_bytes());
        head.resize(72, 0);
        head.extend(features.to_be_bytes());
        head.resize(100, 0);
        head.extend(104_u32.to_be_bytes());
        head.extend(tail);
        head.extend(backing);
        head.resize(1 << 16, 0);
        head
    }

    #[test]
    fn a_header_says_what_was_written() {
        let head = made(&[(BACKING_FORMAT, b"raw"), (7, b"else"), (DATA_FILE, b"data")], b"base.img", EXTERNAL_DATA);
        let found = Header::parse(ImageFormat::Qcow2, &head).unwrap();
        assert_eq!((found.backing.as_deref(), found.backing_format.as_deref()), (Some("base.img"), Some("raw")));
        assert_eq!((found.data_file.as_deref(), found.virtual_size), (Some("data"), 4096));
        let none = Header::parse(ImageFormat::Qcow2, &made(&[], b"", 0)).unwrap();
        assert_eq!(none, Header { virtual_size: 4096, ..Header::default() });
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let broken = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut head = made(&[(BACKING_FORMAT, b"raw")], b"base", 0);
            change(&mut head);
            Header::parse(ImageFormat::Qcow2, &head).unwrap_err()
        };
        for (at, value, word) in [
            (8, [0xff; 4], "offset"),
            (16, [0, 0, 4, 0], "length"),
            (20, [0, 0, 0, 63], "2^63"),
            (100, [0xff; 4], "length"),
            (108, [0xff; 4], "extension"),
        ] {
            let error = broken(&|head| head[at..at + 4].copy_from_slice(&value));
            assert!(matches!(&error, HeaderError::Broken(it) if it.contains(word)), "{at}: {error}");
        }
        let error = broken(&|head| head.truncate(110));
        assert!(matches!(error, HeaderError::Short(it) if it <= HEAD_LIMIT), "{error}");
        let error = Header::parse(ImageFormat::Qcow2, &made(&[], b"", EXTERNAL_DATA)).unwrap_err();
        assert!(error.to_string().contains("does not say in which"), "{error}");
        let error = Header::parse(ImageFormat::Qed, &made(&[], b"", 0)).unwrap_err();
        assert_eq!(error.to_string(), "it is no qed image, but looks like qcow2");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_read_far_or_panic(
            magic in prop::sample::select(vec![&b"QFI\xfb\0\0\0\x01"[..], b"QFI\xfb\0\0\0\x02", b"QFI\xfb\0\0\0\x03", b"QED\0", b"KDMV", b"COWD",
                b"# Disk DescriptorFile\nparentCID=1\nparentFileNameHint=\""]),
            rest in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let head = [magic, &rest].concat();
            for format in [ImageFormat::Qcow, ImageFormat::Qcow2, ImageFormat::Qed, ImageFormat::Vmdk] {
                match Header::parse(format, &head) {
                    Ok(header) => prop_assert!(header.backing.is_none_or(|it| it.len() <= NAME_LIMIT)),
                    Err(HeaderError::Short(more)) => prop_assert!(more > head.len() && more <= HEAD_LIMIT),
                    Err(_) => {}
                }
            }
        }

        #[test]
        fn one_changed_byte_is_bounded_too(at in 8_usize..200, value: u8) {
            let mut head = made(&[(BACKING_FORMAT, b"qcow2"), (DATA_FILE, b"/data/file")], b"/base", EXTERNAL_DATA);
            head[at] = value;
            if let Ok(header) = Header::parse(ImageFormat::Qcow2, &head) {
                prop_assert!(header.backing.is_none_or(|it| it.len() <= NAME_LIMIT));
            }
        }
    }
}
