//! `desc`, `metadata`, `set-lifecycle-action`, `domrename`.

use polyvirt::{LifecycleEvent, model::LifecycleAction, no_metadata};

use super::{
    Done,
    edit::{remove, run_editor, write_draft},
    tune::{affect, config_of},
};
use crate::{
    args::{DescArgs, LifecycleArgs, MetadataArgs, RenameArgs, Stopping},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn desc(args: &DescArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let kind = if args.title { "title" } else { "description" };
    let config = config_of(&guest, args.affect).await?;
    let now = if args.title { config.title.clone() } else { config.description.clone() };
    let new = match (args.words.is_empty(), args.edit) {
        (true, false) => {
            if out.json {
                out.json(&serde_json::json!({ kind: now }));
                return Ok(());
            }
            match now {
                Some(text) => out.line(&text),
                None => out.done(&format!("No {kind} for domain: {}", guest.name())),
            }
            return Ok(());
        }
        (_, true) => match edited(guest.name(), now.as_deref().unwrap_or_default()).await? {
            Some(text) => text,
            None => {
                out.done(&format!("Domain {kind} not changed"));
                return Ok(());
            }
        },
        (false, _) => args.words.join(" "),
    };
    let new = Some(new).filter(|it| !it.is_empty());
    if args.title {
        guest.set_title(new, affect(args.affect)).await?;
    } else {
        guest.set_description(new, affect(args.affect)).await?;
    }
    out.done(&format!("Domain {kind} updated successfully"));
    Ok(())
}

/// What a person made of a text in an editor; `None`: the same.
async fn edited(name: &str, before: &str) -> Result<Option<String>, Failure> {
    let file = write_draft(name, before)?;
    run_editor(&file).await?;
    let after = std::fs::read_to_string(&file).map_err(|e| polyvirt::io_error("read", &file, e))?;
    remove(&file);
    // Editors end a file with a line break of their own.
    let after = after.strip_suffix('\n').unwrap_or(&after);
    Ok((after != before.strip_suffix('\n').unwrap_or(before)).then(|| after.to_owned()))
}

pub(super) async fn metadata(args: &MetadataArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let affect = affect(args.affect);
    let key = args.key.as_deref().unwrap_or_default();
    if args.remove {
        guest.set_metadata(&args.uri, key, None, affect).await?;
        out.done("Metadata removed");
        return Ok(());
    }
    if let Some(xml) = &args.set {
        guest.set_metadata(&args.uri, key, Some(xml), affect).await?;
        out.done("Metadata modified");
        return Ok(());
    }
    let now = config_of(&guest, args.affect).await?.metadata_element(&args.uri).map(|it| it.to_string());
    if args.edit {
        let Some(xml) = edited(guest.name(), now.as_deref().unwrap_or_default()).await? else {
            out.done("Metadata not changed");
            return Ok(());
        };
        guest.set_metadata(&args.uri, key, Some(&xml), affect).await?;
        out.done("Metadata modified");
        return Ok(());
    }
    let xml = now.ok_or_else(|| Failure::Error(no_metadata(&args.uri)))?;
    if out.json {
        out.json(&serde_json::json!({ "uri": args.uri, "xml": xml }));
        return Ok(());
    }
    out.line(xml.trim_end());
    Ok(())
}

pub(super) async fn lifecycle(args: &LifecycleArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let event = match args.event {
        Stopping::Poweroff => LifecycleEvent::Poweroff,
        Stopping::Reboot => LifecycleEvent::Reboot,
        Stopping::Crash => LifecycleEvent::Crash,
    };
    let action: LifecycleAction = args.action.parse().map_err(|_| {
        Failure::argument(format!(
            "there is no action '{}'; use destroy, restart, rename-restart, preserve, coredump-destroy or coredump-restart",
            args.action
        ))
    })?;
    guest.set_lifecycle_action(event, action, affect(args.affect)).await?;
    out.done("lifecycle action updated");
    Ok(())
}

pub(super) async fn rename(args: &RenameArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let renamed = guest.rename(&args.new).await?;
    out.done(&format!("Domain successfully renamed: '{}' is '{}' now", guest.name(), renamed.name()));
    Ok(())
}
