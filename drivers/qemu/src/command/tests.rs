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
    let folders =
        Folders { run: "/run/guest".into(), ram: "/ram/guest".into(), nvram: "/nvram".into(), tpm: "/tpm".into() };
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
        taps: &[],
        now: 1_000_000_000,
        generic_scsi: |_| None,
        host_cpu: None,
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

/// What QEMU reads from an argument: pairs of its option syntax, members of JSON, or the text itself.
fn read_back(option: &str, argument: &str) -> Vec<(String, String)> {
    const PLAIN: &[&str] = &["-append", "-kernel", "-initrd", "-dtb", "-bios", "-k", "-uuid", "-shim"];
    if PLAIN.contains(&option) || option.is_empty() {
        return vec![(String::new(), argument.to_owned())];
    }
    if argument.starts_with('{') {
        let mut pairs = Vec::new();
        members("", &serde_json::from_str(argument).unwrap(), &mut pairs);
        return pairs;
    }
    // A comma ends a pair, two are one that does not.
    let mut parts = vec![String::new()];
    let mut rest = argument.chars().peekable();
    while let Some(it) = rest.next() {
        if it == ',' && rest.next_if_eq(&',').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(it);
        }
    }
    let pair = |it: &String| match it.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (String::new(), it.clone()),
    };
    parts.iter().map(pair).collect()
}

fn members(path: &str, value: &serde_json::Value, pairs: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(all) => {
            all.iter().for_each(|(name, it)| members(&format!("{path}.{name}"), it, pairs))
        }
        serde_json::Value::Array(all) => {
            all.iter().enumerate().for_each(|(at, it)| members(&format!("{path}.{at}"), it, pairs));
        }
        serde_json::Value::String(text) => pairs.push((path.to_owned(), text.clone())),
        other => pairs.push((path.to_owned(), other.to_string())),
    }
}

fn all_pairs(args: &[String]) -> Vec<(String, Vec<(String, String)>)> {
    let mut option = "";
    let mut all = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        let value = at > 0 && !option.is_empty();
        if value {
            all.push((option.to_owned(), read_back(option, arg)));
            option = "";
        } else {
            // Switches have no value.
            const SWITCHES: &[&str] = &["-S", "-no-user-config", "-nodefaults", "-no-shutdown", "-no-acpi", "-no-hpet"];
            option = if SWITCHES.contains(&arg.as_str()) { "" } else { arg };
        }
    }
    all
}

fn run_arguments(text: &str, binary: &Binary) -> Vec<String> {
    let config = stored(text, binary);
    let folders = Folders { run: "/r".into(), ram: "/m".into(), nvram: "/n".into(), tpm: "/t".into() };
    let settings = Config::default();
    build(&input(&config, None, binary, &folders, MonitorAt::Descriptor(3), &settings)).unwrap()
}

/// Texts of everything that ends, quotes or begins something somewhere; from a seed.
fn hostile_text(seed: u64) -> String {
    const PIECES: &[&str] = &[
        ",",
        ",,",
        "=",
        "\"",
        "'",
        "\\",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ":",
        "%",
        "$(i)",
        "`",
        "&",
        "<",
        "-S",
        "on",
        "file.driver=",
        "é",
        " ",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    // No blanks at the ends, which XML may drop.
    let middle: String = (0..3 + next() % 8).map(|_| PIECES[next() % PIECES.len()]).collect();
    format!("x{middle}y")
}

#[test]
fn no_value_breaks_out_of_its_place() {
    let mut binary = recorded();
    // Everything that a device might ask for.
    binary.assumed = true;
    for file in ["everything.xml", "hostile.xml"] {
        let text = fs::read_to_string(data().join(file)).unwrap();
        let plain = all_pairs(&run_arguments(&text, &binary));
        let places = plain.iter().flat_map(|it| &it.1).filter(|it| it.1.contains("TEXT")).count();
        assert!(places >= if file == "hostile.xml" { 60 } else { 12 }, "{file}: only {places} places were reached");
        for seed in 1..40 {
            let evil = hostile_text(seed);
            let escaped: String = evil
                .chars()
                .map(|it| match it {
                    '&' => "&amp;".into(),
                    '<' => "&lt;".into(),
                    '"' => "&quot;".into(),
                    '\'' => "&apos;".into(),
                    '\n' => "&#10;".into(),
                    other => other.to_string(),
                })
                .collect();
            let found = all_pairs(&run_arguments(&text.replace("TEXT", &escaped), &binary));
            assert_eq!(found.len(), plain.len(), "{evil:?}");
            for ((option, found), (expected, pairs)) in found.iter().zip(&plain) {
                // Blanks of a disk's number have a backslash, see `storage::frontend`.
                let serial = evil.replace(' ', "\\ ");
                let evil = |key: &str| if key == ".serial" { &serial } else { &evil };
                let pairs: Vec<_> = pairs.iter().map(|it| (it.0.clone(), it.1.replace("TEXT", evil(&it.0)))).collect();
                assert_eq!((option, found), (expected, &pairs), "{:?}", evil(""));
            }
        }
    }
}

#[test]
fn what_cannot_be_quoted_is_refused() {
    let binary = recorded();
    let guest = |cpu: &str, features: &str| {
        format!(
            "<domain type='qemu'><name>a</name><memory>1024</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>\
             <features>{features}</features>{cpu}</domain>"
        )
    };
    for (text, path) in [
        (guest("<cpu><model>qemu64</model><feature name='a=on,b'/></cpu>", ""), "/domain/cpu/feature/@name"),
        (guest("<cpu><model vendor_id='a,b'>qemu64</model></cpu>", ""), "/domain/cpu/model/@vendor_id"),
        (
            guest("", "<hyperv><vendor_id state='on' value='a,kvm=off'/></hyperv>"),
            "/domain/features/hyperv/vendor_id/@value",
        ),
    ] {
        let Some(config) = try_stored(&text, &binary) else { continue };
        let error = arguments(&config, &binary).unwrap_err().to_string();
        assert!(error.contains(path), "{text}: {error}");
    }
    // No XML has one, but a program that fills the model in may.
    let mut config = stored(&guest("", ""), &binary);
    for name in ["a\0b", "\0"] {
        config.name = name.into();
        assert!(arguments(&config, &binary).unwrap_err().to_string().contains("NUL"));
    }
    config.name = "a\\u0000".into();
    assert!(arguments(&config, &binary).is_ok());
    let mut disk = polyvirt_core::model::disk::Disk::file("/a\0,b", "vda");
    disk.kind = Some(polyvirt_core::model::storage::SourceKind::File);
    config.devices.disks.push(disk);
    assert!(arguments(&config, &binary).unwrap_err().to_string().contains("NUL"));
}

/// Parsed and completed; `None` if the model refuses it already.
fn try_stored(text: &str, binary: &Binary) -> Option<DomainConfig> {
    DomainConfig::parse(text, &polyvirt_core::model::ParseOptions::default()).ok()?;
    Some(stored(text, binary))
}

#[test]
fn a_shell_reads_what_was_meant() {
    let text =
        shell(Path::new("/bin/echo"), &["-n".into(), "it's".into(), "a b".into(), String::new(), "x,y=z".into()]);
    assert_eq!(shell(Path::new("/a=b"), &[]), "'/a=b'");
    assert_eq!(text, "/bin/echo \\\n-n 'it'\\''s' 'a b' '' x,y=z");
    let output = std::process::Command::new("/bin/sh").arg("-c").arg(text).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's a b  x,y=z");
}

#[test]
fn sasl_finds_its_configuration_where_the_settings_say() {
    let text = "<domain type='kvm'><name>g</name><clock offset='timezone' timezone='Europe/Paris'/>
        <devices><graphics type='spice'/><graphics type='vnc'/></devices></domain>";
    let config = DomainConfig::parse(text, &polyvirt_core::model::ParseOptions::default()).unwrap().config;
    let mut settings =
        Config { spice_sasl_dir: Some("/s".into()), vnc_sasl_dir: Some("/v".into()), ..Config::default() };
    let environment = |settings: &Config| -> Vec<String> {
        extra_environment(&config, settings).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    assert_eq!(environment(&settings), ["TZ=Europe/Paris"], "nobody logs in with SASL");
    settings.spice_sasl = true;
    assert_eq!(environment(&settings), ["SASL_CONF_PATH=/s", "TZ=Europe/Paris"]);
    settings.vnc_sasl = true;
    assert_eq!(environment(&settings), ["SASL_CONF_PATH=/v", "TZ=Europe/Paris"]);
}
