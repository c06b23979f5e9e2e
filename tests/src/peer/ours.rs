//! The command `polyvirt`, asked many things in one process.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::Answer;

/// `polyvirt batch`.
#[derive(Debug)]
pub struct Polyvirt {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Polyvirt {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("batch").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let (ask, answers) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
        Ok(Self { child, ask, answers: BufReader::new(answers) })
    }

    /// What it makes of a definition with the QEMU that was recorded, on this host.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn to_native(&mut self, recording: &Path, file: &Path) -> Result<Answer, String> {
        let mut argv = vec!["domxml", "to-native", "--driver", "qemu", "--format", "qemu-argv", "--sysroot", "/"];
        // What Debian's libvirt does unless its settings say otherwise, and we leave to QEMU.
        argv.extend(["--set", "dump_guest_core=false"]);
        let (recording, file) = (recording.display().to_string(), file.display().to_string());
        argv.extend(["--capabilities", &recording, &file]);
        writeln!(self.ask, "{}", json!({ "id": 1, "argv": argv })).map_err(|error| format!("polyvirt: {error}"))?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| format!("polyvirt: {error}"))?;
        let reply: Value = serde_json::from_str(&line).map_err(|error| format!("polyvirt said {line:?}: {error}"))?;
        let text = |key: &str| reply[key].as_str().unwrap_or_default().trim().to_owned();
        match reply["exit"].as_i64() {
            Some(0) => Ok(Answer::Taken(text("stdout"))),
            Some(1) => Ok(Answer::Refused(text("stderr"))),
            _ => Err(format!("polyvirt ended with {}: {}", reply["exit"], text("stderr"))),
        }
    }
}

impl Drop for Polyvirt {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
