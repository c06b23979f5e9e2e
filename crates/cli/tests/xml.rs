//! `xml`: other objects than guests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use root::{Root, guest};

#[test]
fn a_backup_is_completed_for_the_disks_of_a_guest() {
    let root = Root::new();
    let disk = "<devices><disk type='file'><source file='/i/a.qcow2'/><target dev='vda'/></disk>";
    let domain = root.file("d.xml", &guest("d").replace("<devices>", disk));
    let backup = root.file("b.xml", "<domainbackup/>");
    let normalize = |kind: &'static str, file: &str, more: &[&str]| {
        root.run(&[&["xml", "normalize", "--kind", kind], more, &[file]].concat())
    };
    let options = ["--domain", domain.as_str(), "--suffix", "7"];
    let (status, out, err) = normalize("backup", &backup, &options);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("<target file='/i/a.qcow2.7'/>"), "{out}");

    let running =
        root.file("r.xml", "<domainbackup><disks><disk name='vda' state='running' index='4'/></disks></domainbackup>");
    assert!(!normalize("backup", &running, &options).1.contains("running"));
    let internal = [&options[..], &["--internal"]].concat();
    assert!(normalize("backup", &running, &internal).1.contains("state='running'"));

    let wrong = root.file("w.xml", "<domainbackup>\n<disks><disk name='vdz'/></disks></domainbackup>");
    let (status, _, err) = normalize("backup", &wrong, &options);
    assert_eq!(status, 1);
    assert!(err.lines().next().unwrap().contains("line 2"), "{err}");
    for (kind, more) in [("network", &[][..]), ("backup", &[]), ("bakcup", &options)] {
        let (status, _, err) = normalize(kind, &backup, more);
        assert_eq!(status, 2, "{kind}: {err}");
        assert!(err.contains("backup"), "{err}");
    }
}
