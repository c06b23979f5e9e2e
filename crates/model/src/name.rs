//! Names of guests: what may stand in a file name, a log line and a command.

/// The longest name in bytes; file names made from it get a suffix and must stay below 255.
pub const MAX_NAME: usize = 200;

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing in it.
    #[error("the name is empty or only white space, give the guest a name")]
    Empty,
    /// It would be a path.
    #[error("'{0}' would be a path, a name has no '/' and is not '.' or '..'")]
    Path(String),
    /// It has a character that breaks lines, logs or C strings.
    #[error("the name has the control character U+{0:04X}, use printable characters")]
    Control(u32),
    /// It begins or ends with white space.
    #[error("'{0}' begins or ends with white space, remove it")]
    Space(String),
    /// It is too long.
    #[error("the name has {0} bytes, at most {MAX_NAME} are possible")]
    Long(usize),
}

/// Checks the name of a guest.
///
/// # Errors
/// What is wrong with it, the first in the order of [`NameError`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    let shown = || name.chars().take(60).flat_map(char::escape_debug).collect::<String>();
    if name.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if name.contains('/') || name == "." || name == ".." {
        return Err(NameError::Path(shown()));
    }
    if let Some(c) = name.chars().find(|c| c.is_control()) {
        return Err(NameError::Control(u32::from(c)));
    }
    if name.trim() != name {
        return Err(NameError::Space(shown()));
    }
    if name.len() > MAX_NAME {
        return Err(NameError::Long(name.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["a", "web-1", "Gast mit Leerzeichen", "äöü", "...", "-x", &"x".repeat(MAX_NAME)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn dangerous_names_are_refused() {
        assert_eq!(check_name(" \t"), Err(NameError::Empty));
        for name in ["../x", "a/b", ".", "..", "/"] {
            assert_eq!(check_name(name), Err(NameError::Path(name.to_owned())));
        }
        assert_eq!(check_name("a\nb"), Err(NameError::Control(10)));
        assert_eq!(check_name("a\0"), Err(NameError::Control(0)));
        assert_eq!(check_name(" a"), Err(NameError::Space(" a".to_owned())));
        assert_eq!(check_name(&"x".repeat(MAX_NAME + 1)), Err(NameError::Long(MAX_NAME + 1)));
    }
}
