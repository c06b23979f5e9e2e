//! Definitions and the command lines they give, as files beside each other.
//!
//! `POLYVIRT_BLESS=1` writes the command lines anew; they are reviewed like code.

use std::{
    fs,
    path::{Path, PathBuf},
};

use polyvirt_core::{
    model::DomainConfig,
    placement::{AdviceSource, HostTopology, KernelSupport, Kib, PagePool, PlacementProfile, Promised, plan},
};

use super::*;
use crate::{
    driver::Facts,
    testing::{recorded, stored},
};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub(super) fn planned_for(config: &DomainConfig) -> Plan {
    let pool = PagePool::new(Kib::from_mib(2), 1024, 1024);
    let host = HostTopology::uniform(4, 4, Kib::from_gib(16)).map_nodes(|node| node.with_pool(pool)).build().unwrap();
    let mut kernel = KernelSupport::default();
    kernel.cpuset = true;
    let request = config.placement_request().unwrap().kernel(kernel).advice(AdviceSource::default());
    plan(&host, &Promised::default(), &PlacementProfile::qemu(), &request).unwrap_or_else(|refusal| panic!("{refusal}"))
}

pub(super) fn arguments(config: &DomainConfig, binary: &Binary) -> Result<Vec<String>> {
    arguments_as(config, &planned_for(config), binary)
}

pub(super) fn arguments_as(config: &DomainConfig, plan: &Plan, binary: &Binary) -> Result<Vec<String>> {
    let folders = Folders { run: "/run/guest".into(), ram: "/ram/guest".into(), nvram: "/nvram".into() };
    let monitor = MonitorAt::Path("/run/guest/monitor".into());
    build(&input(config, Some(plan), binary, &folders, monitor, &Config::default()))
}

pub(super) fn input<'a>(
    config: &'a DomainConfig,
    plan: Option<&'a Plan>,
    binary: &'a Binary,
    folders: &'a Folders,
    monitor: MonitorAt,
    settings: &'a Config,
) -> Input<'a> {
    Input {
        config,
        plan,
        binary,
        folders,
        monitor,
        sandbox: true,
        settings,
        purpose: Purpose::Run,
        incoming: None,
        now: 1_000_000_000,
        generic_scsi: |_| None,
    }
}

fn command_line(config: &DomainConfig, binary: &Binary) -> Result<String> {
    Ok(shell(&binary.path, &arguments(config, binary)?) + "\n")
}

#[test]
fn definitions_give_these_command_lines() {
    let binary = recorded();
    let bless = std::env::var_os("POLYVIRT_BLESS").is_some();
    let mut cases = 0;
    let mut paths: Vec<_> = fs::read_dir(data()).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    for path in paths.into_iter().filter(|it| it.extension().is_some_and(|it| it == "xml")) {
        let config = stored(&fs::read_to_string(&path).unwrap(), &binary);
        let facts = Facts::of(binary.clone().into());
        crate::check::check(&config, &facts).unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        let got = command_line(&config, &binary).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = path.with_extension("args");
        if bless {
            fs::write(&golden, &got).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, expected, "{}", path.display());
        cases += 1;
    }
    assert!(cases >= 6, "only {cases} cases found");
}

/// Every text of a definition that reaches the command line, with everything that could break out of its place.
#[test]
fn no_value_breaks_out_of_its_place() {
    const EVIL: &str = "a,b=c,,d\"e'f\\g h;$(i)`{j}[k]%l";
    let text = fs::read_to_string(data().join("everything.xml")).unwrap();
    let binary = recorded();
    let evil = EVIL.replace('&', "&amp;").replace('"', "&quot;").replace('\'', "&apos;").replace('<', "&lt;");
    let config = stored(&text.replace("TEXT", &evil), &binary);
    let plain = stored(&text, &binary);
    let folders = Folders { run: "/r".into(), ram: "/m".into(), nvram: "/n".into() };
    let args = |config: &DomainConfig| {
        let monitor = MonitorAt::Descriptor(3);
        build(&input(config, None, &binary, &folders, monitor, &Config::default())).unwrap()
    };
    let (evil, plain) = (args(&config), args(&plain));
    assert_eq!(evil.len(), plain.len());
    let mut hit = 0;
    for (evil, plain) in evil.iter().zip(&plain) {
        if !plain.contains("TEXT") {
            continue;
        }
        hit += 1;
        if plain.starts_with('{') {
            // JSON: the same members, and the value comes out as it went in.
            let evil: serde_json::Value = serde_json::from_str(evil).unwrap();
            let plain: serde_json::Value =
                serde_json::from_str(&plain.replace("TEXT", &EVIL.replace('\\', "\\\\").replace('"', "\\\""))).unwrap();
            assert_eq!(evil, plain);
        } else if plain.contains('=') {
            assert_eq!(*evil, plain.replace("TEXT", &EVIL.replace(',', ",,")));
        } else {
            assert_eq!(*evil, plain.replace("TEXT", EVIL));
        }
    }
    assert!(hit >= 8, "only {hit} places were reached");
}

#[test]
fn a_shell_reads_what_was_meant() {
    let text =
        shell(Path::new("/bin/echo"), &["-n".into(), "it's".into(), "a b".into(), String::new(), "x,y=z".into()]);
    assert_eq!(text, "/bin/echo \\\n-n 'it'\\''s' 'a b' '' x,y=z");
    let output = std::process::Command::new("/bin/sh").arg("-c").arg(text).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's a b  x,y=z");
}
