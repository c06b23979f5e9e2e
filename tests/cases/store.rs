//! Definitions on disk: many, broken, unwritable, of earlier boots.

use polyvirt::{ErrorKind, GuestState};
use polyvirt_tests::{connect, root, small_guest};

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_listed_as_broken_and_loses_nobody() {
    let dir = root();
    let connection = connect("mock", dir.path(), |_| {}).await;
    connection.define(&small_guest("test", "good")).await.expect("defined");
    let config = connection.roots().config.clone();
    std::fs::write(config.join("bad.xml"), "<domain type='test'><name>bad</name><memory").unwrap();
    std::fs::write(config.join("other.xml"), small_guest("test", "somebody-else")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(config.join("pipe.xml")).status().unwrap().success());
    let list = connection.list().await.expect("a list");
    let problems: Vec<_> = list.iter().map(|g| (g.name.as_str(), g.problem.is_some())).collect();
    assert_eq!(problems, [("bad", true), ("good", false), ("other", true), ("pipe", true)]);
    let error = connection.lookup_by_name("bad").await.expect_err("broken");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(config.join("bad.xml").exists(), "the file is left for its owner to mend");
    connection.broken("bad").undefine().await.expect("a broken definition can be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_uuids_belong_together() {
    let dir = root();
    let connection = connect("mock", dir.path(), |_| {}).await;
    let uuid = connection.define(&small_guest("test", "one")).await.expect("defined").guest.uuid();
    let again = connection.define(&small_guest("test", "one")).await.expect("defined again");
    assert!(again.updated && again.guest.uuid() == uuid, "a definition without UUID means the guest of that name");
    let stolen = small_guest("test", "two").replace("<name>", &format!("<uuid>{uuid}</uuid><name>"));
    let error = connection.define(&stolen).await.expect_err("the UUID is taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("'one'"), "{error}");
    for name in ["../x", "a/b", "..", ""] {
        let error = connection.define(&small_guest("test", name)).await.expect_err("a bad name");
        assert!(matches!(error.kind(), ErrorKind::InvalidConfig | ErrorKind::InvalidArgument), "{name}: {error}");
    }
    assert_eq!(connection.list().await.expect("a list").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_from_before_a_reboot_starts_nothing_and_kills_nobody() {
    let dir = root();
    let connection = connect("mock", dir.path(), |_| {}).await;
    let guest = connection.define(&small_guest("test", "old")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let record = connection.roots().run.join("old.json");
    let text = std::fs::read_to_string(&record).unwrap();
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    std::fs::write(&record, value.to_string()).unwrap();
    drop((guest, connection));
    let connection = connect("mock", dir.path(), |_| {}).await;
    assert!(!record.exists(), "it is cleaned up");
    let state =
        connection.lookup_by_name("old").await.expect("the definition is there").state().await.expect("a state");
    assert!(matches!(state, GuestState::ShutOff(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_newer_version_is_left_alone() {
    let dir = root();
    let connection = connect("mock", dir.path(), |_| {}).await;
    connection.define(&small_guest("test", "future")).await.expect("defined");
    let record = connection.roots().run.join("future.json");
    std::fs::write(&record, "{\"schema\": 999}").unwrap();
    drop(connection);
    let connection = connect("mock", dir.path(), |_| {}).await;
    assert!(record.exists(), "not ours to remove");
    let list = connection.list().await.expect("a list");
    assert!(list[0].problem.as_ref().is_some_and(|p| p.contains("999")), "{list:?}");
    let error = connection.broken("future").start(true).await.expect_err("not started over it");
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_memory_than_the_host_has_is_refused_with_numbers() {
    let dir = root();
    let connection = connect("mock", dir.path(), |_| {}).await;
    let xml = small_guest("test", "huge").replace("unit='MiB'>32", "unit='TiB'>64");
    let guest = connection.define(&xml).await.expect("a definition may be larger than this host").guest;
    let error = guest.start(true).await.expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::NoResources, "{error}");
    assert!(error.remedy().is_some() && error.fact("stage") == Some("reserve"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_power_cut_emptied_goes_and_its_guest_starts() {
    let dir = root();
    let connection = connect("mock", dir.path(), |_| {}).await;
    connection.define(&small_guest("test", "one")).await.expect("defined");
    let run = connection.roots().run.clone();
    drop(connection);
    for emptied in [&b""[..], &[0; 4096]] {
        std::fs::write(run.join("one.json"), emptied).expect("written");
        let connection = connect("mock", dir.path(), |_| {}).await;
        let left: Vec<_> =
            std::fs::read_dir(&run).expect("the run directory").flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|file| !file.to_string_lossy().starts_with("one")), "{left:?}");
        let list = connection.list().await.expect("a list");
        assert!(list.len() == 1 && list[0].problem.is_none() && !list[0].state.is_active(), "{list:?}");
        let guest = connection.lookup_by_name("one").await.expect("found");
        guest.start(false).await.expect("started");
        guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
    }
}
