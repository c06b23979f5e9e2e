//! What a failure of the child is called: it reports numbers, the values stand in the spec.

use std::{io, path::Path, path::PathBuf};

use crate::{
    Limit, Resource, SpawnError, SpawnSpec,
    step::{Report, Step},
};

/// The values that can appear in an error.
#[derive(Debug)]
pub(crate) struct Words {
    program: PathBuf,
    directory: PathBuf,
    affinity: String,
    memory_policy: String,
    limits: Vec<(Resource, Limit)>,
    uid: u32,
    gid: u32,
}

impl Words {
    pub(crate) fn of(spec: &SpawnSpec) -> Self {
        let policy = spec.memory_policy.as_ref();
        Self {
            program: spec.program.clone(),
            directory: spec.directory.clone(),
            affinity: spec.affinity.as_ref().map(ToString::to_string).unwrap_or_default(),
            memory_policy: policy.map(|it| format!("{:?} of nodes {}", it.mode, it.nodes)).unwrap_or_default(),
            limits: spec.limits.clone(),
            uid: spec.credentials.as_ref().map_or(0, |who| who.uid),
            gid: spec.credentials.as_ref().map_or(0, |who| who.gid),
        }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn failure(self, report: Report) -> SpawnError {
        let what = self.of_step(report.step, usize::from(report.index));
        let source = io::Error::from_raw_os_error(report.errno);
        SpawnError::Child { program: self.program, step: report.step, what, source }
    }

    fn of_step(&self, step: Step, index: usize) -> String {
        match step {
            Step::Descriptors => "arrange its descriptors (closing ranges of them needs Linux 5.9)".into(),
            Step::Signals => "reset its signals".into(),
            Step::Session => "start a session".into(),
            Step::Cgroup => format!("join the cgroup file number {index}"),
            Step::Affinity => format!("set its CPU affinity to {}", self.affinity),
            Step::MemoryPolicy => format!("set its memory policy to {}", self.memory_policy),
            Step::Limit => match self.limits.get(index) {
                Some((resource, limit)) => format!("set the limit {resource:?} to {limit:?}"),
                None => "set a resource limit".into(),
            },
            Step::Gate => "wait at its gate".into(),
            Step::Groups => "set its supplementary groups".into(),
            Step::Gid => format!("become group {}", self.gid),
            Step::Uid => format!("become user {}", self.uid),
            Step::Directory => format!("enter the directory '{}' as the user it runs as", self.directory.display()),
            Step::NoNewPrivs => "give up new privileges".into(),
            Step::Exec => format!("execute '{}'", self.program.display()),
        }
    }
}
