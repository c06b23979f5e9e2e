//! The mark and the heads of a saved guest's file, as bytes.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use polyvirt_core::{Error, ErrorKind, GuestRef, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes of the mark that are looked at.
pub(super) const MARK: usize = 36;
/// What a file begins with. The line ends tell of a transfer as text.
const MAGIC: [u8; 16] = *b"\x89polyvirt\r\n\x1a\nSV\0";
/// Version of the form; a newer one is refused.
const VERSION: u32 = 1;
/// Where the first head begins, and what all places are multiples of: a block of any disk.
const BLOCK: u64 = 4096;
/// The least and the most room for a head.
const LEAST: u64 = 64 << 10;
const MOST: u64 = 64 << 20;
/// Bytes before a head's text: generation, length, checksum.
const PREFIX: usize = 16;

/// Of whom a file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Of this save alone.
    pub(crate) id: Uuid,
    /// The driver whose stream it is.
    pub(crate) driver: String,
    pub(crate) guest: GuestRef,
    /// Seconds since 1970.
    pub(crate) saved: u64,
    /// The polyvirt that wrote it.
    pub(crate) by: String,
    /// Whether its CPUs shall run when it is restored.
    pub(crate) running: bool,
    /// Bytes of the stream; none while it is written.
    pub(crate) stream: Option<u64>,
    /// The definition, with its secrets.
    pub(crate) xml: String,
}

impl Head {
    pub(super) fn size(&self) -> Result<u64> {
        Ok(self.encode(0)?.len() as u64)
    }

    pub(super) fn encode(&self, generation: u64) -> Result<Vec<u8>> {
        let internal = |e| Error::new(ErrorKind::Internal, "a head that is no JSON").source(e);
        let text = serde_json::to_vec(self).map_err(internal)?;
        let large = |_| Error::new(ErrorKind::InvalidArgument, "a definition of more than 4 GiB");
        let length = u32::try_from(text.len()).map_err(large)?;
        let mut bytes = Vec::with_capacity(PREFIX + text.len());
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum(&[&generation.to_le_bytes(), &length.to_le_bytes(), &text]).to_le_bytes());
        bytes.extend_from_slice(&text);
        Ok(bytes)
    }
}

/// Why a file is no saved guest.
pub(super) struct Refused(ErrorKind, String);

impl Refused {
    fn damaged(why: impl Into<String>) -> Self {
        Self(ErrorKind::InvalidArgument, why.into())
    }

    pub(super) fn about(self, path: &Path) -> Error {
        Error::new(self.0, format!("{} {}", path.display(), self.1))
    }
}

/// Where things are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of a head's place.
    pub(super) slot: u64,
}

impl Layout {
    /// With room for twice this head and some.
    pub(super) fn fitting(head: &Head) -> Result<Self> {
        let slot = (head.size()? * 2).next_multiple_of(LEAST).max(LEAST);
        if slot > MOST {
            let message = format!("the definition of '{}' is too large to be saved", head.guest.name);
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        Ok(Self { slot })
    }

    /// Where the stream begins.
    pub(super) fn begin(self) -> u64 {
        BLOCK + 2 * self.slot
    }

    pub(super) fn room(self) -> u64 {
        self.slot
    }

    pub(super) fn place(self, generation: u64) -> u64 {
        BLOCK + (generation % 2) * self.slot
    }

    pub(super) fn write_mark(self, file: &File) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(MARK);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.slot.to_le_bytes());
        bytes.extend_from_slice(&checksum(&[&bytes]).to_le_bytes());
        file.write_all_at(&bytes, 0)
    }

    /// Reads the mark of a file of this size.
    pub(super) fn read(mark: &[u8; MARK], size: u64) -> Result<Self, Refused> {
        let number = |at: usize| mark.get(at..at + 4).and_then(|it| it.try_into().ok()).map_or(0, u32::from_le_bytes);
        let slot = mark.get(24..32).and_then(|it| it.try_into().ok()).map_or(0, u64::from_le_bytes);
        if mark[..16] != MAGIC {
            return Err(Refused::damaged("is no saved guest of polyvirt"));
        }
        if number(16) > VERSION {
            let why = format!(
                "is of version {}, this program reads up to {VERSION}; use the newer polyvirt that wrote it",
                number(16)
            );
            return Err(Refused(ErrorKind::Unsupported, why));
        }
        let whole =
            number(32) == checksum(&[&mark[..32]]) && (LEAST..=MOST).contains(&slot) && slot.is_multiple_of(BLOCK);
        let layout = Self { slot };
        if !whole || layout.begin() > size {
            return Err(Refused::damaged("is damaged in its first bytes"));
        }
        Ok(layout)
    }

    /// The valid head with the larger number.
    pub(super) fn newest(self, file: &File) -> Result<(u64, Head), Refused> {
        let heads = [self.head(file, 0)?, self.head(file, 1)?];
        let newest = heads.into_iter().flatten().max_by_key(|(generation, _)| *generation);
        newest.ok_or_else(|| Refused::damaged("is damaged: neither of its heads can be read"))
    }

    /// The head in one of the places, if there is a whole one.
    fn head(self, file: &File, place: u64) -> Result<Option<(u64, Head)>, Refused> {
        let unreadable = |e: io::Error| Refused(ErrorKind::Storage, format!("cannot be read: {e}"));
        let at = self.place(place);
        let mut prefix = [0; PREFIX];
        file.read_exact_at(&mut prefix, at).map_err(unreadable)?;
        let [generation, rest] = [&prefix[..8], &prefix[8..]];
        let number = |it: &[u8]| it.try_into().map_or(0, u32::from_le_bytes);
        let (length, sum) = (number(&rest[..4]), number(&rest[4..]));
        // Two places of at most 64 MiB are there, or the mark would have been refused.
        if length == 0 || u64::from(length) + PREFIX as u64 > self.slot {
            return Ok(None);
        }
        let mut text = vec![0; length as usize];
        file.read_exact_at(&mut text, at + PREFIX as u64).map_err(unreadable)?;
        if checksum(&[generation, &rest[..4], &text]) != sum {
            return Ok(None);
        }
        let generation = generation.try_into().map_or(0, u64::from_le_bytes);
        Ok(serde_json::from_slice(&text).ok().map(|head| (generation, head)))
    }
}

/// CRC-32 as of ISO 3309, that of gzip and PNG.
fn checksum(parts: &[&[u8]]) -> u32 {
    const TABLE: [u32; 256] = table();
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(u32::MAX, |sum, byte| TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut sum = at as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(checksum(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(checksum(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
    }
}
