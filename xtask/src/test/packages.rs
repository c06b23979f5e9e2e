//! Installs what tests need from the system, or names it.

use crate::{
    debian,
    test::{Context, tally::Tally},
};

pub(super) fn run(cx: &Context<'_>) -> Result<Tally, String> {
    let missing = debian::missing(debian::GUEST.iter().chain(debian::LAB));
    if missing.is_empty() {
        return Ok(Tally::passed(1));
    }
    let why = if cx.may_install { debian::may_install().err() } else { Some("--no-install".to_owned()) };
    if let Some(why) = why {
        let reason = format!("not installed ({why}): {}; {}", debian::names(&missing), debian::remedy(&missing));
        return Ok(Tally::skipped("packages".to_owned(), reason));
    }
    // A registry that cannot be reached is no fault of this tree; what needs the packages says so by itself.
    match debian::install(&missing, cx.progress) {
        Ok(()) => Ok(Tally::passed(1).note(format!("installed {}", debian::names(&missing)))),
        Err(error) => {
            Ok(cx.cannot("packages", "packages", format!("{} cannot be installed: {error}", debian::names(&missing))))
        }
    }
}
