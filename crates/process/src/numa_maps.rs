//! Where a process' pages lie, as the kernel counts them (`/proc/PID/numa_maps`, numa(7)).
//!
//! The kernel walks the page tables for this: on a guest with very much memory in small pages it takes seconds.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Read},
};

use crate::id::blocking;

/// Bounds on what is read. A QEMU has some hundred mappings of about 100 bytes each.
const MAX_BYTES: u64 = 64 << 20;

/// One mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// Its memory policy as the kernel words it: `default`, `bind:1`, `interleave:0-3`, `prefer (many):0-1`.
    pub policy: String,
    /// What it maps, if it is a file. Blanks and the like stand as octal escapes.
    pub file: Option<String>,
    /// Whether it is backed by hugetlb pages.
    pub huge: bool,
    /// Size of its pages in KiB. Transparent huge pages count as small ones.
    pub page_kib: u64,
    /// Pages by host node.
    pub pages: BTreeMap<u32, u64>,
}

impl Mapping {
    /// KiB by host node.
    pub fn kib_by_node(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.pages.iter().map(|(node, pages)| (*node, pages.saturating_mul(self.page_kib)))
    }
}

/// KiB by host node over several mappings. A page that two of them map counts twice.
pub fn total_kib<'a>(mappings: impl IntoIterator<Item = &'a Mapping>) -> BTreeMap<u32, u64> {
    let mut total = BTreeMap::new();
    for (node, kib) in mappings.into_iter().flat_map(Mapping::kib_by_node) {
        let sum: &mut u64 = total.entry(node).or_default();
        *sum = sum.saturating_add(kib);
    }
    total
}

/// The mappings of a process, ascending by address.
///
/// # Errors
/// `NotFound` if there is no such process or the kernel was built without NUMA; `PermissionDenied`
/// if it is another user's; `InvalidData` if there are more than 64 MiB of text.
pub async fn read(pid: u32) -> io::Result<Vec<Mapping>> {
    blocking(move || parse(fs::File::open(format!("/proc/{pid}/numa_maps"))?)).await
}

/// Reads the kernel's text. Words that are not known are passed over: new kernels add some.
///
/// # Errors
/// `InvalidData` for more than 64 MiB or a line that does not begin with an address and a policy.
pub fn parse(text: impl Read) -> io::Result<Vec<Mapping>> {
    let mut reader = BufReader::new(text.take(MAX_BYTES + 1));
    let mut mappings = Vec::new();
    let mut line = Vec::new();
    let mut read = 0;
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)?;
        read += bytes as u64;
        if read > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "numa_maps exceeds 64 MiB"));
        }
        if bytes == 0 {
            return Ok(mappings);
        }
        let line = String::from_utf8_lossy(&line);
        mappings.push(mapping(&line).ok_or_else(|| {
            let excerpt: String = line.chars().take(80).collect();
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("numa_maps line without address and policy: {excerpt:?}"),
            )
        })?);
    }
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace().peekable();
    let start = u64::from_str_radix(words.next()?, 16).ok()?;
    let mut policy = words.next()?.to_owned();
    // The policies whose names have a blank: "prefer (many):0-1", "weighted interleave:0-1", mpol_to_str in mm/mempolicy.c.
    if let Some(rest) = words.next_if(|word| word.starts_with('(') || policy == "weighted") {
        policy = format!("{policy} {rest}");
    }
    let mut mapping = Mapping { start, policy, page_kib: 4, ..Mapping::default() };
    for word in words {
        match word.split_once('=') {
            None => mapping.huge |= word == "huge",
            Some(("file", path)) => mapping.file = Some(path.to_owned()),
            Some(("kernelpagesize_kB", size)) => mapping.page_kib = size.parse().ok()?,
            Some((key, value)) => {
                if let Some(node) = key.strip_prefix('N').and_then(|node| node.parse().ok()) {
                    mapping.pages.insert(node, value.parse().ok()?);
                }
            }
        }
    }
    Some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_kernels_text() {
        let text = "\
7f0000000000 bind:2 anon=512 dirty=512 active=0 N2=512 kernelpagesize_kB=4
7f0000400000 prefer (many):0-1 anon=3 dirty=3 N0=1 N1=2 kernelpagesize_kB=4
7f0000800000 interleave:0-3 file=/dev/hugepages/libvirt\\040x huge anon=4 dirty=4 N0=2 N3=2 kernelpagesize_kB=2048
7fff00000000 default stack anon=3 dirty=3 active=0 N0=3 kernelpagesize_kB=4
7fff00100000 default
7fff00200000 weighted interleave:0-3 anon=2 dirty=2 N0=2 kernelpagesize_kB=4
";
        let maps = parse(text.as_bytes()).unwrap();
        assert_eq!(maps.len(), 6);
        assert_eq!(maps[0].policy, "bind:2");
        assert_eq!(maps[1].policy, "prefer (many):0-1");
        assert_eq!(maps[1].pages, BTreeMap::from([(0, 1), (1, 2)]));
        assert_eq!(maps[2].file.as_deref(), Some("/dev/hugepages/libvirt\\040x"));
        assert!(maps[2].huge && !maps[0].huge);
        assert_eq!(total_kib(&maps), BTreeMap::from([(0, 4 + 4096 + 12 + 8), (1, 8), (2, 2048), (3, 4096)]));
        assert!(maps[4].pages.is_empty());
        assert_eq!(maps[5].policy, "weighted interleave:0-3");
    }

    #[test]
    fn refuses_what_is_no_mapping() {
        for text in ["x default", "1000", "\n", "1000 default N0=x", "1000 default kernelpagesize_kB=-1"] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }

    #[test]
    fn does_not_read_for_ever() {
        let endless = io::repeat(b'a');
        assert_eq!(parse(endless).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn finds_our_own_pages() {
        let maps = match read(std::process::id()).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                println!("skipped: this kernel has no numa_maps");
                return;
            }
            other => other.unwrap(),
        };
        assert!(total_kib(&maps).values().sum::<u64>() > 100);
        assert!(maps.iter().any(|it| it.file.is_some()));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9a-f]{0,4}( |\\(|=|N0|:|\\n|[a-z]){0,40}") {
            parse(text.as_bytes()).ok();
        }
    }
}
