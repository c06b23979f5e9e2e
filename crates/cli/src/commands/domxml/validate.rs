//! `domxml validate`: every problem of files, as compilers tell them.

use std::path::{Path, PathBuf};

use polyvirt::{
    Error, ErrorKind,
    model::{Guest as NewOrExisting, ParseOptions, Unknown},
};

use super::super::{Done, read_xml};
use crate::{diagnostics::Diagnostic, failure::Failure, output::Output};

pub(super) fn validate(files: &[PathBuf], out: &mut Output) -> Done {
    let all: Vec<Diagnostic<'_>> = files.iter().flat_map(|file| diagnostics(file)).collect();
    let errors = all.iter().filter(|diagnostic| diagnostic.is_error()).count();
    if out.json {
        out.json(&serde_json::json!({ "valid": errors == 0, "problems": all }));
    } else {
        all.iter().for_each(|diagnostic| out.line(&diagnostic.line()));
    }
    if errors == 0 {
        return Ok(());
    }
    let (problems, of) = (if errors == 1 { "problem" } else { "problems" }, files.len());
    let message = match files {
        [file] => format!("{}: {errors} {problems}", file.display()),
        _ => format!("{errors} {problems} in {of} files"),
    };
    Err(Failure::Error(Error::new(ErrorKind::InvalidConfig, message)))
}

/// Everything that is wrong with a file; one that cannot be read is a problem among others.
fn diagnostics(file: &Path) -> Vec<Diagnostic<'_>> {
    let text = match read_xml(file) {
        Ok(text) => text,
        Err(failure) => return vec![Diagnostic::unreadable(file, failure.reason())],
    };
    let strict = ParseOptions::with_unknown(Unknown::Reject);
    let problems = match polyvirt::read_definition(&text, NewOrExisting::Existing, &strict) {
        Ok(read) => read.warnings,
        Err(problems) => problems,
    };
    problems.into_iter().map(|problem| Diagnostic::new(file, &text, problem)).collect()
}
