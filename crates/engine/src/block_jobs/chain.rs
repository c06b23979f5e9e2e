//! Chains of a disk's images as block jobs change them. Pure.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        disk::{Disk, DiskDriver},
        storage::{BackingStore, ImageFormat, MirrorJob, Source, SourceKind},
    },
};

/// An image of a disk of a guest that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) number: u32,
    pub(crate) kind: SourceKind,
    pub(crate) format: ImageFormat,
    pub(crate) source: Source,
}

impl Layer {
    /// The host's file or device.
    pub(crate) fn path(&self) -> Option<&str> {
        path_of(&self.source)
    }
}

pub(crate) fn path_of(source: &Source) -> Option<&str> {
    source.file.as_deref().or(source.dev.as_deref()).filter(|it| !it.is_empty())
}

pub(crate) fn target(disk: &Disk) -> &str {
    disk.target.as_ref().map_or("", |it| &it.dev)
}

fn store_layer(store: &BackingStore) -> Option<Layer> {
    let source = store.source.clone()?;
    let format = store.format.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
    Some(Layer { number: source.index?, kind: store.kind.unwrap_or(SourceKind::File), format, source })
}

/// The images of a disk, from the top.
pub(crate) fn layers(disk: &Disk) -> Vec<Layer> {
    let Some(source) = disk.source.clone() else { return Vec::new() };
    let Some(number) = source.index else { return Vec::new() };
    let format = disk.driver.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
    let mut found = vec![Layer { number, kind: disk.kind.unwrap_or(SourceKind::File), format, source }];
    let mut next = disk.backing_store.as_deref();
    while let Some(store) = next {
        found.extend(store_layer(store));
        next = store.backing_store.as_deref();
    }
    found
}

/// Whether it is known what is below the last image.
pub(crate) fn is_whole(disk: &Disk) -> bool {
    let mut next = disk.backing_store.as_deref();
    while let Some(store) = next {
        if store.source.is_none() {
            return true;
        }
        next = store.backing_store.as_deref();
    }
    false
}

/// The number of the image that a word names: `vda[2]`, `[2]`, or a path.
///
/// # Errors
/// `InvalidArgument` with the images that there are.
pub(crate) fn find(disk: &Disk, word: &str) -> Result<u32> {
    let all = layers(disk);
    let named = word.strip_prefix(target(disk)).unwrap_or(word);
    let number = named.strip_prefix('[').and_then(|it| it.strip_suffix(']')).and_then(|it| it.parse::<u32>().ok());
    let found = match number {
        Some(number) => all.iter().find(|it| it.number == number),
        None => all.iter().find(|it| it.path() == Some(word)),
    };
    found.map(|it| it.number).ok_or_else(|| {
        let have: Vec<_> = all.iter().map(|it| format!("[{}] {}", it.number, it.path().unwrap_or("-"))).collect();
        let shown: String = word.chars().take(200).collect();
        let message = format!("the disk '{}' has no image '{shown}'; it has {}", target(disk), have.join(", "));
        Error::new(ErrorKind::InvalidArgument, message)
    })
}

/// The `<backingStore>` that has this image, with all that is below.
fn store_of(disk: &Disk, number: u32) -> Option<BackingStore> {
    let mut next = disk.backing_store.as_deref();
    while let Some(store) = next {
        if store.source.as_ref().and_then(|it| it.index) == Some(number) {
            return Some(store.clone());
        }
        next = store.backing_store.as_deref();
    }
    None
}

/// Puts another image, or the end, below the one of that number.
fn set_below(disk: &mut Disk, above: u32, below: BackingStore) {
    if disk.source.as_ref().and_then(|it| it.index) == Some(above) {
        disk.backing_store = Some(Box::new(below));
        return;
    }
    let mut next = disk.backing_store.as_deref_mut();
    while let Some(store) = next {
        if store.source.as_ref().and_then(|it| it.index) == Some(above) {
            store.backing_store = Some(Box::new(below));
            return;
        }
        next = store.backing_store.as_deref_mut();
    }
}

/// A disk that was pulled into its topmost image, down to this one.
pub(crate) fn pulled(disk: &Disk, top: u32, base: Option<u32>) -> Disk {
    let mut after = disk.clone();
    set_below(&mut after, top, base.and_then(|it| store_of(disk, it)).unwrap_or_default());
    after
}

/// A disk of which inner images were committed.
pub(crate) fn committed(disk: &Disk, top: u32, base: u32) -> Disk {
    let mut after = disk.clone();
    let all = layers(disk);
    let above = all.windows(2).find(|pair| pair[1].number == top).map(|pair| pair[0].number);
    if let (Some(above), Some(base)) = (above, store_of(disk, base)) {
        set_below(&mut after, above, base);
    }
    after
}

/// Puts another image on top of a disk.
fn put_on(disk: &mut Disk, kind: Option<SourceKind>, format: Option<ImageFormat>, source: Option<Source>) {
    disk.kind = kind;
    disk.driver.get_or_insert_with(DiskDriver::default).kind = format;
    disk.source = source;
    // They were of the image that was there.
    disk.encryption = None;
    disk.auth = None;
    disk.mirror = None;
}

/// A disk that is on the other image of its job now.
pub(crate) fn pivoted(disk: &Disk, base: Option<u32>) -> Disk {
    let mut after = disk.clone();
    let of_commit = disk.mirror.as_ref().is_none_or(|it| it.job == Some(MirrorJob::ActiveCommit));
    if of_commit {
        let Some(base) = base.and_then(|it| store_of(disk, it)) else { return after };
        put_on(&mut after, base.kind, base.format.and_then(|it| it.kind), base.source);
        after.backing_store = base.backing_store;
    } else if let Some(mirror) = disk.mirror.clone() {
        put_on(&mut after, mirror.kind, mirror.format.and_then(|it| it.kind), mirror.source);
        after.backing_store = mirror.backing_store;
    }
    after
}

/// Without what counts while the guest runs alone.
fn stored_store(store: &BackingStore) -> BackingStore {
    let mut stored = store.clone();
    let mut next = Some(&mut stored);
    while let Some(store) = next {
        store.index = None;
        if let Some(source) = &mut store.source {
            source.index = None;
        }
        next = store.backing_store.as_deref_mut();
    }
    stored
}

/// Makes of a stored disk what became of the running one; says whether anything changed. A stored disk that is on another image by now is
/// left alone.
pub(crate) fn follow(stored: &mut Disk, before: &Disk, after: &Disk) -> bool {
    let place = |disk: &Disk| {
        let source = disk.source.as_ref()?;
        Some((path_of(source).map(str::to_owned), source.protocol, source.name.clone(), source.host.clone()))
    };
    if place(stored) != place(before) || target(stored) != target(before) {
        return false;
    }
    let was = stored.clone();
    if place(before) != place(after) {
        let mut source = after.source.clone();
        if let (Some(source), Some(old)) = (&mut source, &was.source) {
            source.index = None;
            source.startup_policy = old.startup_policy;
            source.data_store = None;
        }
        let mirror = stored.mirror.take();
        put_on(stored, after.kind, after.driver.as_ref().and_then(|it| it.kind), source);
        stored.mirror = mirror;
    }
    // A chain that was written down is written down again; one that was left to the images is left to them.
    let written = was.backing_store.is_some();
    stored.backing_store = after.backing_store.as_deref().filter(|_| written).map(|it| Box::new(stored_store(it)));
    *stored != was
}

#[cfg(test)]
mod tests {
    use polyvirt_core::model::{DomainConfig, ParseOptions};

    use super::*;

    fn disk(top: &str, below: &[&str], end: bool) -> Disk {
        let mut chain = if end { "<backingStore/>".to_owned() } else { String::new() };
        for (at, name) in below.iter().enumerate().rev() {
            chain = format!(
                "<backingStore type='file'><format type='qcow2'/><source file='{name}' index='{}'/>{chain}</backingStore>",
                at + 2
            );
        }
        let text = format!(
            "<domain type='qemu'><name>a</name><devices><disk type='file'><driver type='qcow2'/><source file='{top}' index='1'/>{chain}\
             <target dev='vda'/></disk></devices></domain>"
        );
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config.devices.disks.remove(0)
    }

    fn names(disk: &Disk) -> Vec<String> {
        layers(disk).iter().map(|it| it.path().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn chains_become_shorter() {
        let whole = disk("/d", &["/c", "/b", "/a"], true);
        assert_eq!(names(&whole), ["/d", "/c", "/b", "/a"]);
        assert!(is_whole(&whole) && !is_whole(&disk("/d", &["/c"], false)));
        assert_eq!(names(&pulled(&whole, 1, None)), ["/d"]);
        assert!(is_whole(&pulled(&whole, 1, None)));
        assert_eq!(names(&pulled(&whole, 1, Some(4))), ["/d", "/a"]);
        assert_eq!(names(&committed(&whole, 2, 3)), ["/d", "/b", "/a"]);
        assert_eq!(names(&committed(&whole, 3, 4)), ["/d", "/c", "/a"]);
        assert_eq!(names(&pivoted(&whole, Some(3))), ["/b", "/a"]);
        assert_eq!(pivoted(&whole, Some(3)).source.unwrap().index, Some(3), "an image keeps its number");
    }

    #[test]
    fn images_are_named_by_number_or_path() {
        let whole = disk("/d", &["/c", "/b"], true);
        assert_eq!(["vda[2]", "[2]", "/c"].map(|it| find(&whole, it).unwrap()), [2; 3]);
        for wrong in ["vdb[2]", "[9]", "/x", "[2", "", "[]"] {
            let error = find(&whole, wrong).unwrap_err();
            assert!(error.to_string().contains("[3] /b"), "{error}");
        }
    }

    #[test]
    fn a_stored_disk_follows_if_it_is_the_same() {
        let before = disk("/d", &["/c", "/b"], true);
        let after = pivoted(&before, Some(3));
        let mut plain = disk("/d", &[], false);
        plain.source.as_mut().unwrap().index = None;
        assert!(follow(&mut plain, &before, &after));
        assert_eq!((plain.source.as_ref().unwrap().file.as_deref(), plain.backing_store.is_none()), (Some("/b"), true));
        assert!(!follow(&mut plain, &before, &after), "again it changes nothing");
        let mut other = disk("/other", &[], false);
        assert!(!follow(&mut other, &before, &after));
        let mut written = disk("/d", &["/c", "/b"], true);
        assert!(follow(&mut written, &before, &pulled(&before, 1, Some(3))));
        let below = written.backing_store.unwrap();
        assert_eq!(below.source.as_ref().unwrap().file.as_deref(), Some("/b"));
        assert!(below.index.is_none() && below.source.unwrap().index.is_none() && below.backing_store.is_some());
    }
}
