//! Guests in files: `save`, `restore`, `save-image-…`, `managedsave-…`.

use std::{io::IsTerminal as _, path::Path};

use polyvirt::{
    AfterDump, Connection, DumpOptions, Error, ErrorKind, Guest, RestoreOptions, RunState, SaveOptions, SavedImage,
};

use super::{Done, edit as editor, jobs::watched, life::tell, read_xml};
use crate::{
    args::{
        DumpArgs, ManagedDefineArgs, ManagedDumpArgs, ManagedEditArgs, ManagedSaveArgs, RestoreArgs, SaveArgs,
        SavedDefineArgs, SavedDumpArgs, SavedEditArgs, Which,
    },
    failure::Failure,
    output::Output,
    progress::JobBar,
    session::Session,
};

/// The XML of an option.
fn given_xml(file: Option<&Path>) -> Result<Option<String>, Failure> {
    file.map(read_xml).transpose()
}

pub(super) async fn save(args: &SaveArgs, session: &mut Session, out: &mut Output) -> Done {
    let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
    let guest = session.open(Some(bar.clone())).await?.lookup(&args.which.domain).await?;
    let xml = given_xml(args.xml.as_deref())?;
    let options = SaveOptions::new().bypass_cache(args.bypass_cache).xml(xml).state(args.state.wanted());
    watched(&guest, &bar, guest.save(&args.file, options), out).await?;
    tell(&guest, &format!("saved to {}", args.file.display()), out);
    Ok(())
}

pub(super) async fn managedsave(args: &ManagedSaveArgs, session: &mut Session, out: &mut Output) -> Done {
    let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
    let guest = session.open(Some(bar.clone())).await?.lookup(&args.which.domain).await?;
    let options = SaveOptions::new().bypass_cache(args.bypass_cache).state(args.state.wanted());
    watched(&guest, &bar, guest.managed_save(options), out).await?;
    tell(&guest, "state saved", out);
    Ok(())
}

pub(super) async fn restore(args: &RestoreArgs, session: &mut Session, out: &mut Output) -> Done {
    let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
    let connection = session.open(Some(bar.clone())).await?;
    let xml = given_xml(args.xml.as_deref())?;
    let options = RestoreOptions::new().bypass_cache(args.bypass_cache).xml(xml).state(args.state.wanted());
    let restored = tokio::select! {
        restored = connection.restore(&args.file, options) => restored,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bar.says("ending it");
            Err(interrupted_restore(&connection, &args.file).await?)
        }
    };
    bar.finish();
    let guest = restored?;
    super::life::warn_weakened(&guest, out).await?;
    if out.json {
        out.json(
            &serde_json::json!({ "name": guest.name(), "uuid": guest.uuid(), "file": args.file, "done": "restored" }),
        );
    }
    out.done(&format!("Domain restored from {}", args.file.display()));
    Ok(())
}

/// Ends what a restore has started, and says what is there then; the file is as it was.
async fn interrupted_restore(connection: &Connection, file: &Path) -> polyvirt::Result<Error> {
    let name = connection.saved_image(file).await?.config.name;
    let file = file.display();
    let ended = async {
        let guest = connection.lookup_by_name(&name).await?;
        match guest.destroy(polyvirt::Destroy::default()).await {
            // It had not come that far.
            Err(error) if error.kind() == ErrorKind::InvalidState => Ok(()),
            other => other,
        }
    };
    Ok(match ended.await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let message = format!("interrupted, and '{name}' could not be ended; {file} is as it was");
            Error::new(ErrorKind::Cancelled, message)
                .hint(format!("`polyvirt domstate {name}` says what it does"))
                .source(error)
        }
        _ => Error::new(ErrorKind::Cancelled, format!("interrupted: '{name}' does not run, and {file} is as it was")),
    })
}

pub(super) async fn dump(args: &DumpArgs, session: &mut Session, out: &mut Output) -> Done {
    if args.live {
        let error = Error::new(ErrorKind::Unsupported, "a guest's CPUs stand while its memory is written");
        return Err(error.hint("leave --live out: the guest goes on by itself when its core is written").into());
    }
    let after = match (args.crash, args.reset) {
        (true, _) => AfterDump::End,
        (_, true) => AfterDump::Reset,
        _ => AfterDump::GoOn,
    };
    let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
    let guest = session.open(Some(bar.clone())).await?.lookup(&args.which.domain).await?;
    let options = DumpOptions::new().format(args.format.into()).after(after).bypass_cache(args.bypass_cache);
    watched(&guest, &bar, guest.core_dump(&args.file, options), out).await?;
    tell(&guest, &format!("dumped to {}", args.file.display()), out);
    Ok(())
}

fn print(image: &SavedImage, secrets: bool, out: &mut Output) {
    out.print(&if secrets { image.xml_with_secrets() } else { image.xml() });
}

pub(super) async fn dumpxml(args: &SavedDumpArgs, session: &mut Session, out: &mut Output) -> Done {
    let image = session.connection().await?.saved_image(&args.file).await?;
    print(&image, args.security_info, out);
    Ok(())
}

pub(super) async fn managed_dumpxml(args: &ManagedDumpArgs, session: &mut Session, out: &mut Output) -> Done {
    let image = session.guest(&args.which.domain).await?.managed_image().await?;
    print(&image, args.security_info, out);
    Ok(())
}

pub(super) async fn define(args: &SavedDefineArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.xml)?;
    let connection = session.connection().await?;
    connection.redefine_saved_image(&args.file, Some(&xml), args.state.wanted()).await?;
    updated(&args.file, out);
    Ok(())
}

fn updated(file: &Path, out: &mut Output) {
    if out.json {
        out.json(&serde_json::json!({ "file": file, "done": "updated" }));
    }
    out.done(&format!("State file {} updated.", file.display()));
}

pub(super) async fn managed_define(args: &ManagedDefineArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.xml)?;
    let guest = session.guest(&args.which.domain).await?;
    guest.redefine_managed_save(Some(&xml), args.state.wanted()).await?;
    tell(&guest, "managed save state file updated.", out);
    Ok(())
}

pub(super) async fn managed_remove(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    if !guest.has_managed_save().await? {
        // As virsh has it: what shall not be there is not there.
        tell(&guest, "has no managed save image; removal skipped", out);
        return Ok(());
    }
    guest.remove_managed_save().await?;
    tell(&guest, "managed save image removed", out);
    Ok(())
}

pub(super) async fn edit(args: &SavedEditArgs, session: &mut Session, out: &mut Output) -> Done {
    let connection = session.connection().await?;
    let image = connection.saved_image(&args.file).await?;
    edit_image(&connection, &image, args.state.wanted(), out).await
}

pub(super) async fn managed_edit(args: &ManagedEditArgs, session: &mut Session, out: &mut Output) -> Done {
    let connection = session.connection().await?;
    let guest: Guest = connection.lookup(&args.which.domain).await?;
    let image = guest.managed_image().await?;
    edit_image(&connection, &image, args.state.wanted(), out).await
}

async fn edit_image(connection: &Connection, image: &SavedImage, state: Option<RunState>, out: &mut Output) -> Done {
    let before = image.xml_with_secrets();
    let file = editor::write_draft(&image.config.name, &before)?;
    loop {
        editor::run_editor(&file).await?;
        let after = std::fs::read_to_string(&file).map_err(|e| polyvirt::io_error("read", &file, e))?;
        if after == before && state.is_none() {
            editor::remove(&file);
            out.done(&format!("Saved image {} XML configuration not changed.", image.path.display()));
            return Ok(());
        }
        let stored = store(connection, image, &before, (after != before).then_some(after.as_str()), state).await;
        match stored {
            Ok(()) => {
                editor::remove(&file);
                updated(&image.path, out);
                return Ok(());
            }
            Err(failure) => {
                let again = std::io::stdin().is_terminal() && out.err_is_terminal();
                failure.report(out);
                if !again || !editor::ask_again()? {
                    out.message(&format!("  your version is kept in {}\n", file.display()));
                    return Err(Failure::Told(1));
                }
            }
        }
    }
}

/// Stores what was edited, if the file still holds what was shown.
async fn store(
    connection: &Connection,
    image: &SavedImage,
    before: &str,
    after: Option<&str>,
    state: Option<RunState>,
) -> Result<(), Failure> {
    if connection.saved_image(&image.path).await?.xml_with_secrets() != before {
        let message = format!("the definition in {} was changed by somebody else meanwhile", image.path.display());
        return Err(Failure::argument(message));
    }
    connection.redefine_saved_image(&image.path, after, state).await?;
    Ok(())
}
