//! What a recorded hypervisor can do, told without one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use root::Root;
use serde_json::json;

/// A probe of a QEMU that has one machine and one CPU model.
fn replies() -> String {
    let machines = json!([{ "name": "pc-q35-9.0", "alias": "q35", "is-default": true, "cpu-max": 8, "hotpluggable-cpus": true,
        "default-cpu-type": "qemu64-x86_64-cpu" }]);
    let cpus = json!([{ "name": "qemu64", "typename": "qemu64-x86_64-cpu", "static": false, "unavailable-features": ["svm"] }]);
    let version = json!({ "qemu": { "major": 9, "minor": 0, "micro": 2 }, "package": "" });
    let answers = [
        ("qmp_capabilities", json!({})),
        ("query-version", version),
        ("query-target", json!({ "arch": "x86_64" })),
        ("query-kvm", json!({ "enabled": true, "present": true })),
        ("query-qmp-schema", json!([])),
        ("qom-list-types", json!([{ "name": "iothread" }, { "name": "max-x86_64-cpu" }])),
        ("query-machines", machines),
        ("query-cpu-definitions", cpus),
    ];
    let pairs =
        answers.map(|(name, answer)| format!("{}\n\n{}\n\n", json!({ "execute": name }), json!({ "return": answer })));
    pairs.concat()
}

#[test]
fn a_recorded_qemu_is_described_as_json_and_as_xml() {
    let root = Root::new();
    let file = root.file("qemu.replies", &replies());
    let (status, out, err) = root.run(&["qemu-caps", "--arch", "x86_64", "--replies", &file]);
    assert_eq!((status, err.as_str()), (0, ""));
    let facts: serde_json::Value = serde_json::from_str(&out).unwrap();
    let machine = json!({ "alias": "q35", "max_cpus": 8, "default_cpu": "qemu64-x86_64-cpu" });
    let kvm = json!({ "machines": { "pc-q35-9.0": machine }, "cpus": ["qemu64"] });
    assert_eq!(facts, json!({ "version": 9_000_002, "arch": "x86_64", "accelerators": { "kvm": kvm } }));

    let of = ["--driver", "qemu", "--arch", "x86_64", "--capabilities", &file, "--emulator", "/opt/qemu"];
    let (status, out, _) = root.run(&[&["capabilities"], &of[..]].concat());
    assert_eq!(status, 0);
    for part in
        ["<emulator>/opt/qemu</emulator>", "<domain type='qemu'/>\n      <domain type='kvm'/>", "<cpuselection/>"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }

    let (status, out, _) = root.run(&[&["domcapabilities"], &of[..], &["--set", "swtpm_versions=1.2"]].concat());
    assert_eq!(status, 0);
    for part in [
        "<path>/opt/qemu</path>",
        "<machine>pc-q35-9.0</machine>",
        "<vcpu max='8'/>",
        "<model usable='no' vendor='unknown'>qemu64</model>",
        "<feature name='svm'/>",
        "<tpm supported='no'/>",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn what_does_not_fit_the_recording_is_refused() {
    let root = Root::new();
    let file = root.file("qemu.replies", &replies());
    let refused = root.refused(&["qemu-caps", "--arch", "s390x", "--replies", &file]);
    assert!(refused.contains("of a QEMU for x86_64 guests, not for 's390x'"), "{refused}");
    let of = ["domcapabilities", "--driver", "qemu", "--arch", "x86_64", "--capabilities", &file];
    let refused = root.refused(&[&of[..], &["--machine", "virt"]].concat());
    assert!(refused.contains("no machine type 'virt'"), "{refused}");
    let refused = root.refused(&[&of[..], &["--virttype", "xen"]].concat());
    assert!(refused.contains("'xen' is no way in which QEMU runs guests"), "{refused}");
    let cut = root.file("cut.replies", &replies()[..200]);
    assert!(root.refused(&["qemu-caps", "--arch", "x86_64", "--replies", &cut]).contains("recorded QMP replies"));
    for wrong in [
        &["capabilities", "--arch", "x86_64"][..],
        &["capabilities", "--driver", "qemu"],
        &["qemu-caps", "--arch", "pdp11", "--replies", &file],
        &["domcapabilities", "--driver", "lxc", "--arch", "x86_64", "--capabilities", &file],
    ] {
        assert_eq!(root.run(wrong).0, 2, "{wrong:?}");
    }
}

#[test]
fn without_a_recording_the_driver_of_the_connection_is_asked() {
    let root = Root::new();
    let refused = root.refused(&["domcapabilities"]);
    assert!(refused.contains("the mock driver has no domain capabilities"), "{refused}");
    let (status, _, err) = root.run(&["domcapabilities", "--set", "swtpm_versions=1.2", "--sysroot", "/"]);
    assert_eq!(status, 2);
    assert!(err.contains("--sysroot, --set swtpm_versions=1.2 tell of another host"), "{err}");
    let (status, _, err) = root.run(&["domcapabilities", "--driver", "qemu"]);
    assert_eq!(status, 2, "-c names a mock");
    assert!(err.contains("--connect says it all"), "{err}");
}
