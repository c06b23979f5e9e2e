//! libvirt in one Python process with one connection, as fast as python3-libvirt lets it be, for benchmarks that have it as a peer;
//! and what their rounds have in common.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Reads the guests once, then a line per round. In place of `ONE` comes what a benchmark does with one guest.
const SCRIPT: &str = r#"
import json, sys, time
import libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
connection = libvirt.open(sys.argv[1])
ONE
def accepted(text):
    try:
        one(text)
        return True
    except libvirt.libvirtError:
        return False
print(connection.getLibVersion(), flush=True)
guests = json.loads(sys.stdin.readline())
verdicts = [accepted(text) for text in guests]
print(json.dumps(verdicts), flush=True)
guests = [text for text, good in zip(guests, verdicts) if good]
for line in sys.stdin:
    print(sum(map(one, guests)), flush=True)
"#;

/// The process, and the guests it accepted.
#[derive(Debug)]
pub struct Rival {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Rival {
    /// Starts it with a Python that has the module: Debian's, if the first in the path is another. `one` defines the function `one(text)`,
    /// which returns the nanoseconds that count.
    ///
    /// # Errors
    /// What is missing: the module, or somebody who answers at `uri`.
    pub fn start(uri: &str, one: &str) -> Result<Self, String> {
        let has_module = |python: &&str| {
            let import = Command::new(python).args(["-c", "import libvirt"]).stderr(Stdio::null()).status();
            import.is_ok_and(|status| status.success())
        };
        let python = ["python3", "/usr/bin/python3"].into_iter().find(has_module);
        let python = python.ok_or("python3 has no module libvirt, install python3-libvirt")?;
        let mut command = Command::new(python);
        command.args(["-c", &SCRIPT.replace("ONE\n", one), uri]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| format!("{python}: {e}"))?;
        let (ask, answers) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
        let mut rival = Self { child, ask, answers: BufReader::new(answers) };
        let version = rival.answer().map_err(|_| format!("no libvirt answers at {uri}"))?;
        let version: u64 = version.parse().map_err(|e| format!("libvirt's version: {e}"))?;
        println!("libvirt {}.{}.{}, {python}", version / 1_000_000, version / 1000 % 1000, version % 1000);
        Ok(rival)
    }

    /// Those of the guests that it accepts; the rounds are about them.
    ///
    /// # Errors
    /// When it ended.
    pub fn accepted(&mut self, guests: Vec<String>) -> Result<Vec<String>, String> {
        let json = serde_json::to_string(&guests).map_err(|e| e.to_string())?;
        writeln!(self.ask, "{json}").map_err(|e| e.to_string())?;
        let verdicts: Vec<bool> = serde_json::from_str(&self.answer()?).map_err(|e| e.to_string())?;
        Ok(guests.into_iter().zip(verdicts).filter_map(|(guest, good)| good.then_some(guest)).collect())
    }

    /// Microseconds for all guests.
    ///
    /// # Errors
    /// When it ended.
    pub fn round(&mut self) -> Result<f64, String> {
        writeln!(self.ask).map_err(|e| e.to_string())?;
        let nanoseconds: f64 = self.answer()?.parse().map_err(|e| format!("a time: {e}"))?;
        Ok(nanoseconds / 1e3)
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("python3 ended".to_owned()),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The middle of an odd number of values.
///
/// # Panics
/// Without values.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Drop for Rival {
    fn drop(&mut self) {
        // Its input ends with us; until then it would wait.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
