//! Sets of numbers against `BTreeSet`.

use std::collections::BTreeSet;

use polyvirt_core::placement::{CpuSet, NodeSet, SetError};

/// Numbers of a set are below this.
const LIMIT: u32 = 16_384;

/// Two sets, one a line: text forms, and every operation.
pub(crate) fn algebra(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    drop(one(CpuSet::from_kernel_list(first), first));
    drop(one(first.parse::<NodeSet>().map(|set| set.iter().map(u32::from).collect()), first));
    let (Some(a), Some(b)) = (one(first.parse::<CpuSet>(), first), one(second.parse::<CpuSet>(), second)) else {
        return;
    };
    let (x, y) = (plain(&a), plain(&b));
    assert_eq!(x, read(first), "'{first}'");
    assert_eq!(plain(&a.union(&b)), &x | &y);
    assert_eq!(plain(&a.intersection(&b)), &x & &y);
    assert_eq!(a.intersection_len(&b), (&x & &y).len());
    assert_eq!(plain(&a.difference(&b)), &x - &y);
    assert_eq!(a.is_subset(&b), x.is_subset(&y));
    assert_eq!(a.is_disjoint(&b), x.is_disjoint(&y));
    assert_eq!(a == b, x == y);
    assert_eq!((a.len(), a.is_empty()), (x.len(), x.is_empty()));
    assert_eq!(a.first().map(u32::from), x.first().copied());
    assert_eq!(a.last().map(u32::from), x.last().copied());
    let runs: BTreeSet<u32> = a.ranges().flat_map(|(first, last)| first..=last).collect();
    assert_eq!(runs, x);
    if let Some(&most) = x.last() {
        let mut shrunk = a;
        assert!(shrunk.remove(most) && !shrunk.contains(most));
        assert_eq!(plain(&shrunk), &x - &BTreeSet::from([most]));
    }
}

/// The canonical text reads back to the set; a refusal points into the text.
fn one(parsed: Result<CpuSet, SetError>, text: &str) -> Option<CpuSet> {
    match parsed {
        Ok(set) => {
            assert!(set.last().is_none_or(|last| u32::from(last) < LIMIT));
            let canonical = set.to_string();
            let again = if set.is_empty() { Ok(CpuSet::new()) } else { canonical.parse() };
            assert_eq!(again.as_ref(), Ok(&set), "'{text}' is '{canonical}'");
            assert_eq!(CpuSet::from_kernel_list(&canonical).as_ref(), Ok(&set), "'{text}' is '{canonical}'");
            Some(set)
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.offset), "offset {} of '{text}': {error}", error.offset);
            assert!(!error.to_string().contains('\n'), "{error}");
            None
        }
    }
}

fn plain(set: &CpuSet) -> BTreeSet<u32> {
    set.iter().map(u32::from).collect()
}

/// libvirt's form, read with no cleverness; only for texts that were accepted.
fn read(text: &str) -> BTreeSet<u32> {
    let number = |text: &str| text.trim().parse::<u32>().expect("accepted as a number");
    let mut set = BTreeSet::new();
    for item in text.split(',').map(str::trim) {
        if let Some(without) = item.strip_prefix('^') {
            set.remove(&number(without));
        } else if let Some((first, last)) = item.split_once('-') {
            set.extend(number(first)..=number(last));
        } else {
            set.insert(number(item));
        }
    }
    set
}
