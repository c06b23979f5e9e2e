//! What the CPUID instruction and model-specific registers say of a processor, as it was recorded.

use std::collections::BTreeMap;

use polyvirt_xml::XmlTree;

use crate::{CpuError, Signature};

/// Most answers that are read: the largest processors have some two hundred.
pub const MAX_LEAVES: usize = 4096;

/// A register of an answer. A model-specific register is its lower half in `eax`, its upper one in `edx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Register {
    /// `eax`
    Eax,
    /// `ebx`
    Ebx,
    /// `ecx`
    Ecx,
    /// `edx`
    Edx,
}

/// Where 32 bits of an answer are. The order is that in which features are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// Of the CPUID instruction.
    Cpuid {
        /// `eax` on entry.
        leaf: u32,
        /// `ecx` on entry.
        subleaf: u32,
        /// Which of the four.
        register: Register,
    },
    /// Of a model-specific register.
    Msr {
        /// Its number.
        index: u32,
        /// Which half.
        register: Register,
    },
}

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpuid {
    words: BTreeMap<Word, u32>,
}

impl Cpuid {
    /// Reads `<cpudata>` with `<cpuid eax_in= ecx_in= eax= …>` and `<msr index= eax= edx=>`.
    ///
    /// # Errors
    /// [`CpuError::Document`] if it is no XML, [`CpuError::Cpuid`] if it is no record of CPUID, or one with more than
    /// [`MAX_LEAVES`] answers.
    pub fn read(text: &str) -> Result<Self, CpuError> {
        let root = XmlTree::parse(text).map_err(|problem| CpuError::Document(problem.into()))?;
        if root.name != "cpudata" {
            return Err(CpuError::Cpuid(format!("the document is <{}>, and raw CPU data are <cpudata>", root.name)));
        }
        if root.children.len() > MAX_LEAVES {
            let count = root.children.len();
            return Err(CpuError::Cpuid(format!("{count} answers are more than the {MAX_LEAVES} that are read")));
        }
        let mut words = BTreeMap::new();
        for element in &root.children {
            read_answer(element, &mut words)?;
        }
        if words.is_empty() {
            return Err(CpuError::Cpuid("there is no <cpuid> in the document".to_owned()));
        }
        Ok(Self { words })
    }

    /// The bits of a word; none if it was not recorded.
    #[must_use]
    pub fn word(&self, word: Word) -> u32 {
        self.words.get(&word).copied().unwrap_or(0)
    }

    fn leaf(&self, leaf: u32, register: Register) -> u32 {
        self.word(Word::Cpuid { leaf, subleaf: 0, register })
    }

    /// The vendor's string of leaf 0: twelve characters.
    #[must_use]
    pub fn vendor(&self) -> String {
        let words = [Register::Ebx, Register::Edx, Register::Ecx].map(|register| self.leaf(0, register).to_le_bytes());
        String::from_utf8_lossy(&words.concat()).into_owned()
    }

    /// The signature as leaf 1 has it.
    #[must_use]
    pub fn raw_signature(&self) -> u32 {
        self.leaf(1, Register::Eax)
    }

    /// Family, model and stepping. Source: Intel SDM vol. 2A, CPUID leaf 1, "Version Information".
    #[must_use]
    pub fn signature(&self) -> Signature {
        let raw = self.raw_signature();
        let (family, model) = (raw >> 8 & 0xf, raw >> 4 & 0xf);
        Signature {
            family: if family == 0xf { family + (raw >> 20 & 0xff) } else { family },
            // AMD's manual extends the model only of family 15, and none of its older families has other bits set.
            model: if matches!(family, 6 | 0xf) { model + (raw >> 16 & 0xf) * 16 } else { model },
            stepping: raw & 0xf,
        }
    }
}

fn read_answer(element: &XmlTree, words: &mut BTreeMap<Word, u32>) -> Result<(), CpuError> {
    let optional = |key: &str| element.attribute(key).map(|text| number(key, text)).transpose();
    let required =
        |key: &str| optional(key)?.ok_or_else(|| CpuError::Cpuid(format!("<{}> without {key}=", element.name)));
    let registers = [("eax", Register::Eax), ("ebx", Register::Ebx), ("ecx", Register::Ecx), ("edx", Register::Edx)];
    match element.name.as_str() {
        "cpuid" => {
            let (leaf, subleaf) = (required("eax_in")?, optional("ecx_in")?.unwrap_or(0));
            for (key, register) in registers {
                words.insert(Word::Cpuid { leaf, subleaf, register }, optional(key)?.unwrap_or(0));
            }
        }
        "msr" => {
            let index = required("index")?;
            for (key, register) in [registers[0], registers[3]] {
                words.insert(Word::Msr { index, register }, optional(key)?.unwrap_or(0));
            }
        }
        // Virtual machine monitors add what they know besides.
        _ => {}
    }
    Ok(())
}

fn number(key: &str, text: &str) -> Result<u32, CpuError> {
    let digits = text.trim();
    let read = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    read.map_err(|_| CpuError::Cpuid(format!("{key}='{text}' is no number of 32 bits")))
}

#[cfg(test)]
mod tests {
    use super::{Cpuid, MAX_LEAVES, Register, Word};

    fn leaf_one(eax: &str) -> Cpuid {
        Cpuid::read(&format!("<cpudata arch='x86'><cpuid eax_in='0x1' ecx_in='0x0' eax='{eax}'/></cpudata>")).unwrap()
    }

    #[test]
    fn signatures_are_put_together() {
        let of = |raw: &str| {
            let it = leaf_one(raw).signature();
            (it.family, it.model, it.stepping)
        };
        // An Intel 06_3AH, an AMD family 17H, a Pentium.
        assert_eq!(of("0x000306a9"), (6, 58, 9));
        assert_eq!(of("0x00800f12"), (23, 1, 2));
        assert_eq!(of("0x00000543"), (5, 4, 3));
        assert_eq!(leaf_one("1193046").raw_signature(), 0x0012_3456);
    }

    #[test]
    fn answers_are_found_by_their_place() {
        let text = "<cpudata><cpuid eax_in='0xd' ecx_in='0x1' eax='0xf'/><msr index='0x10a' edx='0x1' eax='0x2'/>
            <cpuid eax_in='0' ebx='0x756e6547' ecx='0x6c65746e' edx='0x49656e69'/></cpudata>";
        let cpuid = Cpuid::read(text).unwrap();
        assert_eq!(cpuid.word(Word::Cpuid { leaf: 0xd, subleaf: 1, register: Register::Eax }), 0xf);
        assert_eq!(cpuid.word(Word::Cpuid { leaf: 0xd, subleaf: 0, register: Register::Eax }), 0);
        assert_eq!(cpuid.word(Word::Msr { index: 0x10a, register: Register::Edx }), 1);
        assert_eq!(cpuid.vendor(), "GenuineIntel");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let refused = |text: &str| Cpuid::read(text).unwrap_err().to_string();
        assert!(refused("<cpu/>").contains("<cpu>"));
        assert!(refused("<cpudata/>").contains("no <cpuid>"));
        assert!(refused("<cpudata><cpuid eax='1'/></cpudata>").contains("eax_in"));
        assert!(refused("<cpudata><cpuid eax_in='0x1' eax='0x100000000'/></cpudata>").contains("0x100000000"));
        assert!(refused("<cpudata><cpuid eax_in='-1'/></cpudata>").contains("'-1'"));
        assert!(refused("<cpudata>").contains("cpudata"));
        let many = format!("<cpudata>{}</cpudata>", "<cpuid eax_in='1'/>".repeat(MAX_LEAVES + 1));
        assert!(refused(&many).contains("4097"));
    }
}
