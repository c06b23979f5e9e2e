use std::io::Write as _;

use polyvirt_core::GuestRef;
use uuid::Uuid;

use super::*;

const STREAM: &[u8] = b"what the hypervisor wrote";

fn head() -> Head {
    Head {
        id: Uuid::new_v4(),
        driver: "mock".into(),
        guest: GuestRef::new("web", Uuid::new_v4().to_string(), None),
        saved: 7,
        by: "0".into(),
        running: true,
        stream: None,
        xml: "<domain type='test'><name>web</name><memory>1024</memory></domain>".into(),
    }
}

fn saved(directory: &Path) -> (PathBuf, Head) {
    let path = directory.join("web.save");
    let head = head();
    let mut partial = Partial::create(&path, head.clone()).unwrap();
    let stream = partial.stream().unwrap();
    (&**stream.file()).write_all(STREAM).unwrap();
    partial.complete().unwrap();
    partial.keep().unwrap();
    (path, head)
}

#[test]
fn what_was_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, head) = saved(directory.path());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "secrets are in it");
    let image = Image::open(&path).unwrap();
    assert_eq!(image.head, Head { stream: Some(STREAM.len() as u64), ..head });
    assert!(Image::is(&path, image.head.id) && !Image::is(&path, Uuid::new_v4()));
    let stream = image.stream().unwrap();
    let mut read = Vec::new();
    (&**stream.file()).read_to_end(&mut read).unwrap();
    assert_eq!((read.as_slice(), stream.length()), (STREAM, STREAM.len() as u64));
    assert_eq!(image.read_so_far(), stream.length());
}

#[test]
fn a_file_has_its_name_when_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.save");
    std::fs::write(&path, "the one before").unwrap();
    let partial = Partial::create(&path, head()).unwrap();
    let error = Image::open(partial.file.path()).unwrap_err();
    assert!(error.to_string().contains("did not come to its end"), "{error}");
    drop(partial);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "the one before");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_head_is_replaced_and_the_old_one_stays_until_then() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = saved(directory.path());
    for name in ["one", "two", "three"] {
        Image::edit(&path, |_, head| {
            head.xml = format!("<domain type='test'><name>{name}</name></domain>");
            Ok(())
        })
        .unwrap();
        assert_eq!(Image::open(&path).unwrap().config().unwrap().name, name);
    }
    let before = Image::open(&path).unwrap();
    let error = Image::edit(&path, |_, head| {
        head.xml = "x".repeat(1 << 20);
        Ok(())
    })
    .unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
    // Half of the next head is written, and then the power goes.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 100], before.layout.place(before.generation + 1)).unwrap();
    assert_eq!(Image::open(&path).unwrap().head, before.head);
}

#[test]
fn what_is_cut_or_changed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = saved(directory.path());
    let whole = std::fs::read(&path).unwrap();
    let begin = whole.len() - STREAM.len();
    for length in [0, 10, 35, 36, 4096, 5000, begin - 1, begin, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(Image::open(&path).unwrap_err().kind(), ErrorKind::InvalidArgument, "cut at {length}");
    }
    std::fs::write(&path, [whole.as_slice(), b"more"].concat()).unwrap();
    assert!(Image::open(&path).unwrap_err().to_string().contains("does not belong to it"));
    // Every bit of the mark counts, and each of the newest head lets the older one speak, which says that the rest is missing.
    let newest = 4096 + (64 << 10);
    for at in (0..36).chain(newest..newest + 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let refused = Image::open(&path).unwrap_err().kind();
        assert!(matches!(refused, ErrorKind::InvalidArgument | ErrorKind::Unsupported), "byte {at}: {refused:?}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Image::open(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Image::open(directory.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
}
