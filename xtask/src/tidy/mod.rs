//! The rules no compiler checks. Each rule is one file here; what it allows is a table at its top.
//!
//! A finding names the place, what is wrong and what to do about it.

mod arrows;
mod dependencies;
mod documents;
mod layout;
mod sizes;
mod sources;

use std::{fmt, path::PathBuf};

use crate::checkout::Checkout;

/// Something that breaks a rule.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// A file or crate, with a line where there is one.
    place: String,
    what: String,
    remedy: String,
    is_warning: bool,
}

impl Finding {
    /// Warnings are shown; they fail nothing.
    pub(crate) fn is_warning(&self) -> bool {
        self.is_warning
    }

    fn error(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), remedy: remedy.into(), is_warning: false }
    }

    fn warning(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { is_warning: true, ..Self::error(place, what, remedy) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning" } else { "error" };
        write!(f, "{kind}: {}: {}\n  = {}", self.place, self.what, self.remedy)
    }
}

/// A file that is or may be committed.
pub(crate) struct SourceFile {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// `cargo xtask tidy`.
pub(crate) fn run(checkout: &Checkout) -> Result<bool, String> {
    let findings = check(checkout)?;
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|f| !f.is_warning).count();
    println!("tidy: {errors} errors, {} warnings", findings.len() - errors);
    Ok(errors == 0)
}

/// All findings, errors last.
pub(crate) fn check(checkout: &Checkout) -> Result<Vec<Finding>, String> {
    let paths = checkout.files()?;
    let files = read(checkout, &paths)?;
    let mut findings = layout::check(&checkout.packages, &paths, &files);
    findings.extend(arrows::check(&checkout.packages));
    findings.extend(dependencies::check(checkout)?);
    findings.extend(documents::check(&paths, &files));
    findings.extend(sizes::check(&files));
    findings.extend(sources::check(&files));
    findings.sort_by_key(|f| !f.is_warning);
    Ok(findings)
}

/// Reads those files that are text.
fn read(checkout: &Checkout, paths: &[PathBuf]) -> Result<Vec<SourceFile>, String> {
    let mut files = Vec::new();
    for path in paths {
        let bytes =
            std::fs::read(checkout.root.join(path)).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path: path.clone(), text });
        }
    }
    Ok(files)
}
