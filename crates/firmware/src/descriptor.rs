//! One description, as QEMU's `docs/interop/firmware.json` defines it.

use serde::Deserialize;

/// Largest description that is read, in bytes. They have about 800.
pub(crate) const LIMIT: usize = 1 << 20;

/// How the guest's operating system talks to the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Interface {
    /// A PC BIOS.
    Bios,
    /// UEFI.
    Uefi,
    /// OpenFirmware.
    Openfirmware,
    /// Das U-Boot.
    Uboot,
    /// One that this crate does not know.
    #[serde(other)]
    Other,
}

/// What an image can do or needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum Feature {
    /// Suspend to memory.
    AcpiS3,
    /// Suspend to disk.
    AcpiS4,
    /// AMD SEV.
    AmdSev,
    /// AMD SEV-ES.
    AmdSevEs,
    /// AMD SEV-SNP.
    AmdSevSnp,
    /// Intel TDX.
    IntelTdx,
    /// Secure boot is on in the template of variables.
    EnrolledKeys,
    /// The guest needs System Management Mode.
    RequiresSmm,
    /// Secure boot can be had.
    SecureBoot,
    /// One that decides nothing here.
    Other(String),
}

impl From<String> for Feature {
    fn from(text: String) -> Self {
        match text.as_str() {
            "acpi-s3" => Self::AcpiS3,
            "acpi-s4" => Self::AcpiS4,
            "amd-sev" => Self::AmdSev,
            "amd-sev-es" => Self::AmdSevEs,
            "amd-sev-snp" => Self::AmdSevSnp,
            "intel-tdx" => Self::IntelTdx,
            "enrolled-keys" => Self::EnrolledKeys,
            "requires-smm" => Self::RequiresSmm,
            "secure-boot" => Self::SecureBoot,
            _ => Self::Other(text),
        }
    }
}

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Bytes as the guest sees them.
    Raw,
    /// QEMU's own.
    Qcow2,
    /// One that no guest can have.
    #[serde(other)]
    Other,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Image {
    /// Its path on the host.
    pub filename: String,
    /// Its format.
    pub format: Format,
}

/// How flash is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// Code and variables are files of their own. What descriptions of before QEMU 6.2 mean.
    #[default]
    Split,
    /// Both are in one file, which every guest needs a copy of.
    Combined,
    /// There are no variables.
    Stateless,
    /// One that this crate does not know.
    #[serde(other)]
    Other,
}

/// Where the guest finds it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "device", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mapping {
    /// In flash.
    #[serde(rename_all = "kebab-case")]
    Flash {
        /// How it is filled.
        #[serde(default)]
        mode: Mode,
        /// The code.
        executable: Image,
        /// What a guest's variables begin as.
        nvram_template: Option<Image>,
    },
    /// In memory, like a kernel.
    Kernel {
        /// The file.
        filename: String,
    },
    /// In ROM.
    Memory {
        /// The file.
        filename: String,
    },
}

/// Guests it is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Target {
    /// QEMU's name of the architecture.
    pub architecture: String,
    /// Patterns of machine types, with `*`.
    pub machines: Vec<String>,
}

/// A description.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Descriptor {
    /// How the operating system talks to it.
    pub interface_types: Vec<Interface>,
    /// Where the guest finds it.
    pub mapping: Mapping,
    /// Guests it is for.
    pub targets: Vec<Target>,
    /// What it can do or needs.
    pub features: Vec<Feature>,
}

/// Why a file describes no firmware.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// It is no firmware description.
    #[error("not a firmware description: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is larger than any description is.
    #[error("{0} bytes are too many for a firmware description; at most 1 MiB is read")]
    TooLarge(usize),
}

impl Descriptor {
    /// Reads one.
    ///
    /// # Errors
    /// `TooLarge`, `Syntax`.
    pub fn parse(text: &str) -> Result<Self, DescriptorError> {
        if text.len() > LIMIT {
            return Err(DescriptorError::TooLarge(text.len()));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Whether it has the feature.
    #[must_use]
    pub fn has(&self, feature: &Feature) -> bool {
        self.features.contains(feature)
    }

    /// The file with the code.
    #[must_use]
    pub fn executable(&self) -> &str {
        match &self.mapping {
            Mapping::Flash { executable, .. } => &executable.filename,
            Mapping::Kernel { filename } | Mapping::Memory { filename } => filename,
        }
    }

    /// What a guest's variables begin as.
    #[must_use]
    pub fn nvram_template(&self) -> Option<&Image> {
        match &self.mapping {
            Mapping::Flash { nvram_template, .. } => nvram_template.as_ref(),
            _ => None,
        }
    }

    /// Whether it is for this machine type of this architecture, in QEMU's words.
    #[must_use]
    pub fn serves(&self, architecture: &str, machine: &str) -> bool {
        let serves = |it: &Target| it.machines.iter().any(|pattern| matches(pattern.as_bytes(), machine.as_bytes()));
        self.targets.iter().filter(|it| it.architecture == architecture).any(serves)
    }
}

/// Whether a name matches a pattern with `*` and `?`, as glob(7) has them.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where to go on if the last star has to take one letter more.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, of));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[of] => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (at, of) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|it| *it == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_machines() {
        let is = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
        assert!(is("pc-q35-*", "pc-q35-9.0") && is("virt", "virt") && is("*", "") && is("a*b?d", "aXXbcd"));
        assert!(!is("pc-q35-*", "pc-i440fx-9.0") && !is("virt", "virt-9.0") && !is("", "a") && !is("a*b", "a"));
        assert!(!is(&"*a".repeat(2000), &"b".repeat(2000)), "and it does not take for ever");
    }

    #[test]
    fn unknown_words_do_no_harm_and_missing_members_are_told() {
        let text = r#"{"interface-types": ["coreboot"], "mapping": {"device": "memory", "filename": "/f"},
            "targets": [{"architecture": "x86_64", "machines": ["pc"]}], "features": ["wonderful"]}"#;
        let read = Descriptor::parse(text).unwrap();
        assert_eq!(read.interface_types, [Interface::Other]);
        assert!(read.serves("x86_64", "pc") && !read.serves("aarch64", "pc"));
        assert!(Descriptor::parse("{}").unwrap_err().to_string().contains("interface-types"));
        assert!(matches!(Descriptor::parse(&" ".repeat(LIMIT + 1)), Err(DescriptorError::TooLarge(_))));
    }
}
