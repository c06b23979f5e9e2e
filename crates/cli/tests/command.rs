//! The command as a person or a script calls it, on the mock driver.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use std::{io::Write as _, process::Stdio};

use root::{Root, guest, text};

#[test]
fn define_look_change_undefine() {
    let root = Root::new();
    assert!(root.ok(&["define", &root.guest("g")]).contains("Domain 'g' defined from"));
    let list = root.ok(&["list", "--all"]);
    assert_eq!(
        list.lines().nth(2).map(|l| l.split_whitespace().collect::<Vec<_>>()),
        Some(vec!["-", "g", "shut", "off"]),
        "{list}"
    );
    assert_eq!(root.ok(&["list", "--all", "--name"]), "g\n");
    assert!(!root.ok(&["list"]).contains(" g "), "a guest that does not run is not in the plain list");
    assert!(root.ok(&["dominfo", "g"]).contains("Max memory:     65536 KiB"));
    assert_eq!(root.ok(&["domstate", "g"]), "shut off\n");
    let xml = root.ok(&["dumpxml", "g"]);
    assert!(xml.contains("<memory mode='strict' placement='auto'/>"), "{xml}");
    let uuid = root.ok(&["domuuid", "g"]);
    assert_eq!(root.ok(&["domname", uuid.trim()]), "g\n");
    root.ok(&["autostart", "g"]);
    assert_eq!(root.ok(&["list", "--all", "--autostart", "--name"]), "g\n");
    assert!(root.ok(&["start", "--autostarted"]).contains("'g' started"));
    root.ok(&["vcpupin", "g", "1", "0", "--config"]);
    assert!(root.ok(&["dumpxml", "g", "--inactive"]).contains("<vcpupin vcpu='1' cpuset='0'/>"));
    root.ok(&["emulatorpin", "g", "0", "--config"]);
    let stored = root.ok(&["vcpupin", "g", "--config", "--json"]);
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(
        (&stored[0]["cpus"], &stored[1]["cpus"]),
        (&"-".into(), &"0".into()),
        "of the stored side, not the plan"
    );
    assert!(root.ok(&["emulatorpin", "g", "--config"]).contains("*: 0"));
    for command in ["vcpupin", "emulatorpin", "numatune"] {
        assert!(root.refused(&[command, "g", "--live"]).contains("does not run"), "{command}");
    }
    root.ok(&["numatune", "g", "--mode", "interleave", "--nodeset", "0", "--config"]);
    assert!(root.ok(&["numatune", "g"]).contains("numa_mode      : interleave"));
    root.ok(&["undefine", "g"]);
    assert_eq!(root.ok(&["list", "--all", "--name"]), "");
}

#[test]
fn hands_and_eyes_want_a_guest_that_runs_and_keys_that_exist() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    for args in [&["screenshot", "g"][..], &["send-key", "g", "KEY_A"], &["inject-nmi", "g"]] {
        assert!(root.refused(args).contains("does not run"), "{args:?}");
    }
    for (args, problem) in [
        (&["send-key", "g", "KEY_A", "enter"][..], "no key 'enter'"),
        (&["send-key", "g", "--codeset", "xt", "KEY_A"], "'xt' has no key 'KEY_A'"),
        (&["send-key", "g", "--holdtime", "60001", "KEY_A"], "at most 60000"),
        (&[&["send-key", "g"][..], &["1"; 17]].concat(), "17 keys at once"),
    ] {
        let error = root.refused(args);
        assert!(error.contains(problem), "{args:?}: {error}");
    }
    assert_eq!(root.run(&["send-key", "g"]).0, 2);
    assert_eq!(root.run(&["send-key", "g", "--codeset", "win32", "1"]).0, 2);
}

#[test]
fn json_everywhere() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    for args in [
        &["list", "--all"][..],
        &["dominfo", "g"],
        &["explain", "g"],
        &["numa"],
        &["host", "check"],
        &["config", "show"],
        &["drivers"],
        &["nodeinfo"],
        &["freecell"],
        &["vcpupin", "g"],
        &["numatune", "g"],
        &["uri"],
    ] {
        let (status, out, err) = root.run(&[args, &["--json"]].concat());
        assert!(status == 0 || args[0] == "host", "{args:?}: {err}");
        serde_json::from_str::<serde_json::Value>(&out)
            .unwrap_or_else(|e| panic!("{args:?} gave no JSON ({e}): {out}"));
    }
    let (status, _, err) = root.run(&["start", "nobody", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((status, error["error"]["kind"].as_str()), (1, Some("not-found")));
}

#[test]
fn bad_definitions_name_place_value_and_remedy() {
    let root = Root::new();
    let good = guest("g");
    let define = |text: &str| {
        let error = root.refused(&["define", &root.file("bad.xml", text)]);
        assert_eq!(root.ok(&["list", "--all", "--name"]), "", "nothing was stored");
        error
    };
    for (from, to, parts) in [
        ("unit='MiB'", "unit='zz'", &["/domain/memory/@unit", "line 3", "zz"][..]),
        ("placement='auto'", "placement='atuo'", &["/domain/vcpu/@placement", "line 4", "atuo", "auto"]),
        (">2<", ">two<", &["/domain/vcpu", "line 4", "two"]),
        ("</name>", "", &["line"]),
        ("<name>g<", "<name>../x<", &["/domain/name", "../x"]),
        (
            "<os>",
            "<numatune><memory mode='strict' nodeset='3-1'/></numatune><os>",
            &["/domain/numatune/memory/@nodeset", "line 5", "3-1"],
        ),
        (
            "<vcpu placement='auto'>2</vcpu>",
            "<vcpu>2</vcpu><numatune><memory mode='strict'/></numatune>",
            &["/domain/numatune/memory", "line 4", "P7"],
        ),
    ] {
        let error = define(&good.replace(from, to));
        for part in parts {
            assert!(error.contains(part), "{to}: {error}");
        }
    }
    assert!(define(&good.repeat(2)).contains("line"));
    assert!(define("").contains("error"));
    assert!(define(&format!("<!DOCTYPE x [<!ENTITY a 'b'>]>{good}")).contains("line 1"));
}

#[test]
fn a_misspelt_element_is_told_and_dropped_or_refused() {
    let root = Root::new();
    let file = root.file("typo.xml", &guest("g").replace("<devices>", "<on_reboott>restart</on_reboott><devices>"));
    let (status, _, err) = root.run(&["define", &file]);
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("warning: ") && err.contains("on_reboott") && err.contains("on_reboot'"), "{err}");
    let (status, out, _) = root.run(&["domxml", "validate", &file]);
    assert_eq!(status, 1);
    assert!(out.contains("typo.xml:6:"), "{out}");
}

#[test]
fn usage_is_status_two() {
    let root = Root::new();
    for args in [&["frobnicate"][..], &["start"], &["list", "--nonsense"]] {
        let (status, _, err) = root.run(args);
        assert_eq!(status, 2, "{args:?}: {err}");
        assert!(!err.is_empty());
    }
    assert!(root.refused(&["define", "/nonexistent.xml"]).contains("/nonexistent.xml"));
    assert!(root.refused(&["vcpupin", "nobody", "0", "1"]).contains("nobody"));
}

#[test]
fn a_batch_answers_every_line_as_the_command_would() {
    let root = Root::new();
    let file = root.guest("g");
    let mut batch = root.command(&["batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = [
        serde_json::json!({ "id": 1, "argv": ["cpuset", "union", "0-2", "4"] }),
        serde_json::json!({ "id": "two", "argv": ["domxml", "normalize", file] }),
        serde_json::json!({ "id": 3, "argv": ["cpuset", "canonical", "3-1"] }),
        serde_json::json!({ "id": 4, "argv": ["nonsense"] }),
        serde_json::json!({ "id": 5, "argv": ["batch"] }),
    ];
    let text = lines.map(|l| l.to_string()).join("\n") + "\nnot json\n";
    batch.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = batch.wait_with_output().unwrap();
    assert!(output.status.success());
    let replies: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let exits: Vec<_> = replies.iter().map(|r| r["exit"].as_u64().unwrap()).collect();
    assert_eq!(exits, [0, 0, 1, 2, 2, 2]);
    assert_eq!(replies[0]["stdout"], "0-2,4\n");
    assert!(replies[1]["stdout"].as_str().unwrap().starts_with("<domain type='test'>"));
    assert!(replies[2]["stderr"].as_str().unwrap().contains("3-1"));
}

#[test]
fn an_edit_that_is_wrong_keeps_the_definition_and_the_draft() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    let before = root.ok(&["dumpxml", "g"]);
    let edit = |script: &str| {
        let editor = root.file("editor", script);
        text(
            &root
                .command(&["edit", "g"])
                .env("EDITOR", format!("sh {editor}"))
                .env("TMPDIR", root.path())
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    };
    let (status, out, _) = edit("true");
    assert!(status == 0 && out.contains("not changed"), "{out}");
    let (status, _, err) = edit("sed -i s/65536/nonsense/ \"$1\"");
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("your version is kept in"), "{err}");
    assert_eq!(root.ok(&["dumpxml", "g"]), before);
    let (status, out, err) = edit("sed -i s/65536/131072/g \"$1\"");
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("  memory: 64 MiB → 128 MiB\n"), "{out}");
    assert!(err.contains("warning: the guest will see other hardware: memory"), "{err}");
    let (status, out, err) = edit("sed -i 's|<on_reboot>restart|<on_reboot>destroy|' \"$1\"");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("  on_reboot: restart → destroy\n"), "{out}");
    assert!(root.ok(&["dominfo", "g"]).contains("131072 KiB"));
}

#[test]
fn events_of_other_processes_are_told() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    root.ok(&["undefine", "g"]);
    let out = root.ok(&["event", "--history", "--loop", "--timeout", "0"]);
    assert_eq!(out, "event for domain 'g': defined\nevent for domain 'g': undefined\n");
}

#[test]
fn completions_are_scripts() {
    let root = Root::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(root.ok(&["completion", shell]).contains("polyvirt"));
    }
}

#[test]
fn secrets_are_stored_and_shown_only_when_asked_for() {
    let root = Root::new();
    let xml = guest("g").replace("<serial", "<graphics type='vnc' port='-1' passwd='geheim'/><serial");
    root.ok(&["define", &root.file("g.in", &xml)]);
    assert!(!root.ok(&["dumpxml", "g"]).contains("geheim"));
    assert!(root.ok(&["dumpxml", "g", "--security-info"]).contains("passwd='geheim'"));
    let editor = root.file("editor", "sed -i s/65536/131072/g \"$1\"");
    let edited = root.command(&["edit", "g"]).env("EDITOR", format!("sh {editor}")).output().unwrap();
    assert!(edited.status.success(), "{edited:?}");
    let after = root.ok(&["dumpxml", "g", "--security-info"]);
    assert!(after.contains("131072") && after.contains("passwd='geheim'"), "{after}");
    root.ok(&["start", "g"]);
    assert!(!root.ok(&["dumpxml", "g"]).contains("geheim"));
}
