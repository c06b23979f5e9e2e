//! Names of snapshots and checkpoints: each is a file in a directory of its guest's, and a tag in its images.

use super::MomentParent;
use crate::name::{NameError, check_name};

/// Why the name of a snapshot or checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MomentNameError {
    /// No name of a file.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It would be a hidden file.
    #[error("'{0}' begins with a dot, which hides files; begin with another character")]
    Hidden(String),
}

/// Checks the name of a snapshot or checkpoint.
///
/// # Errors
/// What is wrong with it.
pub fn check_moment_name(name: &str) -> Result<(), MomentNameError> {
    check_name(name)?;
    if name.starts_with('.') {
        return Err(MomentNameError::Hidden(name.chars().take(60).collect()));
    }
    Ok(())
}

/// Checks the name and that of the parent.
pub(crate) fn names(
    root: &str,
    name: Option<&str>,
    parent: Option<&MomentParent>,
    error: &mut dyn FnMut(&str, String),
) {
    match name {
        None => error(&format!("/{root}"), "it has no name: write <name>, or say when it was taken".to_owned()),
        Some(name) => {
            if let Err(why) = check_moment_name(name) {
                error(&format!("/{root}/name"), why.to_string());
            }
        }
    }
    if let Some(parent) = parent {
        let path = format!("/{root}/parent/name");
        if let Err(why) = check_moment_name(&parent.name) {
            error(&path, why.to_string());
        } else if name == Some(parent.name.as_str()) {
            error(&path, format!("'{}' cannot be its own parent", parent.name));
        }
    }
}
