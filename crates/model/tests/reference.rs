//! The generated reference says what the model is. `cargo xtask generate` writes it.

use std::path::Path;

use polyvirt_model::DomainConfig;

const HEAD: &str = "\
# Domain XML

Every element and attribute that polyvirt knows, written from its model by `cargo xtask generate`; do not edit. The format is
libvirt's (formatdomain of 9.0, and what came to it until 11.3); *since* is the version of libvirt that brought something, *Manual*
the section of formatdomain. Which of it a driver honours is the driver's to say.

One section an element. An element that stands in several places has one section, and what is below it is listed under the
first of them. `JSON` is the name in JSON, in TOML and in Rust; a dot goes into an object. Sizes are read in every unit
(`b`, `KB`, `k` or `KiB`, `MB`, `M` or `MiB`, … `EiB`).

";

#[test]
fn the_page_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/generated/domain-xml.md");
    let generated = HEAD.to_owned() + &DomainConfig::reference();
    if std::env::var_os("POLYVIRT_BLESS").is_some() {
        std::fs::create_dir_all(page.parent().unwrap()).unwrap();
        std::fs::write(&page, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&page).unwrap_or_default();
    let differs = committed.lines().zip(generated.lines()).position(|(old, new)| old != new);
    assert!(
        committed == generated,
        "docs/generated/domain-xml.md is stale from line {:?} on: run cargo xtask generate",
        differs.map(|line| line + 1)
    );
}

#[test]
fn everything_is_described() {
    let reference = DomainConfig::reference();
    for line in reference
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| XML") && !line.starts_with("| element"))
    {
        assert!(!line.ends_with("|  |"), "no description: {line}");
    }
    let anchors: Vec<String> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| {
            heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect::<String>().to_lowercase()
        })
        .collect();
    for link in reference.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert_eq!(anchors.iter().filter(|anchor| *anchor == link).count(), 1, "#{link}");
    }
}
