//! What a QEMU that is installed says of itself, written down as a recording for drivers without a host.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// Questions without arguments.
const PLAIN: &[&str] = &[
    "query-version",
    "query-target",
    "query-qmp-schema",
    "query-kvm",
    "query-machines",
    "query-cpu-definitions",
    "query-command-line-options",
    "query-tpm-models",
    "query-tpm-types",
    "query-migrate-capabilities",
    "query-sev-capabilities",
    "query-sgx-capabilities",
    "qom-list-types",
];

/// Objects that are no devices, of which the properties are asked for.
const OBJECTS: &[&str] =
    &["memory-backend-file", "memory-backend-memfd", "max-x86_64-cpu", "none-machine", "generic-pc-machine"];

/// A QEMU that answers.
struct Qemu {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    recording: String,
}

/// Asks the program, and returns what was asked and answered.
///
/// # Errors
/// When it cannot be run or does not answer as QEMU does.
pub fn record(program: &Path) -> Result<String, String> {
    let mut qemu = Qemu::start(program)?;
    for command in PLAIN {
        qemu.ask(command, &Value::Null)?;
    }
    for device in qemu.devices()? {
        // A device whose parts are in a module that is not installed ends QEMU 7.2; such a device cannot be had.
        if qemu.ask("device-list-properties", &json!({ "typename": device })).is_err() {
            let recording = std::mem::take(&mut qemu.recording);
            qemu = Qemu::start(program)?;
            qemu.recording = recording;
        }
    }
    for object in OBJECTS {
        qemu.ask("qom-list-properties", &json!({ "typename": object }))?;
    }
    qemu.ask("query-cpu-model-expansion", &json!({ "type": "static", "model": { "name": "max" } }))?;
    Ok(std::mem::take(&mut qemu.recording))
}

impl Qemu {
    fn start(program: &Path) -> Result<Self, String> {
        let arguments =
            ["-S", "-no-user-config", "-nodefaults", "-display", "none", "-machine", "none,accel=tcg", "-qmp", "stdio"];
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let (ask, answers) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
        let mut qemu = Self { child, ask, answers: BufReader::new(answers), recording: String::new() };
        let greeting = qemu.message()?;
        if greeting.get("QMP").is_none() {
            return Err(format!("{} greets with {greeting}", program.display()));
        }
        qemu.ask("qmp_capabilities", &Value::Null)?;
        Ok(qemu)
    }

    fn message(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("QEMU ended".to_owned()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| format!("QEMU said {line:?}: {error}")),
            Err(error) => Err(format!("QEMU's answers: {error}")),
        }
    }

    /// Asks and writes down; a refusal is an answer too.
    fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let mut question = json!({ "execute": command });
        if !arguments.is_null() {
            question["arguments"] = arguments.clone();
        }
        writeln!(self.ask, "{question}").map_err(|error| format!("QEMU does not listen: {error}"))?;
        let answer = loop {
            let message = self.message()?;
            if message.get("event").is_none() {
                break message;
            }
        };
        self.recording.push_str(&format!("{question}\n\n{answer}\n\n"));
        Ok(answer)
    }

    /// The devices that can be had.
    fn devices(&mut self) -> Result<Vec<String>, String> {
        let question = json!({ "execute": "qom-list-types", "arguments": { "implements": "device" } });
        writeln!(self.ask, "{question}").map_err(|error| format!("QEMU does not listen: {error}"))?;
        let answer = self.message()?;
        let all = answer["return"].as_array().ok_or_else(|| format!("no list of devices: {answer}"))?;
        Ok(all.iter().filter_map(|it| Some(it["name"].as_str()?.to_owned())).collect())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It would end with its input; waiting for that is waiting for QEMU's pleasure.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
