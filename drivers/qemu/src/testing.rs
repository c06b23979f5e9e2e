//! What the tests of this crate share.

use std::path::PathBuf;

use polyvirt_core::model::{self, DomainConfig, Guest, ParseOptions, Positions, Problems};

use polyvirt_firmware::Firmwares;

use crate::{
    complete::{Choices, Given, complete},
    config::Config,
    probe::Binary,
};

/// The QEMU of this host; `None`, with the reason printed, if there is none.
pub(crate) fn qemu() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|it| it.join("qemu-system-x86_64")).find(|it| it.is_file());
    if found.is_none() {
        let required = std::env::var("POLYVIRT_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|it| it == "qemu"), "there is no qemu-system-x86_64 in PATH");
        println!("skipped: there is no qemu-system-x86_64 in PATH");
    }
    found
}

/// QEMU 7.2 as it was probed, cut down to what the cases name.
pub(crate) fn recorded() -> Binary {
    serde_json::from_str(include_str!("../tests/data/qemu-7.2.json")).unwrap()
}

fn read(text: &str) -> DomainConfig {
    DomainConfig::parse(text, &ParseOptions::default()).unwrap_or_else(|problems| panic!("{problems}")).config
}

/// Parsed, completed by model and driver; the driver completes twice, which must change nothing.
pub(crate) fn stored(text: &str, binary: &Binary) -> DomainConfig {
    let mut config = read(text);
    model::complete(&mut config, Guest::New, &Positions::default()).unwrap_or_else(|problems| panic!("{problems}"));
    let refused = |problems: Problems| panic!("{problems}");
    let (settings, firmware) = (Config::default(), Firmwares::default());
    let given = Given { binary, settings: &settings, firmware: &firmware, choices: Choices::default() };
    complete(&mut config, &given).unwrap_or_else(refused);
    let mut again = read(&config.to_xml());
    complete(&mut again, &given).unwrap_or_else(refused);
    assert_eq!(again.to_xml(), config.to_xml());
    config
}
