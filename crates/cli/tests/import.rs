//! Guests come over from libvirt: whole directories, and hostile ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;

use std::{
    collections::BTreeMap,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
};

use root::Root;
use serde_json::Value;

const HEADER: &str =
    "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\nOVERWRITTEN AND LOST.\n-->\n\n";

/// A root for the guests, and a directory as libvirt's below it.
struct Libvirt(Root, PathBuf);

impl Libvirt {
    fn new() -> Self {
        let root = Root::new();
        let directory = root.path().join("old/etc/libvirt/qemu");
        std::fs::create_dir_all(directory.join("autostart")).unwrap();
        std::fs::create_dir_all(directory.join("networks")).unwrap();
        Self(root, directory)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.1.join(file), text).unwrap();
    }

    fn guest(&self, name: &str, number: u8) {
        self.write(&format!("{name}.xml"), &definition(name, number));
    }

    fn import(&self, options: &[&str]) -> (i32, String, String) {
        self.0.run(&[&["import", self.1.to_str().unwrap()], options].concat())
    }

    /// The answer in JSON, guests by the name of their file.
    fn json(&self, options: &[&str]) -> (i32, Value, BTreeMap<String, Value>) {
        let (status, out, err) = self.import(&[&["--json"], options].concat());
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        let name =
            |it: &Value| Path::new(it["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        let guests = answer["guests"].as_array().unwrap().iter().map(|it| (name(it), it.clone())).collect();
        (status, answer, guests)
    }
}

fn definition(name: &str, number: u8) -> String {
    let uuid = format!("0d6c1f5e-7f0c-4f6b-9d57-2f1f6a4b1a{number:02x}");
    let os = "<os><type arch='x86_64'>hvm</type></os>";
    format!(
        "{HEADER}<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='KiB'>65536</memory>{os}</domain>\n"
    )
}

/// Every file below a directory: its kind and mode, when it was written, and what is in it.
fn tree(path: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let content = match meta.is_file() {
            true => std::fs::read(&path).unwrap(),
            false => path.read_link().map(|it| it.as_os_str().as_bytes().to_vec()).unwrap_or_default(),
        };
        if meta.is_dir() {
            all.extend(tree(&path));
        }
        all.insert(path, (meta.mode(), meta.mtime(), meta.mtime_nsec(), content));
    }
    all
}

#[test]
fn a_directory_comes_over_and_stays_as_it_was() {
    let old = Libvirt::new();
    old.guest("web", 1);
    old.guest("db", 2);
    symlink("/etc/libvirt/qemu/web.xml", old.1.join("autostart/web.xml")).unwrap();
    old.write("networks/default.xml", "<network><name>default</name></network>");
    let state = old.0.path().join("old/var/lib/libvirt/qemu");
    std::fs::create_dir_all(state.join("save")).unwrap();
    std::fs::create_dir_all(state.join("snapshot/db")).unwrap();
    std::fs::write(state.join("save/db.save"), "").unwrap();
    std::fs::write(state.join("snapshot/db/first.xml"), "").unwrap();
    let before = tree(&old.0.path().join("old"));

    let (status, out, err) = old.import(&["--dry-run"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("web: can be defined") && out.contains("not taken: networks"), "{out}");
    assert_eq!(old.0.ok(&["list", "--all", "--name"]).trim(), "", "nothing is stored");

    let (status, _, guests) = old.json(&[]);
    assert_eq!(status, 0);
    assert_eq!((&guests["web.xml"]["step"], &guests["web.xml"]["autostart"]), (&"define".into(), &true.into()));
    assert_eq!(guests["web.xml"]["differs"], Value::Array(Vec::new()), "{guests:#?}");
    let notes = guests["db.xml"]["notes"].to_string();
    assert!(notes.contains("saved state") && notes.contains("snapshots"), "{notes}");
    assert_eq!(old.0.ok(&["list", "--all", "--name", "--autostart"]).trim(), "web");
    assert_eq!(old.0.ok(&["domuuid", "db"]).trim(), "0d6c1f5e-7f0c-4f6b-9d57-2f1f6a4b1a02");

    let (status, _, guests) = old.json(&[]);
    assert_eq!((status, &guests["db.xml"]["step"]), (0, &"keep".into()), "the second time there is nothing to do");
    assert_eq!(tree(&old.0.path().join("old")), before, "nothing of libvirt's was changed");
}

#[test]
fn a_guest_that_is_here_and_differs_is_replaced_only_when_asked() {
    let old = Libvirt::new();
    old.guest("web", 1);
    assert_eq!(old.import(&[]).0, 0);
    old.write("web.xml", &definition("web", 1).replace("65536", "131072"));
    let (status, out, err) = old.import(&[]);
    assert_eq!(status, 1);
    assert!(err.starts_with("error: 1 of 1 definitions in "), "{err}");
    assert!(out.contains("--replace") && out.contains("against the one here: memory: 64 MiB → 128 MiB"), "{out}");
    assert!(old.0.ok(&["dumpxml", "web"]).contains("65536"));
    let (status, out, _) = old.import(&["--replace"]);
    assert_eq!(status, 0);
    assert!(out.contains("web: replaced"), "{out}");
    assert!(old.0.ok(&["dumpxml", "web"]).contains("131072"));
}

#[test]
fn names_and_uuids_that_clash_are_named() {
    let old = Libvirt::new();
    old.0.ok(&["define", &old.0.file("here.in", &definition("here", 1))]);
    old.0.ok(&["define", &old.0.file("mine.in", &definition("mine", 9))]);
    old.guest("other", 1);
    old.guest("mine", 2);
    old.guest("copied", 3);
    old.write("copied (copy).xml", &definition("copied", 3));
    old.guest("twin-a", 4);
    old.guest("twin-b", 4);
    let (status, _, guests) = old.json(&[]);
    assert_eq!(status, 1);
    let told = |file: &str, part: &str| {
        let message = guests[file]["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{file}: {message}");
    };
    told("other.xml", "belongs to the guest 'here' here");
    told("mine.xml", "the name belongs to the guest with UUID 0d6c1f5e-7f0c-4f6b-9d57-2f1f6a4b1a09");
    told("copied (copy).xml", "/copied.xml too");
    told("twin-a.xml", "twin-b.xml too");
    told("twin-b.xml", "twin-a.xml too");
    assert_eq!(guests["copied.xml"]["step"], "define", "libvirt reads the file that is called after its guest");
    assert_eq!(
        old.0.ok(&["list", "--all", "--name"]).split_whitespace().collect::<Vec<_>>(),
        ["copied", "here", "mine"]
    );
}

#[test]
fn hostile_directories_stop_nobody() {
    let old = Libvirt::new();
    old.guest("good", 1);
    old.write("cut.xml", "<domain type='test'><name>cut");
    old.write("empty.xml", "");
    old.write("net.xml", "<network><name>n</name></network>");
    old.write("notes.txt", "x");
    old.write("web.save", "x");
    std::fs::write(old.1.join("latin.xml"), b"<domain>\xe4</domain>").unwrap();
    std::fs::File::create(old.1.join("huge.xml")).unwrap().set_len(17 << 20).unwrap();
    std::fs::create_dir(old.1.join("folder.xml")).unwrap();
    nix::unistd::mkfifo(&old.1.join("pipe.xml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("loop.xml", old.1.join("loop.xml")).unwrap();
    symlink("/dev/zero", old.1.join("zero.xml")).unwrap();
    symlink("nowhere", old.1.join("autostart/gone.xml")).unwrap();
    let bytes = std::ffi::OsStr::from_bytes(b"odd\xff\x1b[2J.xml");
    std::fs::write(old.1.join(bytes), definition("odd\u{202e}", 2)).unwrap();
    std::fs::write(old.1.join("up.xml"), definition("../up", 3)).unwrap();

    let (status, out, err) = old.import(&[]);
    assert_eq!(status, 1);
    assert!(err.starts_with("error: 6 of 8 definitions in "), "{err}{out}");
    for part in [
        "good: defined",
        "cut.xml: refused",
        "empty.xml: refused",
        "larger than 16 MiB",
        "is not UTF-8 text",
        "loop.xml: refused",
        "../up: refused",
        "not taken: net.xml (holds <network>, no guest)",
        "not taken: folder.xml (a directory",
        "not taken: pipe.xml (a pipe",
        "not taken: zero.xml (a pipe",
        "not taken: web.save (a saved state",
        "not taken: autostart/gone.xml",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}'), "{out}");
    let names = old.0.ok(&["list", "--all", "--name"]);
    assert!(names.contains("good") && names.split_whitespace().count() == 2, "{names}");
}

#[test]
fn what_cannot_be_read_is_refused_with_a_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let old = Libvirt::new();
    old.guest("closed", 1);
    let path = old.1.join("closed.xml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        println!("skipped: this user may read every file");
        return;
    }
    let (status, _, guests) = old.json(&[]);
    assert_eq!((status, &guests["closed.xml"]["error"]["kind"]), (1, &"denied".into()));
    assert!(guests["closed.xml"]["error"]["remedy"].as_str().unwrap().contains("root"));
}

#[test]
fn a_directory_that_is_none_and_options_that_contradict() {
    let old = Libvirt::new();
    let refused = old.0.refused(&["import", &old.0.file("guest.xml", &definition("g", 1))]);
    assert!(refused.contains("is no directory"), "{refused}");
    assert!(old.0.refused(&["import", "/no/such"]).contains("/no/such"));
    assert_eq!(old.import(&["--driver", "test"]).0, 2, "-c says another hypervisor");
    let (status, out, err) = old.import(&[]);
    assert_eq!((status, out.lines().count()), (0, 2), "{out}");
    assert!(err.contains("no definition of a guest"), "{err}");
    let elsewhere = old.0.path().join("a b%");
    old.guest("web", 1);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_polyvirt"));
    command.env_clear().env("HOME", old.0.path()).arg("import").arg(&old.1).args(["--driver", "test", "--root"]);
    let (status, out, err) = root::text(&command.arg(&elsewhere).output().unwrap());
    assert_eq!(status, 0, "{out}{err}");
    assert!(elsewhere.join("config/mock/web.xml").is_file());
}
