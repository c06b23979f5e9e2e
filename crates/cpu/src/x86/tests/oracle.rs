//! Debian's CPU map (package `libvirt0`) as an oracle, where it is installed: other people's opinion of the same facts.

use std::{collections::BTreeMap, fs, path::Path};

use polyvirt_xml::XmlTree;

use crate::{
    Signature, Word,
    x86::catalog::{Catalog, Features},
};

const MAP: &str = "/usr/share/libvirt/cpu_map";

/// Where we differ, and why.
const KNOWN: [(&str, &str); 12] = [
    ("Cascadelake-Server", "mpx: QEMU's models lost it"),
    ("Cascadelake-Server-noTSX", "mpx: QEMU's models lost it"),
    ("Icelake-Client", "mpx: QEMU's models lost it"),
    ("Icelake-Client-noTSX", "mpx: QEMU's models lost it"),
    ("Icelake-Server", "mpx: QEMU's models lost it; intel-pt is withdrawn, and told by its name"),
    ("Icelake-Server-noTSX", "mpx: QEMU's models lost it; intel-pt is withdrawn, and told by its name"),
    ("Skylake-Client", "mpx: QEMU's models lost it"),
    ("Skylake-Client-IBRS", "mpx: QEMU's models lost it"),
    ("Skylake-Client-noTSX-IBRS", "mpx: QEMU's models lost it"),
    ("Skylake-Server", "mpx: QEMU's models lost it"),
    ("Skylake-Server-IBRS", "mpx: QEMU's models lost it"),
    ("Skylake-Server-noTSX-IBRS", "mpx: QEMU's models lost it"),
];

fn read(file: &Path) -> XmlTree {
    XmlTree::parse(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The files of the map for x86; none, with the reason printed, if it is not installed.
fn files() -> Vec<XmlTree> {
    let Ok(entries) = fs::read_dir(MAP) else {
        eprintln!("skipped: there is no {MAP} (Debian: libvirt0)");
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("x86_"))
        .map(|path| read(&path))
        .collect()
}

#[test]
fn bits_of_features_are_the_same() {
    let catalog = Catalog::get();
    for feature in files().iter().flat_map(|file| &file.children).filter(|element| element.name == "feature") {
        let name = feature.attribute("name").unwrap();
        let ours = &catalog.features[usize::from(catalog.feature(name).unwrap().0)];
        assert_eq!(ours.name, name, "another spelling");
        let place = feature.children.iter().find(|child| child.name != "alias").unwrap();
        let number =
            |key: &str| u32::from_str_radix(place.attribute(key).unwrap_or("0").trim_start_matches("0x"), 16).unwrap();
        let register = match ours.word {
            Word::Cpuid { leaf, subleaf, register } => {
                assert_eq!((leaf, subleaf), (number("eax_in"), number("ecx_in")), "{name}");
                register
            }
            Word::Msr { index, register } => {
                assert_eq!(index, number("index"), "{name}");
                register
            }
        };
        assert_eq!(number(&format!("{register:?}").to_lowercase()), 1 << ours.bit, "{name}");
    }
}

#[test]
fn models_of_guests_have_the_same_features() {
    let catalog = Catalog::get();
    let files = files();
    let models = files.iter().flat_map(|file| &file.children).filter(|element| element.name == "model");
    let map: BTreeMap<_, _> = models.map(|model| (model.attribute("name").unwrap(), model)).collect();
    let mut differ = Vec::new();
    let mut compared = 0;
    for (name, theirs) in &map {
        let Ok(ours) = catalog.model(name) else { continue };
        compared += 1;
        let theirs = features(catalog, &map, theirs);
        let missing = catalog.names(&(&theirs - &ours.features)).join(" ");
        let extra = catalog.names(&(&ours.features - &theirs)).join(" ");
        if (!missing.is_empty() || !extra.is_empty()) && !KNOWN.iter().any(|(known, _)| known == name) {
            differ.push(format!("{name}: lacks '{missing}', has '{extra}' beyond"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(map.is_empty() || compared > 50, "only {compared} models compared");
}

#[test]
fn processors_are_of_the_same_models() {
    let catalog = Catalog::get();
    let mut differ = Vec::new();
    for theirs in files().iter().flat_map(|file| &file.children).filter(|element| element.name == "model") {
        let name = theirs.attribute("name").unwrap();
        let Ok(ours) = catalog.model(name) else { continue };
        let signatures = theirs.children.iter().filter(|child| child.name == "signature");
        for signature in signatures {
            let number = |key: &str| signature.attribute(key).unwrap().parse().unwrap();
            let steppings = signature.attribute("stepping").unwrap_or("0");
            let stepping = steppings.split(['-', ',']).next().unwrap().parse().unwrap();
            let processor = Signature { family: number("family"), model: number("model"), stepping };
            if !ours.is_of(Some(processor)) {
                differ.push(format!("{name} is not made after {processor:?}"));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn features(catalog: &Catalog, map: &BTreeMap<&str, &XmlTree>, model: &XmlTree) -> Features {
    let mut all = Features::new();
    for child in &model.children {
        let name = child.attribute("name").unwrap_or_default();
        match child.name.as_str() {
            "model" => all.extend(features(catalog, map, map[name])),
            "feature" => {
                all.insert(catalog.feature(name).unwrap());
            }
            _ => {}
        }
    }
    all
}
