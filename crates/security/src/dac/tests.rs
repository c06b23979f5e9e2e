use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::PathBuf,
};

use polyvirt_core::{DomainId, GuestRef, Identity, Roots};

use super::*;

/// A user who owns nothing.
const GUEST: u32 = 64_123;

/// A host of files; `None` for who is not root and can give none away.
struct Files {
    dir: tempfile::TempDir,
    dac: Dac,
}

impl Files {
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            println!("skipped: only root can give files away");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let roots = Roots::embedded(dir.path(), "test", false);
        Some(Self { dac: Dac::new(&ServiceContext::new(roots, Identity::new(0, true))), dir })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, mode: u32) -> PathBuf {
        fs::write(self.at(name), name).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
        chown(self.at(name), Some(1), Some(2)).unwrap();
        self.at(name)
    }

    /// A guest that runs.
    fn guest(&self, name: &str) -> OwnerRef {
        let record = self.at(&format!("{name}.json"));
        fs::write(&record, "").unwrap();
        OwnerRef::new(GuestRef::new(name, name, Some(DomainId(1))), record)
    }

    fn lend(&self, guest: &OwnerRef, uid: u32, path: &Path, access: Access) -> Result<()> {
        let mut items = Manifest::new(vec![Resource::existing(path, "/domain/devices/disk[1]", access)]);
        items.identity = Some(ProcessIdentity::new(uid, uid, vec![]));
        self.dac.apply_now(guest, &items)
    }

    fn give_back(&self, guest: &OwnerRef) {
        self.dac.give_back(|_, it, boot| it.owner == *guest || it.is_gone(boot)).unwrap();
    }

    fn records(&self) -> usize {
        self.dac.records.all().unwrap().len()
    }
}

fn owner(path: &Path) -> (u32, u32) {
    let about = fs::metadata(path).unwrap();
    (about.uid(), about.gid())
}

#[test]
fn what_is_lent_comes_back_after_the_last_guest() {
    let Some(files) = Files::new() else { return };
    let (image, one, two) = (files.file("image", 0o600), files.guest("one"), files.guest("two"));
    symlink(&image, files.at("link")).unwrap();
    files.lend(&one, GUEST, &image, Access::Write).unwrap();
    assert_eq!(owner(&image), (GUEST, GUEST));
    // By another name, and twice: it is one file and one guest.
    files.lend(&two, GUEST, &files.at("link"), Access::Read).unwrap();
    files.lend(&two, GUEST, &image, Access::Read).unwrap();
    files.give_back(&one);
    assert_eq!(owner(&image), (GUEST, GUEST), "two still uses it");
    files.give_back(&two);
    files.give_back(&two);
    assert_eq!((owner(&image), files.records()), ((1, 2), 0));
}

#[test]
fn what_may_be_used_already_is_left_alone() {
    let Some(files) = Files::new() else { return };
    let (image, one) = (files.file("image", 0o644), files.guest("one"));
    files.lend(&one, GUEST, &image, Access::Read).unwrap();
    assert_eq!((owner(&image), files.records()), ((1, 2), 0));
}

#[test]
fn a_file_that_is_asked_for_twice_is_lent_once() {
    let Some(files) = Files::new() else { return };
    let (image, one) = (files.file("image", 0o644), files.guest("one"));
    for accesses in [[Access::Write, Access::Write], [Access::Read, Access::Write], [Access::Write, Access::Read]] {
        let items = accesses.map(|it| Resource::existing(&image, "/domain/devices/disk[1]", it));
        let mut items = Manifest::new(items.to_vec());
        items.identity = Some(ProcessIdentity::new(GUEST, GUEST, vec![]));
        files.dac.apply_now(&one, &items).unwrap();
        assert_eq!((owner(&image), files.records()), ((GUEST, GUEST), 1));
        files.give_back(&one);
        assert_eq!((owner(&image), files.records()), ((1, 2), 0));
    }
}

#[test]
fn guests_that_are_gone_hold_nothing() {
    let Some(files) = Files::new() else { return };
    let (image, one, two) = (files.file("image", 0o600), files.guest("one"), files.guest("two"));
    files.lend(&one, GUEST, &image, Access::Write).unwrap();
    // Its process was killed and its record cleaned up by a program without this service, or the host booted again.
    fs::remove_file(&one.record).unwrap();
    files.give_back(&two);
    assert_eq!((owner(&image), files.records()), ((1, 2), 0));
    files.lend(&one, GUEST, &image, Access::Write).unwrap();
    files.lend(&two, GUEST + 1, &image, Access::Write).unwrap();
    assert_eq!(owner(&image).0, GUEST + 1);
}

#[test]
fn what_somebody_changed_meanwhile_stays_changed() {
    let Some(files) = Files::new() else { return };
    let (image, other, one) = (files.file("image", 0o600), files.file("other", 0o600), files.guest("one"));
    files.lend(&one, GUEST, &image, Access::Write).unwrap();
    files.lend(&one, GUEST, &other, Access::Write).unwrap();
    chown(&image, Some(7), Some(7)).unwrap();
    // Another file in its place.
    fs::remove_file(&other).unwrap();
    let image_mode = files.file("new", 0o600);
    fs::rename(image_mode, &other).unwrap();
    files.give_back(&one);
    assert_eq!((owner(&image), owner(&other), files.records()), ((7, 7), (1, 2), 0));
}

#[test]
fn a_refusal_lends_nothing_and_names_the_obstacle() {
    let Some(files) = Files::new() else { return };
    let (image, one) = (files.file("image", 0o600), files.guest("one"));
    fs::create_dir(files.at("secret")).unwrap();
    fs::set_permissions(files.at("secret"), fs::Permissions::from_mode(0o700)).unwrap();
    let hidden = files.file("secret/image", 0o666);
    let mut items = Manifest::new(vec![
        Resource::existing(&image, "/domain/devices/disk[1]", Access::Write),
        Resource::existing(&hidden, "/domain/devices/disk[2]/source/@file", Access::Write),
    ]);
    items.identity = Some(ProcessIdentity::new(GUEST, GUEST, vec![]));
    let error = files.dac.apply_now(&one, &items).unwrap_err();
    let secret = files.at("secret").display().to_string();
    assert_eq!(
        (error.kind(), error.fact("asked for at")),
        (ErrorKind::Denied, Some("/domain/devices/disk[2]/source/@file"))
    );
    let said = format!("{error} {}", error.remedy().unwrap());
    for part in
        [format!("may not pass {secret} (mode 0700, owner root:root"), format!("setfacl -m u:{GUEST}:x {secret}")]
    {
        assert!(said.contains(&part), "{said}");
    }
    assert_eq!((owner(&image), files.records()), ((1, 2), 0));
    // A file that its owner may not write either, and one that is not to be given away.
    let locked = files.file("locked", 0o400);
    assert_eq!(files.lend(&one, GUEST, &locked, Access::Write).unwrap_err().kind(), ErrorKind::Denied);
    let kept = Resource::existing(&image, "", Access::Read).as_it_is();
    let mut items = Manifest::new(vec![kept]);
    items.identity = Some(ProcessIdentity::new(GUEST, GUEST, vec![]));
    assert_eq!(files.dac.apply_now(&one, &items).unwrap_err().kind(), ErrorKind::Denied);
    // What was lent before the refusal comes back.
    items.resources.insert(0, Resource::existing(files.file("first", 0o600), "", Access::Write));
    files.dac.apply_now(&one, &items).unwrap_err();
    assert_eq!((owner(&files.at("first")), files.records()), ((1, 2), 0));
}

#[test]
fn a_file_serves_one_user_at_a_time() {
    let Some(files) = Files::new() else { return };
    let (image, one, two) = (files.file("image", 0o600), files.guest("one"), files.guest("two"));
    files.lend(&one, GUEST, &image, Access::Write).unwrap();
    let error = files.lend(&two, GUEST + 1, &image, Access::Write).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("as long as 'one' runs"), "{error}");
}

#[test]
fn directories_and_devices_of_all_are_not_lent() {
    let Some(files) = Files::new() else { return };
    let one = files.guest("one");
    fs::create_dir(files.at("shared")).unwrap();
    fs::set_permissions(files.at("shared"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(files.lend(&one, GUEST, &files.at("shared"), Access::Read).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!((owner(&files.at("shared")), files.records()), ((0, 0), 0));
    files.lend(&one, GUEST, Path::new("/dev/null"), Access::Write).unwrap();
}
