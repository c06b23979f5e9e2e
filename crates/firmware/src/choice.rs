//! Which firmware fits a guest.

use crate::{Descriptor, Feature, Firmwares, Format, Interface, Mapping, Mode};

/// What a guest wants of its firmware. What is `None` may be either.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Wish<'a> {
    /// QEMU's name of the architecture.
    pub architecture: &'a str,
    /// The machine type, with its version.
    pub machine: &'a str,
    /// How the operating system talks to it.
    pub interface: Option<Interface>,
    /// The file with the code.
    pub executable: Option<&'a str>,
    /// What variables begin as.
    pub template: Option<&'a str>,
    /// The format of the code.
    pub format: Option<Format>,
    /// Whether there are no variables.
    pub stateless: bool,
    /// Whether it is one file that the guest writes. Nothing that is shared can be.
    pub writable: bool,
    /// Whether the guest has System Management Mode.
    pub smm: Option<bool>,
    /// Features it must have.
    pub features: Vec<Feature>,
    /// Features it must lack.
    pub without: Vec<Feature>,
}

/// A firmware that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chosen<'a> {
    /// Its description.
    pub descriptor: &'a Descriptor,
}

impl Firmwares {
    /// The first firmware that fits.
    #[must_use]
    pub fn choose(&self, wish: &Wish<'_>) -> Option<Chosen<'_>> {
        self.descriptors.iter().find(|it| fits(it, wish)).map(|descriptor| Chosen { descriptor })
    }
}

fn fits(it: &Descriptor, wish: &Wish<'_>) -> bool {
    let mapped = match &it.mapping {
        Mapping::Flash { mode, executable, .. } => {
            *mode == (if wish.stateless { Mode::Stateless } else { Mode::Split })
                && wish.format.is_none_or(|format| format == executable.format)
        }
        // It is ROM: nothing that has a format.
        Mapping::Memory { .. } => !wish.stateless && wish.format.is_none_or(|format| format == Format::Raw),
        Mapping::Kernel { .. } => false,
    };
    mapped
        && !wish.writable
        && it.serves(wish.architecture, wish.machine)
        && wish.interface.is_none_or(|interface| it.interface_types.contains(&interface))
        && wish.executable.is_none_or(|path| path == it.executable())
        && wish.template.is_none_or(|path| it.nvram_template().is_some_and(|own| own.filename == path))
        && (wish.smm != Some(false) || !it.has(&Feature::RequiresSmm))
        && wish.features.iter().all(|feature| it.has(feature))
        && !wish.without.iter().any(|feature| it.has(feature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Firmwares {
        let flash = |mode: &str, format: &str, name: &str, features: &str| {
            let text = format!(
                r#"{{"interface-types": ["uefi"], "targets": [{{"architecture": "x86_64", "machines": ["pc-q35-*"]}}], "features": [{features}],
                "mapping": {{"device": "flash", "mode": "{mode}", "executable": {{"filename": "/{name}", "format": "{format}"}},
                    "nvram-template": {{"filename": "/{name}.vars", "format": "{format}"}}}}}}"#
            );
            Descriptor::parse(&text).unwrap()
        };
        Firmwares {
            descriptors: vec![
                flash("combined", "raw", "both", ""),
                flash("split", "qcow2", "secure-qcow2", r#""secure-boot", "requires-smm", "enrolled-keys""#),
                flash("split", "raw", "secure", r#""secure-boot", "requires-smm", "enrolled-keys""#),
                flash("split", "raw", "plain", r#""amd-sev""#),
                flash("stateless", "raw", "fixed", r#""amd-sev""#),
            ],
            problems: Vec::new(),
        }
    }

    #[test]
    fn the_first_that_fits() {
        let host = host();
        let wish = Wish { architecture: "x86_64", machine: "pc-q35-9.0", ..Wish::default() };
        let chosen = |wish: Wish<'_>| host.choose(&wish).map(|it| it.descriptor.executable().to_owned());
        let raw = Some(Format::Raw);
        for (wish, expected) in [
            (wish.clone(), Some("/secure-qcow2")),
            (Wish { format: raw, ..wish.clone() }, Some("/secure")),
            (Wish { smm: Some(false), ..wish.clone() }, Some("/plain")),
            (Wish { without: vec![Feature::SecureBoot], ..wish.clone() }, Some("/plain")),
            (Wish { stateless: true, ..wish.clone() }, Some("/fixed")),
            (Wish { template: Some("/secure.vars"), ..wish.clone() }, Some("/secure")),
            (Wish { executable: Some("/plain"), template: Some("/mine"), ..wish.clone() }, None),
            (Wish { writable: true, ..wish.clone() }, None),
            (Wish { features: vec![Feature::IntelTdx], ..wish.clone() }, None),
            (Wish { interface: Some(Interface::Bios), ..wish.clone() }, None),
            (Wish { machine: "pc-i440fx-9.0", ..wish }, None),
        ] {
            assert_eq!(chosen(wish.clone()).as_deref(), expected, "{wish:?}");
        }
    }
}
