//! A QEMU without a machine that answers questions about CPUs, and CPUs made to be looked at.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

const PROGRAM: &str = "qemu-system-x86_64";

/// Where the first CPU of a machine is in QEMU's tree of objects.
const FIRST_CPU: &str = "/machine/unattached/device[0]";

/// Who runs the CPU.
#[derive(Clone, Copy)]
pub(super) enum Accelerator {
    /// QEMU itself.
    Tcg,
    /// The kernel.
    Kvm,
}

/// One 32-bit answer of the CPUID instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word {
    pub(super) leaf: u32,
    pub(super) subleaf: u32,
    pub(super) register: &'static str,
}

/// A model that QEMU lists.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) alias_of: Option<String>,
}

/// A QEMU that waits for questions.
pub(super) struct Qemu {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

impl Qemu {
    pub(super) fn start(accelerator: Accelerator) -> Result<Self, String> {
        let name = match accelerator {
            Accelerator::Tcg => "tcg",
            Accelerator::Kvm => "kvm",
        };
        let mut child = Command::new(PROGRAM)
            .args(["-machine", "none", "-accel", name, "-nodefaults", "-display", "none", "-qmp", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{PROGRAM} does not start: {e}; Debian has it in qemu-system-x86"))?;
        let questions = child.stdin.take().ok_or("no pipe to QEMU")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from QEMU")?);
        let mut qemu = Self { child, questions, answers, version: String::new() };
        let greeting = qemu.read().map_err(|e| format!("QEMU with -accel {name}: {e}; both tcg and kvm are needed"))?;
        let of = &greeting["QMP"]["version"]["qemu"];
        qemu.version = format!("{}.{}.{}", of["major"], of["minor"], of["micro"]);
        qemu.ask("qmp_capabilities", json!({}))?;
        Ok(qemu)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// All models.
    pub(super) fn models(&mut self) -> Result<Vec<Listed>, String> {
        let listed = self.ask("query-cpu-definitions", json!({}))?;
        let of = listed.as_array().into_iter().flatten();
        let mut models: Vec<Listed> = of
            .filter_map(|model| {
                let alias_of = model["alias-of"].as_str().map(str::to_owned);
                Some(Listed { name: model["name"].as_str()?.to_owned(), alias_of })
            })
            .collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// All properties of a CPU of this model.
    pub(super) fn expand(&mut self, model: &str) -> Result<Value, String> {
        self.expansion(json!({ "name": model }))
    }

    /// All properties of a CPU of this model that has one more feature.
    pub(super) fn expand_with(&mut self, model: &str, feature: &str) -> Result<Value, String> {
        self.expansion(json!({ "name": model, "props": { feature: true } }))
    }

    #[expect(clippy::needless_pass_by_value, reason = "arguments are written where they are asked with")]
    fn expansion(&mut self, model: Value) -> Result<Value, String> {
        let mut answer = self.ask("query-cpu-model-expansion", json!({ "type": "full", "model": model }))?;
        Ok(answer["model"]["props"].take())
    }

    #[expect(clippy::needless_pass_by_value, reason = "arguments are written where they are asked with")]
    fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let question = json!({ "execute": command, "arguments": arguments });
        writeln!(self.questions, "{question}").map_err(|e| format!("QEMU takes no question: {e}"))?;
        loop {
            let mut answer = self.read()?;
            if answer.get("event").is_some() {
                continue;
            }
            return match answer.get_mut("return") {
                Some(answer) => Ok(answer.take()),
                None => Err(format!("{command}: {answer}")),
            };
        }
    }

    fn read(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("it ended".to_owned()),
            Ok(_) => serde_json::from_str(&line).map_err(|e| format!("no JSON: {e}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It has nothing to lose, and may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The words of a CPU: what it shows, and what was asked of it and TCG cannot do. Empty if QEMU makes no such CPU.
pub(super) fn feature_words(cpu: &str) -> Result<BTreeMap<Word, u32>, String> {
    let mut child = Command::new(PROGRAM)
        .args(["-machine", "microvm", "-accel", "tcg", "-nodefaults", "-display", "none", "-qmp", "stdio", "-S"])
        .args(["-cpu", cpu])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{PROGRAM} does not start: {e}"))?;
    let get = |property| json!({ "execute": "qom-get", "arguments": { "path": FIRST_CPU, "property": property } });
    let mut pipe = child.stdin.take().ok_or("no pipe to QEMU")?;
    // A QEMU that refuses the CPU has closed the pipe.
    let _ = write!(
        pipe,
        "{}{}{}{}",
        json!({ "execute": "qmp_capabilities" }),
        get("feature-words"),
        get("filtered-features"),
        json!({ "execute": "quit" })
    );
    drop(pipe);
    let output = child.wait_with_output().map_err(|e| format!("QEMU with -cpu {cpu}: {e}"))?;
    let mut words = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let answer: Value = serde_json::from_str(line).map_err(|e| format!("no JSON: {e}"))?;
        for word in answer["return"].as_array().into_iter().flatten() {
            let (key, features) = read_word(word).ok_or_else(|| format!("no feature word: {word}"))?;
            *words.entry(key).or_default() |= features;
        }
    }
    Ok(words)
}

fn read_word(word: &Value) -> Option<(Word, u32)> {
    let number = |key: &str| word[key].as_u64().and_then(|number| u32::try_from(number).ok());
    let register = ["eax", "ebx", "ecx", "edx"];
    let named = word["cpuid-register"].as_str()?.to_lowercase();
    let register = register.into_iter().find(|register| *register == named)?;
    let subleaf = number("cpuid-input-ecx").unwrap_or(0);
    Some((Word { leaf: number("cpuid-input-eax")?, subleaf, register }, number("features")?))
}
