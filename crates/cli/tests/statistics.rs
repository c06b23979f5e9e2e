//! Numbers, disks and cards of guests as the command shows them, on the mock driver: its guests live as long as a `batch`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use std::{io::Write as _, process::Stdio};

use root::{Root, guest};

/// A guest with two disks and two cards.
fn xml(root: &Root, name: &str) -> String {
    let image = root.file("image", "");
    let text = guest(name).replace(
        "<devices>",
        "<devices><disk type='file' device='disk'><source file='/images/a'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk>\
         <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><target dev='tap7'/><model type='virtio'/></interface>\
         <interface type='user'><mac address='52:54:00:00:00:02'/></interface><memballoon model='virtio'/>",
    );
    text.replace("/images/a", &image)
}

/// Runs commands in one process; standard output, standard error and status of each.
fn batch(root: &Root, settings: &str, commands: &[&[&str]]) -> Vec<(String, String, i64)> {
    let settings = root.file("settings.toml", settings);
    let uri = format!("mock:///embed?root={}", root.path().display());
    let mut child = root.command(&["batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let globals = ["-c", &uri, "--settings", &settings];
    for (id, argv) in commands.iter().enumerate() {
        let argv: Vec<_> = globals.iter().chain(*argv).collect();
        writeln!(stdin, "{}", serde_json::json!({"id": id, "argv": argv})).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let answers = output.stdout.split(|it| *it == b'\n').filter(|it| !it.is_empty());
    let answers = answers.map(|it| serde_json::from_slice::<serde_json::Value>(it).unwrap());
    let text = |it: &serde_json::Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    answers.map(|it| (text(&it, "stdout"), text(&it, "stderr"), it["exit"].as_i64().unwrap_or(-1))).collect()
}

#[test]
fn disks_and_cards_are_listed_as_virsh_does() {
    let root = Root::new();
    root.ok(&["define", &root.file("g.xml", &xml(&root, "g"))]);
    let image = root.path().join("image").display().to_string();
    let list = root.ok(&["domblklist", "g"]);
    let rows: Vec<Vec<&str>> = list.lines().map(|it| it.split_whitespace().collect()).collect();
    assert_eq!((&rows[0], &rows[2], &rows[3]), (&vec!["Target", "Source"], &vec!["vda", &image], &vec!["hda", "-"]));
    let details = root.ok(&["domblklist", "g", "--details"]);
    assert_eq!(details.lines().nth(3), Some(" file  cdrom   hda     -"), "{details}");
    let cards = root.ok(&["domiflist", "g"]);
    assert_eq!(cards.lines().next(), Some(" Interface  Type    Source  Model   MAC"), "{cards}");
    assert_eq!(cards.lines().nth(2), Some(" tap7       bridge  br0     virtio  52:54:00:00:00:01"), "{cards}");
    let json: serde_json::Value = serde_json::from_str(&root.ok(&["domiflist", "g", "--json"])).unwrap();
    assert_eq!((&json[0]["source"], &json[1]["interface"]), (&"br0".into(), &serde_json::Value::Null));
    for args in [
        &["domblkstat", "g"][..],
        &["domifstat", "g", "tap7"],
        &["dommemstat", "g"],
        &["cpu-stats", "g"],
        &["domblkerror", "g"],
        &["domdirtyrate-calc", "g"],
    ] {
        assert!(root.refused(args).contains("does not run"), "{args:?}");
    }
    assert!(root.refused(&["domblkinfo", "g", "vdb"]).contains("no disk 'vdb'"));
    assert!(root.refused(&["domblkinfo", "g", "hda"]).contains("nothing is in the drive"));
    assert_eq!(root.run(&["domblkinfo", "g"]).0, 2, "which disk, or --all");
    root.ok(&["dommemstat", "g", "--period", "9", "--config"]);
    assert!(root.ok(&["dumpxml", "g"]).contains("<stats period='9'/>"));
    root.ok(&["dommemstat", "g", "--period", "0"]);
    assert!(!root.ok(&["dumpxml", "g"]).contains("<stats"));
}

#[test]
fn numbers_of_guests_that_run_and_do_not() {
    let root = Root::new();
    root.ok(&["define", &root.file("on.xml", &xml(&root, "on"))]);
    root.ok(&["define", &root.file("off.xml", &xml(&root, "off"))]);
    let told = batch(
        &root,
        "",
        &[
            &["start", "on"],
            &["domstats"],
            &["domstats", "on", "--cpu-total", "--raw"],
            &["domstats", "--list-inactive", "--state"],
            &["domstats", "--list-running", "--block", "--json"],
            &["domstats", "--openmetrics"],
            &["domblkstat", "on", "vda", "--human"],
            &["domblkstat", "on"],
            &["dommemstat", "on"],
            &["domstats", "on", "--list-active"],
            &["domstats", "nobody"],
            &["domstats", "--timeout", "-1"],
            &["cpu-stats", "on", "--total"],
            &["domblkinfo", "on", "--all", "--human"],
            &["domdirtyrate-calc", "on", "--seconds", "61"],
            &["domblkerror", "on"],
        ],
    );
    let image = root.path().join("image").display().to_string();
    let all = &told[1].0;
    assert!(
        all.starts_with("Domain: 'off'\n  state.state=5\n") && all.contains("\n\nDomain: 'on'\n  state.state=1\n"),
        "{all}"
    );
    assert!(all.contains(&format!("  block.0.path={image}\n  block.0.rd.reqs=1\n")), "{all}");
    assert_eq!(told[2].0, "Domain: 'on'\n  cpu.time=4000000\n  cpu.user=2000000\n  cpu.system=2000000\n\n");
    assert_eq!(told[3].0, "Domain: 'off'\n  state.state=5\n  state.reason=0\n\n");
    let json: serde_json::Value = serde_json::from_str(&told[4].0).unwrap();
    assert_eq!(
        (&json[0]["name"], &json[0]["stats"]["block.count"], json.as_array().unwrap().len()),
        (&"on".into(), &2.into(), 1)
    );
    let metrics = &told[5].0;
    assert!(
        metrics.contains("\npolyvirt_domain_block_write_bytes_total{domain=\"on\",device=\"vda\"} 4000\n"),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"));
    assert!(told[6].0.starts_with("Device: vda\n number of read operations:      5\n"), "{}", told[6].0);
    assert!(told[7].0.starts_with(" rd_req 12\n rd_bytes 12000\n"), "both disks: {}", told[7].0);
    assert!(told[8].0.starts_with("actual 65536\n"), "{}", told[8].0);
    assert_eq!((told[9].2, told[10].2, told[11].2), (2, 1, 2), "{told:?}");
    assert!(told[12].0.starts_with("Total:\n\tcpu_time             0.0"), "{}", told[12].0);
    assert!(told[13].0.contains(" vda     1.000 GiB  1.000 GiB   1.000 GiB\n hda     -"), "{}", told[13].0);
    assert!(told[14].1.contains("only for 1 to 60"), "{}", told[14].1);
    assert_eq!(told[15].0, "No errors found\n");
}

#[test]
fn what_is_missing_is_warned_of_and_enforced() {
    let root = Root::new();
    root.ok(&["define", &root.file("g.xml", &xml(&root, "g"))]);
    root.ok(&["define", &root.file("h.xml", &xml(&root, "h"))]);
    let told = batch(
        &root,
        "[drivers.mock]\nstuck = 'g'\n",
        &[
            &["start", "g"],
            &["start", "h"],
            &["domstats", "--block", "--state", "--timeout", "0.1"],
            &["domstats", "--block", "--nowait", "--enforce"],
            &["domstats", "--block", "--timeout", "0.1", "--openmetrics"],
            &["domblkstat", "h"],
        ],
    );
    let (text, warning, status) = &told[2];
    assert_eq!(
        (text.as_str().split("Domain: ").nth(1), *status),
        (Some("'g'\n  state.state=1\n  state.reason=0\n\n"), 0)
    );
    assert!(text.contains("Domain: 'h'\n") && text.contains("block.count=2"), "{text}");
    assert!(warning.starts_with("warning: g: no block: the mock hypervisor is stuck"), "{warning}");
    assert_eq!(told[3].2, 1);
    assert!(told[3].1.starts_with("error: the guest 'g' does not tell: block"), "{}", told[3].1);
    assert!(told[4].0.contains("polyvirt_domain_missing{domain=\"g\",group=\"block\"} 1\n"), "{}", told[4].0);
    assert_eq!(told[5].2, 0);
}
