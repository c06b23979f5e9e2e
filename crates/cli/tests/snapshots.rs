//! `snapshot-…` on a store that was described, without a hypervisor's help.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use root::{Root, guest};

const UUID: &str = "c7a5fdbd-edaf-9455-926a-d65c16db1809";

fn described(name: &str, parent: Option<&str>, state: &str) -> String {
    let parent = parent.map_or_else(String::new, |it| format!("<parent><name>{it}</name></parent>"));
    let domain = guest("d").replace("</name>", &format!("</name><uuid>{UUID}</uuid>"));
    format!(
        "<domainsnapshot><name>{name}</name><state>{state}</state>{parent}<creationTime>1700000000</creationTime>{domain}</domainsnapshot>"
    )
}

/// A guest with the snapshots `a`, `b` and `d` that follow it, and `c` that follows `b`.
fn described_tree() -> Root {
    let root = Root::new();
    let domain = root.file("d.xml", &guest("d").replace("</name>", &format!("</name><uuid>{UUID}</uuid>")));
    assert_eq!(root.run(&["define", &domain]).0, 0);
    for (name, parent, state) in
        [("a", None, "shutoff"), ("b", Some("a"), "running"), ("c", Some("b"), "running"), ("d", Some("a"), "paused")]
    {
        let file = root.file("s.xml", &described(name, parent, state));
        let (status, out, err) = root.run(&["snapshot-create", "d", &file, "--redefine"]);
        assert_eq!(status, 0, "{out}{err}");
    }
    root
}

#[test]
fn lists_and_trees_are_as_virsh_prints_them() {
    let root = described_tree();
    let (status, out, err) = root.run(&["snapshot-list", "d", "--parent"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let expected = " Name  Creation Time              State    Parent
--------------------------------------------------
 a     2023-11-14 22:13:20 +0000  shutoff
 b     2023-11-14 22:13:20 +0000  running  a
 c     2023-11-14 22:13:20 +0000  running  b
 d     2023-11-14 22:13:20 +0000  paused   a
";
    assert_eq!(out, expected);
    let (_, out, _) = root.run(&["snapshot-list", "--tree", "d"]);
    assert_eq!(out, "a\n  |\n  +- b\n  |   |\n  |   +- c\n  |\n  +- d\n\n");
    for (options, names) in [
        (&["--roots"][..], "a\n"),
        (&["--leaves"], "c\nd\n"),
        (&["--no-leaves"], "a\nb\n"),
        (&["--inactive"], "a\n"),
        (&["--active"], "b\nc\nd\n"),
        (&["--external"], ""),
        (&["--disk-only"], ""),
        (&["--internal"], "a\nb\nc\nd\n"),
        (&["--no-metadata"], ""),
        (&["--from", "a"], "b\nd\n"),
        (&["--from", "a", "--descendants"], "b\nc\nd\n"),
        (&["--from", "a", "--descendants", "--topological"], "b\nd\nc\n"),
    ] {
        let (status, out, err) = root.run(&[&["snapshot-list", "d", "--name"], options].concat());
        assert_eq!((status, out.as_str(), err.as_str()), (0, names, ""), "{options:?}");
    }
}

#[test]
fn single_ones_are_told_and_changed() {
    let root = described_tree();
    let (status, _, err) = root.run(&["snapshot-current", "d"]);
    assert_eq!(status, 1);
    assert!(err.contains("no current snapshot"), "{err}");
    assert_eq!(root.run(&["snapshot-current", "d", "--snapshotname", "b"]).0, 0);
    assert_eq!(root.run(&["snapshot-current", "d", "--name"]).1, "b\n");
    let (_, out, _) = root.run(&["snapshot-info", "d", "--snapshotname", "b"]);
    for line in [
        "Name:           b",
        "Current:        yes",
        "Parent:         a",
        "Children:       1",
        "Location:       internal",
    ] {
        assert!(out.lines().any(|it| it == line), "{line} not in\n{out}");
    }
    assert_eq!(root.run(&["snapshot-parent", "d", "--current"]).1, "a\n");
    assert_eq!(root.run(&["snapshot-parent", "d", "a"]).0, 1);
    assert!(root.run(&["snapshot-dumpxml", "d", "b"]).1.contains("<creationTime>1700000000</creationTime>"));
    // It would go round.
    let loop_file = root.file("s.xml", &described("a", Some("c"), "shutoff"));
    let (status, _, err) = root.run(&["snapshot-create", "d", &loop_file, "--redefine"]);
    assert!(status == 1 && err.contains("cannot be its parent"), "{err}");

    let (status, _, err) = root.run(&["undefine", "d"]);
    assert!(status == 1 && err.contains("--snapshots-metadata"), "{err}");
    assert_eq!(root.run(&["snapshot-delete", "d", "b", "--metadata"]).0, 0);
    assert_eq!(root.run(&["snapshot-parent", "d", "c"]).1, "a\n");
    assert_eq!(root.run(&["snapshot-current", "d", "--name"]).1, "a\n");
    assert_eq!(root.run(&["undefine", "d", "--snapshots-metadata"]).0, 0);
}

#[test]
fn what_is_not_possible_says_what_is() {
    let root = described_tree();
    for (command, part) in [
        (&["snapshot-create-as", "d", "x", "--disk-only"][..], "not made yet"),
        (&["snapshot-create-as", "d", "../x"], "path"),
        (&["snapshot-revert", "d", "none"], "no snapshot 'none'"),
        (&["snapshot-revert", "d", "b", "--reset-nvram"], "leave --reset-nvram out"),
        (&["snapshot-edit", "d", "b", "--rename"], "images call"),
    ] {
        let (status, _, err) = root.run(command);
        assert_eq!(status, 1, "{command:?}: {err}");
        assert!(err.contains(part), "{command:?}: {err}");
    }
    let (status, out, _) = root.run(&["snapshot-create-as", "d", "x", "--print-xml", "--diskspec", "vda,snapshot=no"]);
    assert_eq!(status, 0);
    assert!(out.contains("<disk name='vda' snapshot='no'/>"), "{out}");
}
