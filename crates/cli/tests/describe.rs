//! What is written about a guest, its name, and where it can be seen.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use root::Root;

#[test]
fn titles_and_descriptions() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    assert!(root.ok(&["desc", "g"]).contains("No description for domain"));
    root.ok(&["desc", "g", "serves", "mail & more"]);
    root.ok(&["desc", "--domain", "g", "--title", "--new-desc", "mail"]);
    assert_eq!(root.ok(&["desc", "g"]), "serves mail & more\n");
    assert_eq!(root.ok(&["desc", "g", "--title"]), "mail\n");
    let xml = root.ok(&["dumpxml", "g"]);
    assert!(xml.contains("<title>mail</title>") && xml.contains("serves mail &amp; more"), "{xml}");
    assert!(root.refused(&["desc", "g", "--title", "two\nlines"]).contains("one line"));
    assert!(root.refused(&["desc", "g", "--live", "words"]).contains("does not run"));
    root.ok(&["desc", "g", "--config", ""]);
    assert!(!root.ok(&["dumpxml", "g"]).contains("<description>"));
}

#[test]
fn applications_keep_elements() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    let uri = "http://example.org/app";
    assert!(root.refused(&["metadata", "g", uri]).contains("no metadata"));
    root.ok(&["metadata", "g", uri, "--key", "app", "--set", "<app at='02:00'><part/></app>"]);
    let shown = root.ok(&["metadata", "g", uri]);
    assert!(shown.contains("<app at=") && shown.contains("<part/>"), "{shown}");
    assert!(root.ok(&["dumpxml", "g"]).contains("<app:part/>"));
    for (set, problem) in [("<app", "no XML"), ("words", "no XML")] {
        assert!(root.refused(&["metadata", "g", uri, "--key", "app", "--set", set]).contains(problem), "{set}");
    }
    assert!(root.refused(&["metadata", "g", uri, "--key", "a b", "--set", "<app/>"]).contains("prefix"));
    assert_eq!(root.run(&["metadata", "g", uri, "--set", "<app/>"]).0, 2, "the prefix is missing");
    assert_eq!(root.ok(&["metadata", "g", uri]), shown, "a refusal changes nothing");
    root.ok(&["metadata", "g", uri, "--remove"]);
    assert!(root.refused(&["metadata", "g", uri, "--remove"]).contains("no metadata"));
}

#[test]
fn a_guest_is_renamed_with_all_it_has() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    root.ok(&["define", &root.guest("other")]);
    root.ok(&["autostart", "g"]);
    let uuid = root.ok(&["domuuid", "g"]);
    assert!(root.refused(&["domrename", "g", "other"]).contains("there is a guest 'other' already"));
    for name in ["a/b", "", ".."] {
        root.refused(&["domrename", "g", name]);
    }
    root.ok(&["domrename", "g", "new"]);
    assert_eq!(root.ok(&["domuuid", "new"]), uuid);
    assert!(root.refused(&["dominfo", "g"]).contains("no guest 'g'"));
    assert_eq!(root.ok(&["list", "--all", "--autostart", "--name"]), "new\n");
    let events = root.ok(&["event", "--history", "--timeout", "1", "--loop"]);
    assert!(events.contains("was renamed from 'g'"), "{events}");
}

#[test]
fn lifecycle_actions_are_checked() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    root.ok(&["set-lifecycle-action", "g", "reboot", "destroy"]);
    assert!(root.ok(&["dumpxml", "g"]).contains("<on_reboot>destroy</on_reboot>"));
    assert_eq!(root.run(&["set-lifecycle-action", "g", "sleep", "destroy"]).0, 2);
    assert!(root.refused(&["set-lifecycle-action", "g", "reboot", "dance"]).contains("no action 'dance'"));
}

#[test]
fn what_cannot_be_seen_is_said() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    for command in ["domdisplay", "vncdisplay", "ttyconsole", "domcontrol"] {
        assert!(root.refused(&[command, "g"]).contains("does not run"), "{command}");
    }
}
