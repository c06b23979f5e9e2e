//! `edit`: the stored definition in an editor, stored again only when it is right.

use std::io::{IsTerminal as _, Write as _};

use polyvirt::model::Change;

use super::{Done, tell_warnings};
use crate::{args::Which, failure::Failure, output::Output, session::Session};

/// So many changes are named in a warning.
const SHOWN: usize = 8;

pub(super) async fn edit(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let connection = session.connection().await?;
    let guest = connection.lookup(&which.domain).await?;
    let before = guest.xml_with_secrets(polyvirt::Which::Stored).await?;
    let file = write_draft(guest.name(), &before)?;
    loop {
        run_editor(&file).await?;
        let after = std::fs::read_to_string(&file).map_err(|e| polyvirt::io_error("read", &file, e))?;
        if after == before {
            remove(&file);
            out.done(&format!("Domain '{}' XML configuration not changed.", guest.name()));
            return Ok(());
        }
        match store(&connection, &guest, &before, &after, out).await {
            Ok(defined) => {
                remove(&file);
                tell_warnings(&defined.warnings, out);
                out.done(&format!("Domain '{}' XML configuration edited.", guest.name()));
                return Ok(());
            }
            Err(failure) => {
                // The work of the person is never lost: again, or it stays in the file.
                let again = std::io::stdin().is_terminal() && out.err_is_terminal();
                failure.report(out);
                if !again || !ask_again()? {
                    out.message(&format!("  your version is kept in {}\n", file.display()));
                    return Err(Failure::Told(1));
                }
            }
        }
    }
}

/// Stores `after` if the definition is still the one that was edited and the guest keeps its identity.
async fn store(
    connection: &polyvirt::Connection,
    guest: &polyvirt::Guest,
    before: &str,
    after: &str,
    out: &mut Output,
) -> Result<polyvirt::Defined, Failure> {
    let prepared = connection.prepare(after).await?;
    if prepared.config.name != guest.name() || prepared.config.uuid != Some(guest.uuid()) {
        return Err(Failure::argument(format!(
            "name and UUID of '{}' cannot be edited; define another guest instead",
            guest.name()
        )));
    }
    if guest.xml_with_secrets(polyvirt::Which::Stored).await? != before {
        return Err(Failure::argument(format!(
            "the definition of '{}' was changed by somebody else meanwhile",
            guest.name()
        )));
    }
    // What is stored now may be older than today's completion: both are compared as they would be stored now.
    match connection.prepare(before).await {
        Ok(old) => tell_changes(&polyvirt::model::diff(&old.config, &prepared.config), out),
        Err(_) => out.warning("the stored definition is broken, so what changes is not shown"),
    }
    Ok(connection.define(after).await?)
}

/// What will change, and whether the guest will see it.
fn tell_changes(changes: &[Change], out: &mut Output) {
    for change in changes {
        out.done(&format!("  {change}"));
    }
    let seen: Vec<&str> =
        changes.iter().filter(|change| change.guest).map(|change| change.subject.as_str()).take(SHOWN).collect();
    if !seen.is_empty() {
        let more = if changes.iter().filter(|change| change.guest).count() > SHOWN { " …" } else { "" };
        out.warning(&format!("the guest will see other hardware: {}{more}", seen.join(", ")));
    }
}

pub(super) fn write_draft(name: &str, text: &str) -> Result<std::path::PathBuf, Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).take(60).collect();
    let file = std::env::temp_dir().join(format!("polyvirt-{safe}-{}.xml", std::process::id()));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(|e| polyvirt::io_error("write", &file, e))?;
    Ok(file)
}

pub(super) fn remove(file: &std::path::Path) {
    // A draft that stays behind harms nobody.
    let _ = std::fs::remove_file(file);
}

pub(super) async fn run_editor(file: &std::path::Path) -> Done {
    let editor =
        ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.trim().is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // The variable may hold options, `code --wait`, so a shell splits it, as git does.
    let status = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("editor")
        .arg(file)
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::argument(format!(
            "the editor '{editor}' ended with {status}; your version is in {}",
            file.display()
        ))),
        Err(error) => Err(Failure::argument(format!("the editor '{editor}' cannot be run: {error}; set EDITOR"))),
    }
}

pub(super) fn ask_again() -> Result<bool, Failure> {
    eprint!("Edit again? [Y/n] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(!answer.trim().to_lowercase().starts_with('n'))
}
