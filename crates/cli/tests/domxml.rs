//! `domxml`: definitions without a host.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use root::{Root, guest};

#[test]
fn a_definition_goes_through_json_and_toml() {
    let root = Root::new();
    let xml = root.ok(&["domxml", "convert", "--to", "xml", &root.guest("g")]);
    let json = root.file("g.json", &root.ok(&["domxml", "convert", "--to", "json", &root.guest("g")]));
    let toml = root.file("g.toml", &root.ok(&["domxml", "convert", "--to", "toml", &json]));
    assert_eq!(root.ok(&["domxml", "convert", "--to", "xml", &toml]), xml);
    let wrong = root.file("wrong.json", r#"{"name": "a", "memroy": {}}"#);
    assert!(root.refused(&["domxml", "convert", "--to", "xml", &wrong]).contains("memroy"));
    let schema: serde_json::Value = serde_json::from_str(&root.ok(&["domxml", "schema"])).unwrap();
    let domain = &schema["$defs"]["DomainConfig"];
    assert_eq!(schema["$ref"], "#/$defs/DomainConfig");
    assert_eq!(domain["additionalProperties"], false);
    assert!(domain["properties"]["on_reboot"]["enum"].as_array().unwrap().iter().any(|word| word == "restart"));
}

#[test]
fn a_guest_has_the_architecture_of_the_host() {
    let root = Root::new();
    let file = root.file("none.xml", &guest("none").replace(" arch='x86_64'", ""));
    let normalized = root.ok(&["domxml", "normalize", "--arch", "s390x", &file]);
    assert!(normalized.contains("<type arch='s390x'>hvm</type>"), "{normalized}");
}

/// A running guest with everything that a start chose.
const RUNNING: &str = "<domain type='qemu' id='7'><name>r</name><memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices>
    <disk type='file'><source file='/a' index='1'/><target dev='vda'/><alias name='virtio-disk0'/></disk>
    <interface type='user'><mac address='52:54:00:00:00:01'/><target dev='vnet3'/></interface>
    <serial type='pty'><source path='/dev/pts/4'/></serial>
    <graphics type='vnc' port='5901' autoport='yes'/>
  </devices></domain>";

#[test]
fn a_stored_definition_has_nothing_of_a_running_guest() {
    let root = Root::new();
    let file = root.file("running.xml", RUNNING);
    let chosen = ["id='7'", "virtio-disk0", "/dev/pts/4", "vnet3", "5901", "index='1'"];
    for args in [&["--inactive"][..], &["--from-active"], &["--from-active", "--inactive"], &[]] {
        let stored = root.ok(&[&["domxml", "normalize"], args, &[file.as_str()]].concat());
        for word in chosen {
            assert!(!stored.contains(word), "{args:?}: {word} in\n{stored}");
        }
    }
    for args in [&["--active"][..], &["--from-active", "--active"]] {
        let live = root.ok(&[&["domxml", "normalize"], args, &[file.as_str()]].concat());
        for word in chosen {
            assert!(live.contains(word), "{args:?}: {word} not in\n{live}");
        }
    }
}

#[test]
fn a_driver_completes_without_a_host_or_says_that_it_cannot() {
    let root = Root::new();
    let file = root.file("q.xml", &guest("q").replace("type='test'", "type='qemu'"));
    let (status, out, err) = root.run(&["domxml", "normalize", "--driver", "qemu", &file]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("<emulator>/usr/bin/qemu-system-x86_64</emulator>"), "{out}");
    let refused = root.refused(&["domxml", "normalize", "--driver", "qemu", &root.guest("t")]);
    assert!(refused.contains("/domain/@type, line 1"), "{refused}");
    let (status, out, err) = root.run(&["domxml", "normalize", "--driver", "xen", &file]);
    assert_eq!(status, 0);
    assert!(!out.contains("<emulator>") && err.lines().count() == 1, "{out}{err}");
    assert!(err.starts_with("warning: ") && err.contains("xen") && err.contains("driver-independent"), "{err}");
}

#[test]
fn options_are_checked_and_those_without_effect_are_told_in_one_line() {
    let root = Root::new();
    let file = root.guest("g");
    let (cpu, toml) = (root.file("cpu.xml", "<cpu><arch>x86_64</arch></cpu>"), root.file("c.toml", "vnc_tls = true"));
    let directory = root.path().display().to_string();
    let all = ["--capabilities", &cpu, "--host-cpu", &cpu, "--config", &toml, "--sysroot", &directory];
    let all = [&all[..], &["--set", "vnc_tls=1", "--set", "spice_tls=", "--keep-machine-alias"]].concat();
    let (status, out, err) = root.run(&[&["domxml", "normalize"], &all[..], &[file.as_str()]].concat());
    assert_eq!(status, 0, "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    for name in ["--capabilities", "--host-cpu", "--config", "--sysroot", "--set vnc_tls=1", "--keep-machine-alias"] {
        assert!(err.contains(name), "{name}: {err}");
    }
    assert!(out.starts_with("<domain"));
    let (_, _, err) = root.run(&[&["-q", "domxml", "normalize"], &all[..], &[file.as_str()]].concat());
    assert_eq!(err, "");
    let missing = format!("{directory}/missing");
    for (args, part) in [
        (["--capabilities", missing.as_str()], "missing"),
        (["--host-cpu", missing.as_str()], "missing"),
        (["--host-cpu", &file], "expected <cpu>"),
        (["--config", &file], "not TOML"),
        (["--sysroot", &file], "no directory"),
    ] {
        let reason = root.refused(&[&["domxml", "normalize"], &args[..], &[file.as_str()]].concat());
        assert!(reason.contains(part), "{args:?}: {reason}");
    }
    for args in [["--set", "vnc_tls"], ["--set", "=1"], ["--arch", "x86-64"], ["--driver", "qmeu"]] {
        let (status, _, err) = root.run(&[&["domxml", "normalize"], &args[..], &[file.as_str()]].concat());
        assert_eq!(status, 2, "{args:?}: {err}");
    }
}

#[test]
fn the_reason_comes_before_the_warnings() {
    let root = Root::new();
    let wrong = guest("g").replace("<devices>", "<on_reboott/><devices>").replace(">2</vcpu>", ">0</vcpu>");
    let file = root.file("wrong.xml", &wrong);
    for command in ["define", "explain"] {
        assert!(root.refused(&[command, &file]).contains("/domain/vcpu"));
    }
    let reason = root.refused(&["domxml", "normalize", &file]);
    assert!(reason.contains("/domain/vcpu"), "{reason}");
    let (_, _, err) = root.run(&["domxml", "normalize", "--json", &file]);
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert!(error["error"]["warnings"][0].as_str().unwrap().contains("on_reboott"), "{err}");
}
