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

#[test]
fn snapshots_and_checkpoints_are_wishes_or_exist() {
    let root = Root::new();
    let normalize = |kind: &'static str, text: &str, more: &[&str]| {
        let file = root.file("s.xml", text);
        root.run(&[&["xml", "normalize", "--kind", kind], more, &[&file]].concat())
    };
    let wish = "<domainsnapshot><state>running</state><memory file='/m'/></domainsnapshot>";
    let (status, out, err) = normalize("snapshot", wish, &["--creation-time", "7", "--parent", "p"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("<name>7</name>") && out.contains("<memory snapshot='external' file='/m'/>"), "{out}");
    assert!(out.contains("<name>p</name>") && !out.contains("running"), "{out}");

    let (status, out, err) = normalize("checkpoint", "<domaincheckpoint/>", &["--creation-time", "7"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("<name>7</name>"), "{out}");

    // What is wrong in the definition is told at its place in the whole document.
    let broken = format!(
        "<domainsnapshot><name>a</name><state>running</state><creationTime>1</creationTime>\n{}</domainsnapshot>",
        guest("d").replace("<devices>", "<devices><disk type='file'><target dev='vda' bus='nvme'/></disk><disk type='file'><target dev='vda'/></disk>")
    );
    let (status, _, err) = normalize("snapshot", &broken, &["--redefine"]);
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("/domainsnapshot/domain/devices/disk"), "{err}");
    let (status, _, err) = normalize("snapshot", "<domainsnapshot/>", &["--redefine", "--internal"]);
    assert!(status == 1 && err.contains("creationTime"), "{err}");
}
