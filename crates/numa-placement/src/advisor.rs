//! Who decides for `placement='auto'`: this crate's engine, numad, or a set of nodes that somebody wrote down.
//!
//! numad is asked as libvirt asks it: `numad -w VCPUS:MIB`, with the online vCPUs and all memory in MiB, before anything is
//! locked or promised, for it samples for two seconds. What it may do wrong is told and never guessed around: it is not
//! installed, it takes too long, it fails, it answers no set of nodes, or nodes that are not online. A guest whose
//! advisor fails does not start.
//!
//! What this does not do: it keeps numad from nothing. numad knows nothing of promises, so two starts at once may get the same
//! nodes; the ledger then refuses what does not fit.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::request::{AdviceSource, Request};
use crate::set::NodeSet;
use crate::topology::HostTopology;

/// More than the longest set of nodes.
const LIMIT: u64 = 64 << 10;
/// What is shown of an answer that makes no sense.
const SHOWN: usize = 80;
/// Between two looks whether a program that closed its output has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Who decides for `placement='auto'`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Advisor {
    /// The engine of this crate.
    #[default]
    Polyvirt,
    /// numad.
    Numad(Numad),
    /// These nodes for every guest.
    Static(NodeSet),
}

/// The program numad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Numad {
    /// The program; looked for in `PATH` if it has no slash.
    pub program: PathBuf,
    /// How long it may take. It samples for two seconds.
    pub patience: Duration,
}

impl Default for Numad {
    fn default() -> Numad {
        Numad { program: PathBuf::from("numad"), patience: Duration::from_secs(10) }
    }
}

/// Why there is no advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvisorError {
    /// There is no such program.
    #[error("the advisor '{}' is not installed: install numad, or let polyvirt decide", .0.display())]
    NotInstalled(PathBuf),
    /// It cannot be run.
    #[error("the advisor '{}' cannot be run", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("`{command}` did not answer within {} s", patience.as_secs_f64())]
    TimedOut {
        /// What was run.
        command: String,
        /// How long it had.
        patience: Duration,
    },
    /// It failed.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// The answer is no set of nodes.
    #[error("`{command}` answered '{answer}', which is no set of nodes like 0-1")]
    Garbage {
        /// What was run.
        command: String,
        /// The beginning of what it answered.
        answer: String,
    },
    /// The answer names nodes that are not there.
    #[error("{advisor} advises nodes {nodes}, which are not online (online: {online})")]
    Offline {
        /// Who advises.
        advisor: String,
        /// The nodes that are not there.
        nodes: NodeSet,
        /// Those that are.
        online: NodeSet,
    },
    /// A setting that names no advisor.
    #[error(
        "'{0}' is no advisor: write \"polyvirt\", \"numad\", {{ numad = \"/path/of/numad\" }} or {{ static = \"0-1\" }}"
    )]
    Unknown(String),
}

impl fmt::Display for Advisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Advisor::Polyvirt => f.pad("polyvirt"),
            Advisor::Numad(numad) => f.pad(&numad.program.to_string_lossy()),
            Advisor::Static(nodes) => write!(f, "static {nodes}"),
        }
    }
}

impl Advisor {
    /// From the value of a setting: `"polyvirt"`, `"numad"`, `{ numad = "/usr/bin/numad" }` or `{ static = "0-1" }`.
    ///
    /// # Errors
    /// [`AdvisorError::Unknown`] with the value.
    pub fn from_setting(value: &serde_json::Value) -> Result<Advisor, AdvisorError> {
        let known = match value {
            serde_json::Value::String(word) if word == "polyvirt" => Some(Advisor::Polyvirt),
            serde_json::Value::String(word) if word == "numad" => Some(Advisor::Numad(Numad::default())),
            serde_json::Value::Object(table) if table.len() == 1 => {
                let text = |key: &str| table.get(key).and_then(serde_json::Value::as_str);
                let nodes =
                    text("static").and_then(|nodes| nodes.parse().ok()).filter(|nodes: &NodeSet| !nodes.is_empty());
                let program = text("numad").filter(|program| !program.is_empty()).map(PathBuf::from);
                nodes
                    .map(Advisor::Static)
                    .or(program.map(|program| Advisor::Numad(Numad { program, ..Numad::default() })))
            }
            _ => None,
        };
        known.ok_or_else(|| AdvisorError::Unknown(shortened(&value.to_string())))
    }

    /// Where the advice for this guest comes from, and a sentence about it for the trace, if there is something to tell. Takes as long
    /// as numad takes, so nothing should be locked meanwhile.
    ///
    /// # Errors
    /// [`AdvisorError`]: there is no advice.
    pub fn advise(
        &self,
        host: &HostTopology,
        request: &Request,
    ) -> Result<(AdviceSource, Option<String>), AdvisorError> {
        let (nodes, told) = match self {
            _ if !request.stored.wants_advice() => return Ok((AdviceSource::Engine, None)),
            Advisor::Polyvirt => return Ok((AdviceSource::Engine, None)),
            Advisor::Static(nodes) => (nodes.clone(), format!("the settings advise nodes {nodes} for every guest")),
            Advisor::Numad(numad) => {
                let nodes = numad.ask(request.shape.vcpus_online, request.shape.memory.mib_ceil())?;
                let command = numad.command(request.shape.vcpus_online, request.shape.memory.mib_ceil());
                let told = format!("`{command}` advises nodes {nodes}");
                (nodes, told)
            }
        };
        let online = host.online_nodes();
        let offline = nodes.difference(&online);
        if offline.is_empty() {
            Ok((AdviceSource::Given(nodes), Some(told)))
        } else {
            Err(AdvisorError::Offline { advisor: self.to_string(), nodes: offline, online })
        }
    }
}

impl Numad {
    /// This program instead of the one in `PATH`.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Numad {
        Numad { program: program.into(), ..Numad::default() }
    }

    /// So much time instead of ten seconds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Numad {
        self.patience = patience;
        self
    }

    fn command(&self, vcpus: u32, mib: u64) -> String {
        format!("{} -w {vcpus}:{mib}", self.program.display())
    }

    /// The nodes for so many vCPUs and MiB.
    ///
    /// # Errors
    /// [`AdvisorError`]: there is no advice.
    pub fn ask(&self, vcpus: u32, mib: u64) -> Result<NodeSet, AdvisorError> {
        let deadline = Instant::now() + self.patience;
        let mut command = Command::new(&self.program);
        command.args(["-w", &format!("{vcpus}:{mib}")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => AdvisorError::NotInstalled(self.program.clone()),
            _ => AdvisorError::Run { program: self.program.clone(), source },
        })?;
        let outputs = [child.stdout.take().map(listen), child.stderr.take().map(listen)];
        let ended = heard(outputs, deadline).and_then(|said| Some((ended(&mut child, deadline)?, said)));
        let Some((status, [answer, said])) = ended else {
            // It may have ended in between, and then there is nobody to kill.
            child.kill().ok();
            child.wait().ok();
            return Err(AdvisorError::TimedOut { command: self.command(vcpus, mib), patience: self.patience });
        };
        if !status.success() {
            let said = shortened(said.lines().last().unwrap_or("it said nothing"));
            return Err(AdvisorError::Failed { command: self.command(vcpus, mib), status, said });
        }
        let nodes = answer.trim().parse().ok().filter(|nodes: &NodeSet| !nodes.is_empty());
        nodes.ok_or_else(|| AdvisorError::Garbage {
            command: self.command(vcpus, mib),
            answer: shortened(answer.trim()),
        })
    }
}

/// Reads on a thread of its own, so that nobody waits longer than he wants to.
fn listen(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (say, hear) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read is as good as what there is.
        pipe.take(LIMIT).read_to_end(&mut bytes).ok();
        // Nobody listens any more if it took too long.
        say.send(String::from_utf8_lossy(&bytes).into_owned()).ok();
    });
    hear
}

fn heard(outputs: [Option<mpsc::Receiver<String>>; 2], deadline: Instant) -> Option<[String; 2]> {
    let [answer, said] = outputs;
    let wait = |output: Option<mpsc::Receiver<String>>| {
        output?.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    };
    Some([wait(answer)?, wait(said)?])
}

fn ended(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{GuestShape, Kib};

    fn host() -> HostTopology {
        HostTopology::uniform(2, 4, Kib::from_gib(8)).build().unwrap()
    }

    fn guest() -> Request {
        Request::auto("g", GuestShape::flat(2, Kib(1024 * 512 - 1)))
    }

    /// A program that does this.
    fn fake(script: &str) -> (tempfile::TempDir, Numad) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("numad");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let numad = Numad::at(program);
        (dir, numad)
    }

    fn advised(script: &str) -> Result<(AdviceSource, Option<String>), AdvisorError> {
        let (_dir, numad) = fake(script);
        let advisor = Advisor::Numad(numad);
        loop {
            match advisor.advise(&host(), &guest()) {
                // Another test that forked at this moment has the file open for writing until it runs its own program.
                Err(AdvisorError::Run { source, .. }) if source.kind() == io::ErrorKind::ExecutableFileBusy => {}
                done => return done,
            }
        }
    }

    #[test]
    fn numad_is_asked_as_libvirt_asks_it() {
        let (source, told) = advised("test \"$*\" = '-w 2:512' && echo 0-1").unwrap();
        assert_eq!(source, AdviceSource::Given(NodeSet::of_range(0, 1)));
        assert!(told.unwrap().ends_with("-w 2:512` advises nodes 0-1"));
    }

    #[test]
    fn its_faults_are_told() {
        for (script, said) in [
            ("echo 'no such thing' >&2; exit 3", "failed (exit status: 3): no such thing"),
            ("exit 1", "it said nothing"),
            ("echo nodes", "answered 'nodes', which is no set of nodes"),
            ("", "answered ''"),
            ("printf '0\\n7-8\\n'", "answered '0 7-8'"),
            ("echo 99999999999", "no set of nodes"),
            ("head -c 60000 /dev/zero", "no set of nodes"),
            ("exec head -c 2000000 /dev/zero", "failed (signal: 13"),
            ("echo 1-3", "advises nodes 2-3, which are not online (online: 0-1)"),
        ] {
            let error = advised(script).unwrap_err().to_string();
            assert!(error.contains(said), "{script}: {error}");
        }
    }

    #[test]
    fn it_may_not_take_for_ever() {
        for script in ["exec sleep 600", "exec sleep 600 >&- 2>&-"] {
            let (_dir, numad) = fake(script);
            let numad = numad.patience(Duration::from_millis(200));
            let error = loop {
                match numad.ask(1, 1).unwrap_err() {
                    AdvisorError::Run { source, .. } if source.kind() == io::ErrorKind::ExecutableFileBusy => {}
                    error => break error,
                }
            };
            assert!(matches!(error, AdvisorError::TimedOut { .. }), "{script}: {error}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_or_not_one() {
        let error = Numad::at("/nowhere/numad").ask(1, 1).unwrap_err();
        assert!(error.to_string().contains("'/nowhere/numad' is not installed"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Numad::at(dir.path()).ask(1, 1), Err(AdvisorError::Run { .. })));
    }

    #[test]
    fn the_real_one() {
        let host = HostTopology::from_sysfs(std::path::Path::new("/")).unwrap();
        match Advisor::Numad(Numad::default()).advise(&host, &guest()) {
            Ok((source, _)) => assert!(matches!(source, AdviceSource::Given(nodes) if !nodes.is_empty())),
            Err(AdvisorError::NotInstalled(_)) => println!("skipped: numad is not installed"),
            // It keeps a log and locks, which only root may.
            Err(AdvisorError::Failed { said, .. }) => println!("skipped: numad cannot run here: {said}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn only_automatic_guests_are_advised() {
        let fixed = Request::new("g", GuestShape::flat(1, Kib::from_gib(1)));
        let never = Advisor::Numad(Numad::at("/nowhere/numad"));
        assert_eq!(never.advise(&host(), &fixed).unwrap().0, AdviceSource::Engine);
        let (source, told) = Advisor::Static(NodeSet::of_range(1, 1)).advise(&host(), &guest()).unwrap();
        assert_eq!(source, AdviceSource::Given(NodeSet::of_range(1, 1)));
        assert!(told.unwrap().contains("nodes 1"));
        assert_eq!(Advisor::Polyvirt.advise(&host(), &guest()).unwrap(), (AdviceSource::Engine, None));
        let absent = Advisor::Static(NodeSet::of_range(5, 5)).advise(&host(), &guest()).unwrap_err();
        assert!(absent.to_string().starts_with("static 5 advises nodes 5"), "{absent}");
    }

    #[test]
    fn settings_name_an_advisor() {
        let read = |text: &str| Advisor::from_setting(&serde_json::from_str(text).unwrap());
        assert_eq!(read("\"polyvirt\"").unwrap(), Advisor::Polyvirt);
        assert_eq!(read("\"numad\"").unwrap(), Advisor::Numad(Numad::default()));
        assert_eq!(read("{\"numad\":\"/opt/numad\"}").unwrap(), Advisor::Numad(Numad::at("/opt/numad")));
        assert_eq!(read("{\"static\":\"0-1\"}").unwrap(), Advisor::Static(NodeSet::of_range(0, 1)));
        for wrong in ["\"numa\"", "1", "{\"static\":\"1-0\"}", "{\"static\":\"\"}", "{\"numad\":\"\"}", "{}", "null"] {
            assert!(read(wrong).unwrap_err().to_string().contains("static ="), "{wrong}");
        }
    }
}
