//! `numa …` as a person or a script calls it, on hosts of text files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;
mod trees;

use std::collections::BTreeSet;

use root::Root;
use serde_json::Value;
use trees::{Node, host};

/// Nodes 0, 8 and 252: CPUs and memory, memory only, memory of a device.
fn sparse(root: &Root) -> String {
    let nodes = [
        Node { id: 0, cores: vec![vec![0, 2], vec![1, 3]], memory: 16 << 10, free: 10 << 10, pool: (2048, 128, 100) },
        Node { id: 8, cores: vec![], memory: 64 << 10, free: 64 << 10, pool: (0, 0, 0) },
        Node { id: 252, cores: vec![], memory: 96 << 10, free: 90 << 10, pool: (0, 0, 0) },
    ];
    let dir = root.path().join("sparse");
    host(&dir, &nodes, |a, b| if a == b { 10 } else { 20 + 10 * u32::try_from(a + b).unwrap() });
    dir.display().to_string()
}

/// Two nodes of four CPUs with 16 GiB, the first nearly full.
fn two(root: &Root) -> String {
    let node = |id, cores, free| Node { id, cores, memory: 16 << 10, free, pool: (0, 0, 0) };
    let dir = root.path().join("two");
    let nodes = [node(0, vec![vec![0, 1], vec![2, 3]], 2 << 10), node(1, vec![vec![4, 5], vec![6, 7]], 15 << 10)];
    host(&dir, &nodes, |a, b| if a == b { 10 } else { 21 });
    dir.display().to_string()
}

fn guest(root: &Root, name: &str, gib: u64) -> String {
    let name = name.replace('<', "&lt;");
    let text = root::guest(&name).replace("unit='MiB'>64", &format!("unit='GiB'>{gib}"));
    root.file("wanted.xml", &text)
}

/// Every number in a JSON document but those of versions and defaults, which no picture shows.
fn numbers(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Number(number) => drop(out.insert(number.to_string())),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, out)),
        Value::Object(values) => {
            const UNSEEN: [&str; 6] = ["base_page", "default_huge", "schema", "revision", "shape", "headroom"];
            let seen = values.iter().filter(|(key, _)| !UNSEEN.contains(&key.as_str()));
            seen.for_each(|(key, value)| {
                // Keys of promises are nodes and page sizes.
                if key.parse::<u64>().is_ok() {
                    out.insert(key.clone());
                }
                numbers(value, out);
            });
        }
        _ => {}
    }
}

/// The numbers of a text. A point ends one unless a digit follows.
fn numbers_of(text: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == 'e' || c == '-'));
    let parts = parts.flat_map(|part| [vec![part], part.split('-').collect()].concat());
    parts.map(|part| part.trim_matches('.').to_owned()).collect()
}

fn assert_all_drawn(json: &str, svg: &str) {
    let facts: Value = serde_json::from_str(json).unwrap();
    let mut wanted = BTreeSet::new();
    numbers(&facts, &mut wanted);
    let there = numbers_of(svg);
    // JSON writes 0.0, a title 0.
    let is_there = |number: &String| there.contains(number) || there.contains(number.trim_end_matches(".0"));
    let missing: Vec<_> = wanted.iter().filter(|number| !is_there(number)).collect();
    assert!(wanted.len() > 5 && missing.is_empty(), "{missing:?} of {wanted:?} are not in {svg}");
}

#[test]
fn a_topology_as_text_json_and_svg() {
    let root = Root::new();
    let tree = sparse(&root);
    let text = root.ok(&["numa", "topology", "--free", "--sysroot", &tree]);
    for line in [
        "node 0",
        "  memory  16 GiB: 256 MiB in huge pages, 5.7 GiB used, 10 GiB free",
        "  CPUs    0-3: 2 cores of 2 threads",
        "  2 MiB   100 of 128 pages free",
        "  devices network 0000:81:00.0",
        "node 8: memory only",
        "node 252: memory of a device",
        " 252  40  50  10",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(text.is_ascii(), "nothing is drawn for a pipe: {text}");
    let json = root.ok(&["numa", "topology", "--free", "--sysroot", &tree, "--json"]);
    let svg = root.ok(&["numa", "topology", "--free", "--sysroot", &tree, "--svg", "-"]);
    assert_all_drawn(&json, &svg);
    for node in ["node 0", "node 8", "node 252"] {
        assert!(svg.contains(&format!(">{node}</text>")), "{svg}");
    }
    let file = root.path().join("host.svg").display().to_string();
    assert_eq!(root.ok(&["numa", "topology", "--free", "--sysroot", &tree, "--svg", &file, "-q"]), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), svg);
}

#[test]
fn boxes_are_drawn_where_colours_are_asked_for() {
    let root = Root::new();
    let tree = sparse(&root);
    let args = ["numa", "topology", "--sysroot", &tree, "--color", "always"];
    let run = |locale: &str| {
        let output = root.command(&args).env("COLUMNS", "64").env("LC_ALL", locale).output().unwrap();
        root::text(&output).1
    };
    let unicode = run("C.UTF-8");
    assert!(unicode.contains("┌ \u{1b}[1mnode 252") && unicode.contains('█') | unicode.contains('▓'), "{unicode}");
    let ascii = run("C");
    assert!(ascii.is_ascii() && ascii.contains("+ \u{1b}[1mnode 252\u{1b}[0m - memory of a device -"), "{ascii}");
    let drawn = ascii.replace("\u{1b}[0m", "").replace("\u{1b}[1m", "").replace("\u{1b}[2m", "");
    assert!(drawn.lines().all(|line| line.len() <= 64), "{drawn}");
}

#[test]
fn a_plan_is_drawn_and_explained() {
    let root = Root::new();
    let (tree, file) = (two(&root), guest(&root, "<db>", 8));
    let args = ["numa", "plan", &file, "--sysroot", &tree];
    let text = root.ok(&args);
    for line in [
        "  guest  <db>: 8 GiB, CPUs 4-7",
        "Placement: automatic, memory from node 1, CPUs 4-7",
        "Why: CPUs from node 1, memory from node 1",
        "0        0          node 0 short 6.2 GiB of memory (8 GiB asked, 1.7 GiB can be promised)",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    let json = root.ok(&[&args[..], &["--json"]].concat());
    let svg = root.ok(&[&args[..], &["--svg", "-"]].concat());
    assert_all_drawn(&json, &svg);
    assert!(svg.contains("&lt;db&gt;") && !svg.contains("<db>"), "{svg}");
    let given = root.ok(&[&args[..], &["--auto-nodeset", "0-1"]].concat());
    assert!(given.contains("Why: the advice was given: nodes 0-1"), "{given}");
    let (status, _, err) = root.run(&[&args[..], &["--json", "--svg", "-"]].concat());
    assert!(status == 2 && err.contains("exclude"), "{err}");
}

#[test]
fn a_refused_plan_shows_what_was_looked_at() {
    let root = Root::new();
    let (tree, file) = (two(&root), guest(&root, "g", 40));
    let (status, out, err) = root.run(&["numa", "plan", &file, "--sysroot", &tree]);
    assert_eq!(status, 1);
    assert!(
        err.starts_with("error: a start would be refused: guest 'g' cannot be placed: nodes 0-1 together short"),
        "{err}"
    );
    assert!(err.contains("\n  try: "), "{err}");
    assert!(out.contains("Impossible\nCPUs of  memory of  why\n"), "{out}");
    let (status, out, _) = root.run(&["numa", "plan", &file, "--sysroot", &tree, "--json"]);
    let facts: Value = serde_json::from_str(&out).unwrap();
    assert!(status == 1 && facts["plan"].is_null() && facts["refusal"]["remedy"].is_string(), "{out}");
    assert!(root.refused(&["numa", "plan", &file, "--sysroot", "/nowhere"]).contains("/nowhere"));
    assert!(root.refused(&["numa", "plan", "nobody"]).contains("no such file"));
}

#[test]
fn a_plan_refused_on_this_host_shows_the_same() {
    let root = Root::new();
    let file = guest(&root, "g", 1 << 20);
    let (status, out, err) = root.run(&["numa", "plan", &file]);
    assert!(status == 1 && err.starts_with("error: a start would be refused: guest 'g' cannot be placed"), "{err}");
    assert!(out.contains("Impossible\nCPUs of  memory of  why\n"), "{out}");
    let (_, out, _) = root.run(&["numa", "plan", &file, "--json"]);
    let refusal = &serde_json::from_str::<Value>(&out).unwrap()["refusal"];
    assert!(refusal["constraints"][0]["memory"]["need"].is_number(), "{out}");
    assert!(!refusal["trace"]["candidates"].as_array().unwrap().is_empty(), "{out}");
    root.ok(&["define", &file]);
    let (_, _, err) = root.run(&["start", "g"]);
    assert_eq!(err.matches("cannot be placed").count(), 1, "a start says it once: {err}");
}

#[test]
fn the_advisor_of_the_settings_is_asked_about_other_hosts_too() {
    let root = Root::new();
    let (tree, file) = (two(&root), guest(&root, "g", 8));
    let plan = |settings: &str, more: &[&str]| {
        let settings = root.file("settings.toml", settings);
        let args = ["--settings", &settings, "numa", "plan", &file, "--sysroot", &tree];
        root.run(&[&args[..], more].concat())
    };
    let (status, out, err) = plan("advisor = { static = '0-1' }", &[]);
    assert!(status == 0 && out.contains("nodes 0-1 for every guest"), "{out}{err}");
    assert!(out.contains("Why: the advice was given: nodes 0-1"), "{out}");
    let (status, _, err) = plan("advisor = { static = '5' }", &[]);
    assert!(status == 1 && err.contains("which are not online (online: 0-1)"), "{err}");
    let (status, _, err) = plan("advisor = 'numad'", &[]);
    assert!(status == 1 && err.contains("numad") && err.contains("measures the host it runs on"), "{err}");
    let (status, out, err) = plan("advisor = 'numad'", &["--auto-nodeset", "1"]);
    assert!(status == 0 && out.contains("nodes 1"), "who brings nodes along asks nobody: {out}{err}");
}

#[test]
fn explain_is_one_command_with_two_names() {
    let root = Root::new();
    root.ok(&["define", &root.guest("g")]);
    // How full the node is differs from moment to moment, and with it the costs.
    let until_costs = |text: String| text.split("Candidates").next().unwrap().to_owned();
    let one = root.ok(&["explain", "g"]);
    assert_eq!(until_costs(one.clone()), until_costs(root.ok(&["numa", "explain", "g"])));
    assert!(one.contains("\nCandidates, by cost\n"), "{one}");
}

#[test]
fn nothing_runs_so_nothing_is_held_drifts_or_moves() {
    let root = Root::new();
    assert_eq!(root.ok(&["numa", "drift"]), "no guest runs\n");
    assert_eq!(root.ok(&["numa", "rebalance"]), "No guest runs that could be moved.\n");
    let (status, _, err) = root.run(&["numa", "rebalance", "--apply"]);
    assert!(status == 2 && err.contains("--yes"), "{err}");
    assert_eq!(root.run(&["numa", "rebalance", "--yes"]).0, 2, "there is nothing to agree to");
    for command in ["leases", "drift", "rebalance", "topology"] {
        let out = root.ok(&["numa", command, "--json"]);
        serde_json::from_str::<Value>(&out).unwrap_or_else(|e| panic!("{command} gave no JSON ({e}): {out}"));
    }
    for command in ["leases", "drift", "topology"] {
        assert!(root.ok(&["numa", command, "--svg", "-"]).starts_with("<?xml"), "{command}");
    }
    assert!(root.refused(&["numa", "drift", "nobody"]).contains("nobody"));
}

#[test]
#[cfg(feature = "simulate")]
fn a_simulation_compares_algorithms() {
    let root = Root::new();
    let list = root.ok(&["numa", "simulate", "--list"]);
    assert!(list.contains("two-sockets") && list.contains("huawei") && list.contains("kubelet"), "{list}");
    let args =
        ["numa", "simulate", "--guests", "40", "--seeds", "1..2", "--algorithm", "polyvirt", "--algorithm", "numad"];
    let text = root.ok(&args);
    assert_eq!(text.lines().filter(|line| line.contains(" ± ")).count(), 2, "{text}");
    let out = root.ok(&[&args[..], &["--json"]].concat());
    let facts: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(facts["seeds"], serde_json::json!([1, 2]));
    assert_eq!(facts["algorithms"][1]["algorithm"], "polyvirt");
    assert!(facts["algorithms"][1]["mean"]["placed_percent"].as_f64().unwrap() > 90.0, "{out}");
    let tree = two(&root);
    assert!(root.ok(&["numa", "simulate", "--sysroot", &tree, "--guests", "20"]).contains("numad"));
    for (option, value) in
        [("--host", "mars"), ("--mix", "x"), ("--seeds", "9..1"), ("--load", "-1"), ("--algorithm", "x")]
    {
        let line = root.refused(&["numa", "simulate", &format!("{option}={value}")]);
        assert!(line.contains(value), "{line}");
    }
}

#[test]
fn every_command_shows_examples() {
    let root = Root::new();
    let mut commands = vec!["topology", "plan", "explain", "leases", "drift", "rebalance"];
    if cfg!(feature = "simulate") {
        commands.push("simulate");
    }
    for command in commands {
        let help = root.ok(&["numa", command, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("polyvirt numa {command}")), "{help}");
    }
}
