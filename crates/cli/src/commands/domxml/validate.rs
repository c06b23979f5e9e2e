//! `domxml validate`: every problem of files, as compilers tell them.

use polyvirt::model::{Guest as NewOrExisting, ParseOptions, Unknown};

use super::super::{Done, read_xml};
use crate::{failure::Failure, output::Output};

pub(super) fn validate(files: &[std::path::PathBuf], out: &mut Output) -> Done {
    let mut wrong = false;
    let mut all = Vec::new();
    for file in files {
        let xml = read_xml(file)?;
        let mut strict = ParseOptions::default();
        strict.unknown = Unknown::Reject;
        let problems = polyvirt::read_definition(&xml, NewOrExisting::Existing, &strict).err().unwrap_or_default();
        wrong |= !problems.is_empty();
        for problem in problems.iter() {
            if out.json {
                all.push(serde_json::json!({ "file": file, "problem": problem }));
            } else {
                let place = problem
                    .line
                    .zip(problem.column)
                    .map_or_else(String::new, |(line, column)| format!("{line}:{column}: "));
                out.line(&format!("{}:{place}{}: {}", file.display(), problem.path, problem.message));
            }
        }
    }
    if out.json {
        out.json(&all);
    }
    if wrong { Err(Failure::Told(1)) } else { Ok(()) }
}
