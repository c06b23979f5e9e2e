use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::testing::qemu;

/// A loaded machine may need it; what never answers is given its own.
const PATIENCE: Duration = Duration::from_secs(30);

fn script(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("emulator");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn learns_what_qemu_can_do() {
    let Some(path) = qemu() else { return };
    let binary = probe(&path, ANYWHERE, None, PATIENCE).await.unwrap();
    assert_eq!(binary.arch, "x86_64");
    assert!(binary.machine("q35").unwrap().name.starts_with("pc-q35-"));
    assert!(binary.default_machine().unwrap().name.starts_with("pc-i440fx-"));
    assert!(binary.best.cpus.iter().any(|it| it.name == "qemu64"));
    assert!(binary.has_type("virtio-blk-pci") && !binary.has_type("virtio-nonsense-pci"));
    assert!(binary.commands.contains("query-status"));
}

#[tokio::test]
async fn remembers_until_the_binary_changes() {
    let Some(real) = qemu() else { return };
    let directory = tempfile::tempdir().unwrap();
    let counter = directory.path().join("count");
    let path = script(directory.path(), &format!("echo x >> {}; exec {} \"$@\"", counter.display(), real.display()));
    let count = || fs::read_to_string(&counter).unwrap().lines().count();
    let folder = directory.path().join("cache");
    let cache = Cache::new(folder.clone(), PATIENCE);
    let (one, two) = tokio::join!(cache.binary(&path, None), cache.binary(&path, None));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(count(), 1);
    let again = Cache::new(folder.clone(), PATIENCE);
    again.binary(&path, None).await.unwrap();
    assert_eq!(count(), 1);

    let record = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    fs::write(&record, "{\"format\":").unwrap();
    Cache::new(folder.clone(), PATIENCE).binary(&path, None).await.unwrap();
    assert_eq!(count(), 2, "a damaged record is made anew");

    fs::write(&path, fs::read_to_string(&path).unwrap() + "\n").unwrap();
    again.binary(&path, None).await.unwrap();
    assert_eq!(count(), 3, "another binary is asked anew");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_no_qemu_is_named_with_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path().join("cache"), PATIENCE);
    let missing = cache.binary(&directory.path().join("none"), None).await.unwrap_err().to_string();
    assert!(missing.starts_with("cannot look at '") && missing.contains("No such file"), "{missing}");

    for (text, expected) in [
        ("exit 0", "exit code 0"),
        ("echo 'cannot find libfoo.so' >&2; exit 127", "it said: cannot find libfoo.so"),
        ("echo nonsense >&3; exec sleep 1000", "a line is no message"),
    ] {
        let path = script(directory.path(), text);
        let error = cache.binary(&path, None).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn what_keeps_silent_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "echo thinking >&2; exec sleep 1000");
    let error = probe(&path, ANYWHERE, None, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ProbeError::Silent { .. }), "{error}");
    assert!(error.to_string().ends_with("it said: thinking"), "{error}");
}
