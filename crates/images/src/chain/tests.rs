//! Chains of real images, made by `qemu-img` and compared with what it says of them.

use std::process::Command;

use polyvirt_core::model::{DomainConfig, ParseOptions};
use serde_json::Value;

use super::*;

fn disk(path: &Path, format: &str, more: &str) -> Disk {
    let text = format!(
        "<domain type='qemu'><name>a</name><devices><disk type='file'><driver name='qemu' type='{format}'/><source file='{}'/>{more}\
         <target dev='vda'/></disk></devices></domain>",
        path.display()
    );
    DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config.devices.disks.remove(0)
}

/// Path and format of each image below the top; whether the chain is ended.
fn layers(disk: &Disk) -> (Vec<(String, String)>, bool) {
    let mut found = Vec::new();
    let mut next = disk.backing_store.as_deref();
    while let Some(store) = next {
        let Some(source) = &store.source else { return (found, true) };
        let format = store.format.as_ref().and_then(|it| it.kind).map(|it| it.to_string()).unwrap_or_default();
        let name = source.file.clone().or(source.dev.clone()).or(source.name.clone());
        found.push((name.unwrap_or_default(), format));
        next = store.backing_store.as_deref();
    }
    (found, false)
}

fn no_qemu_img() -> bool {
    let is_there = Command::new("qemu-img").arg("--version").output().is_ok();
    let skipped = !is_there && polyvirt_driver_testkit::require("qemu-img", "qemu-img is not installed");
    if skipped {
        println!("skipped: qemu-img is not installed");
    }
    skipped
}

fn qemu_img(dir: &Path, arguments: &[&str]) -> String {
    let done = Command::new("qemu-img").args(arguments).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The chain as `qemu-img info` follows it, without the top.
fn told_by_qemu(path: &Path) -> Vec<(String, String)> {
    let told = qemu_img(path.parent().unwrap(), &["info", "--backing-chain", "--output=json", path.to_str().unwrap()]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    told.as_array().unwrap().iter().skip(1).map(|it| (text(it, "filename"), text(it, "format"))).collect()
}

/// Paths without `.` and doubled slashes: QEMU writes them as they come.
fn plain(found: Vec<(String, String)>) -> Vec<(PathBuf, String)> {
    found.into_iter().map(|(path, format)| (std::fs::canonicalize(path).unwrap(), format)).collect()
}

#[test]
fn chains_are_as_qemu_img_follows_them() {
    if no_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir(root.join("sub")).unwrap();
    let create = |arguments: &[&str]| qemu_img(root, &[&["create", "-q"], arguments].concat());
    create(&["-f", "raw", "base.raw", "1M"]);
    create(&["-f", "qcow2", "-o", "compat=0.10", "-F", "raw", "-b", "base.raw", "v2.qcow2"]);
    create(&["-f", "qcow2", "-o", "cluster_size=512", "-F", "qcow2", "-b", "../v2.qcow2", "sub/small.qcow2"]);
    create(&[
        "-f",
        "qcow2",
        "-o",
        "cluster_size=2M,extended_l2=on",
        "-F",
        "qcow2",
        "-b",
        "sub/small.qcow2",
        "large.qcow2",
    ]);
    create(&["-f", "qed", "-F", "qcow2", "-b", "large.qcow2", "a.qed"]);
    let json = format!(
        r#"json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{}"}}}}"#,
        root.join("large.qcow2").display()
    );
    create(&["-f", "qcow2", "-F", "qcow2", "-b", &json, "json.qcow2"]);
    create(&["-f", "vmdk", "base.vmdk", "1M"]);
    create(&["-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk", "top.vmdk"]);
    create(&["-f", "vpc", "a.vpc", "1M"]);
    create(&["-f", "vdi", "a.vdi", "1M"]);
    create(&["-f", "qcow2", "-F", "vpc", "-b", "a.vpc", "vpc.qcow2"]);
    create(&["-f", "qcow2", "-F", "vdi", "-b", "a.vdi", "vdi.qcow2"]);
    create(&["-f", "qcow2", "-F", "raw", "-b", &format!("file:{}/base.raw", root.display()), "file.qcow2"]);
    for (name, format) in [
        ("base.raw", "raw"),
        ("v2.qcow2", "qcow2"),
        ("sub/small.qcow2", "qcow2"),
        ("large.qcow2", "qcow2"),
        ("top.vmdk", "vmdk"),
        ("vpc.qcow2", "qcow2"),
        ("vdi.qcow2", "qcow2"),
        ("file.qcow2", "qcow2"),
        ("json.qcow2", "qcow2"),
    ] {
        let path = root.join(name);
        let mut disk = disk(&path, format, "");
        complete(&mut disk).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (found, ended) = layers(&disk);
        assert!(ended, "{name}: {found:?}");
        let mut told = told_by_qemu(&path);
        if name == "json.qcow2" {
            // QEMU shows the options again.
            told[0].0 = root.join("large.qcow2").display().to_string();
        }
        assert_eq!(
            plain(found),
            plain(
                told.into_iter().map(|(path, format)| (path.trim_start_matches("file:").to_owned(), format)).collect()
            ),
            "{name}"
        );
        // Asked again, nothing changes.
        let before = disk.clone();
        complete(&mut disk).unwrap();
        assert_eq!(disk, before, "{name}");
    }
    // A QED image cannot say that its backing image is anything but raw.
    let error = complete(&mut disk(&root.join("a.qed"), "qed", "")).unwrap_err();
    assert!(error.to_string().contains("does not say in which format"), "{error}");
}

#[test]
fn what_nobody_names_is_raw_or_refused() {
    if no_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    qemu_img(root, &["create", "-q", "-f", "qcow2", "secret.qcow2", "1M"]);
    qemu_img(root, &["create", "-q", "-f", "raw", "base", "1M"]);
    qemu_img(root, &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base", "top.qcow2"]);
    // An image of old: no format.
    let top = root.join("top.qcow2");
    let mut bytes = std::fs::read(&top).unwrap();
    let at = bytes.windows(4).position(|it| it == 0xe279_2aca_u32.to_be_bytes()).unwrap();
    bytes[at..at + 4].copy_from_slice(b"what");
    std::fs::write(&top, bytes).unwrap();
    assert_eq!(Header::parse(ImageFormat::Qcow2, &head(&top, FIRST).unwrap()).unwrap().backing_format, None);
    let mut plain = disk(&top, "qcow2", "");
    complete(&mut plain).unwrap();
    assert_eq!(layers(&plain), (vec![(root.join("base").display().to_string(), "raw".into())], true));
    // The guest of the raw disk writes a header into it.
    std::fs::copy(root.join("secret.qcow2"), root.join("base")).unwrap();
    let error = complete(&mut disk(&top, "qcow2", "")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.remedy().is_some_and(|it| it.contains("-F qcow2") && it.contains("-F raw")), "{error}");
    // A disk that is said to be raw is not looked into at all.
    let mut raw = disk(&root.join("secret.qcow2"), "raw", "");
    complete(&mut raw).unwrap();
    assert_eq!(layers(&raw), (vec![], true));
}

#[test]
fn faults_name_the_image_and_who_refers_to_it() {
    if no_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let create = |arguments: &[&str]| qemu_img(root, &[&["create", "-q"], arguments].concat());
    create(&["-f", "qcow2", "a", "1M"]);
    create(&["-f", "qcow2", "-F", "qcow2", "-b", "a", "b"]);
    create(&["-f", "qcow2", "-F", "qcow2", "-b", "b", "c"]);
    let refused = |name: &str, kind: ErrorKind, words: &[&str]| {
        let error = complete(&mut disk(&root.join(name), "qcow2", "")).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "'{word}' in {error}");
        }
        assert!(error.remedy().is_some(), "{error}");
    };
    // A loop, also by another name.
    std::fs::hard_link(root.join("c"), root.join("other")).unwrap();
    qemu_img(root, &["rebase", "-u", "-F", "qcow2", "-b", "other", "a"]);
    refused("c", ErrorKind::InvalidConfig, &["loops", "/a is based on", "/other"]);
    qemu_img(root, &["rebase", "-u", "-F", "qcow2", "-b", "a", "a"]);
    refused("a", ErrorKind::InvalidConfig, &["loops"]);
    refused("c", ErrorKind::InvalidConfig, &["loops"]);
    qemu_img(root, &["rebase", "-u", "-F", "qcow2", "-b", "gone", "a"]);
    refused("c", ErrorKind::NotFound, &["/gone is missing", "/a is based on it"]);
    qemu_img(root, &["rebase", "-u", "-F", "qcow2", "-b", "/dev/null", "a"]);
    refused("c", ErrorKind::InvalidConfig, &["/dev/null", "neither a file nor"]);
    qemu_img(root, &["rebase", "-u", "-F", "qcow2", "-b", "rbd:pool/image", "a"]);
    refused("c", ErrorKind::Unsupported, &["'rbd'", "/a is based on"]);
    std::fs::write(root.join("a"), b"QFI\xfb\0\0\0\x03").unwrap();
    refused("c", ErrorKind::InvalidConfig, &["/a: its header is broken", "the file ends"]);
    std::fs::write(root.join("a"), b"nothing of the kind").unwrap();
    refused("c", ErrorKind::InvalidConfig, &["/a: it is no qcow2 image"]);
    // Too deep.
    create(&["-f", "qcow2", "-o", "cluster_size=512", "n0", "1M"]);
    for at in 1..=DEPTH {
        let text = std::fs::read(root.join("n0")).unwrap();
        std::fs::write(root.join(format!("n{at}")), text).unwrap();
        qemu_img(root, &["rebase", "-u", "-F", "qcow2", "-b", &format!("n{}", at - 1), &format!("n{at}")]);
    }
    refused(&format!("n{DEPTH}"), ErrorKind::InvalidConfig, &["more than 200"]);
    complete(&mut disk(&root.join(format!("n{}", DEPTH - 1)), "qcow2", "")).unwrap();
}

#[test]
fn what_a_definition_says_is_taken_as_written() {
    if no_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let create = |arguments: &[&str]| qemu_img(root, &[&["create", "-q"], arguments].concat());
    create(&["-f", "raw", "base", "1M"]);
    create(&["-f", "qcow2", "-F", "raw", "-b", "base", "middle"]);
    create(&["-f", "qcow2", "-F", "qcow2", "-b", "middle", "top"]);
    let top = root.join("top");
    let mut ended = disk(&top, "qcow2", "<backingStore/>");
    complete(&mut ended).unwrap();
    assert_eq!(layers(&ended), (vec![], true));
    // Another image in the place of what the header says, and the rest as its own header says.
    let written = |below: &str| {
        format!(
            "<backingStore type='file'><format type='qcow2'/><source file='{}'/>{below}</backingStore>",
            root.join("middle").display()
        )
    };
    let mut further = disk(&top, "qcow2", &written(""));
    complete(&mut further).unwrap();
    assert_eq!(layers(&further).0.len(), 2);
    let mut stopped = disk(&top, "qcow2", &written("<backingStore/>"));
    complete(&mut stopped).unwrap();
    assert_eq!(layers(&stopped).0.len(), 1);
    // What is not there is the start's to tell.
    complete(&mut disk(&root.join("none"), "qcow2", "")).unwrap();
    // Data beside its image.
    create(&["-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "outside", "1M"]);
    let mut outside = disk(&root.join("outside"), "qcow2", "");
    complete(&mut outside).unwrap();
    let store = outside.source.unwrap().data_store.unwrap();
    assert_eq!(store.source.unwrap().file.as_deref(), root.join("data.raw").to_str());
    // On a server: followed up to there.
    qemu_img(root, &["rebase", "-u", "-F", "qcow2", "-b", "nbd://example.org:1/x", "top"]);
    let mut remote = disk(&top, "qcow2", "");
    complete(&mut remote).unwrap();
    assert_eq!(layers(&remote), (vec![("x".into(), "qcow2".into())], false));
}
