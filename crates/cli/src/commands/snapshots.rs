//! Snapshots: `snapshot-…`.

use std::io::IsTerminal as _;

use polyvirt::{
    CreatedSnapshot, DeleteSnapshot, Error, ErrorKind, Guest, RevertOptions, RunState, SnapshotEntry, SnapshotList,
    SnapshotOptions,
    model::{FormatOptions, ParseOptions, Unknown, snapshot::DomainSnapshot},
};

use super::{Done, agent::date, edit as editor, jobs::watched, read_xml, tell_warnings};
use crate::{
    args::{
        DiskSpec, HowArgs, OneSnapshot, SnapshotCommand, SnapshotCreateArgs, SnapshotCreateAsArgs, SnapshotDeleteArgs,
        SnapshotEditArgs, SnapshotListArgs, SnapshotRevertArgs, Which,
    },
    failure::Failure,
    output::Output,
    progress::JobBar,
    render,
    session::Session,
};

pub(super) async fn snapshot(command: SnapshotCommand, session: &mut Session, out: &mut Output) -> Done {
    match command {
        SnapshotCommand::SnapshotCreate(args) => create(&args, session, out).await,
        SnapshotCommand::SnapshotCreateAs(args) => create_as(args, session, out).await,
        SnapshotCommand::SnapshotList(args) => list(&args, session, out).await,
        SnapshotCommand::SnapshotCurrent { which, name, security_info, snapshotname } => {
            current(&which, name, security_info, snapshotname.as_deref(), session, out).await
        }
        SnapshotCommand::SnapshotInfo(one) => info(&one, session, out).await,
        SnapshotCommand::SnapshotDumpxml { which, snapshotname, security_info } => {
            let guest = session.guest(&which.domain).await?;
            out.print(&guest.snapshot_xml(&snapshotname, security_info).await?);
            Ok(())
        }
        SnapshotCommand::SnapshotParent(one) => parent(&one, session, out).await,
        SnapshotCommand::SnapshotEdit(args) => edit(&args, session, out).await,
        SnapshotCommand::SnapshotRevert(args) => revert(&args, session, out).await,
        SnapshotCommand::SnapshotDelete(args) => delete(&args, session, out).await,
    }
}

/// What was done with a snapshot.
fn tell(guest: &Guest, name: &str, what: &str, out: &mut Output) {
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "uuid": guest.uuid(), "snapshot": name, "done": what }));
    }
    out.done(&format!("Domain snapshot {name} {what}"));
}

fn options(how: &HowArgs) -> Result<SnapshotOptions, Failure> {
    if how.live || how.reuse_external {
        let option = if how.live { "--live" } else { "--reuse-external" };
        let message = format!("{option} is for snapshots with files of their own, which are not made yet");
        return Err(Error::new(ErrorKind::Unsupported, message).hint("leave it out").into());
    }
    let options = SnapshotOptions::new().disk_only(how.disk_only).halt(how.halt).quiesce(how.quiesce);
    Ok(options.no_metadata(how.no_metadata))
}

/// Refuses what is not known, as `--validate` asks.
fn validate(xml: &str) -> Done {
    DomainSnapshot::from_xml(xml, &ParseOptions::with_unknown(Unknown::Reject)).map_err(Error::invalid_config)?;
    Ok(())
}

async fn create(args: &SnapshotCreateArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = args.file.as_deref().map(read_xml).transpose()?;
    if args.redefine {
        let xml = xml.unwrap_or_default();
        if args.how.validate {
            validate(&xml)?;
        }
        let guest = session.guest(&args.which.domain).await?;
        let defined = guest.redefine_snapshot(&xml, args.current).await?;
        tell_warnings(&defined.warnings, out);
        tell(&guest, &defined.name, "defined again", out);
        return Ok(());
    }
    let (guest, created) = take(&args.which, xml.as_deref(), &args.how, session, out).await?;
    let what =
        args.file.as_ref().map_or_else(|| "created".to_owned(), |file| format!("created from '{}'", file.display()));
    tell(&guest, &created.name, &what, out);
    Ok(())
}

async fn take(
    which: &Which,
    xml: Option<&str>,
    how: &HowArgs,
    session: &mut Session,
    out: &mut Output,
) -> Result<(Guest, CreatedSnapshot), Failure> {
    let options = options(how)?;
    if let Some(xml) = xml.filter(|_| how.validate) {
        validate(xml)?;
    }
    let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
    let guest = session.open(Some(bar.clone())).await?.lookup(&which.domain).await?;
    let created = watched(&guest, &bar, guest.create_snapshot(xml, options), out).await?;
    tell_warnings(&created.warnings, out);
    Ok((guest, created))
}

async fn create_as(args: SnapshotCreateAsArgs, session: &mut Session, out: &mut Output) -> Done {
    let mut snapshot = DomainSnapshot::default();
    snapshot.head.name = args.name;
    snapshot.head.description = args.description;
    snapshot.head.memory = args.memspec.map(|spec| spec.0);
    for DiskSpec(disk) in args.diskspec {
        snapshot.head.disks.get_or_insert_default().disk.push(disk);
    }
    let xml = snapshot.to_xml_with(FormatOptions::new());
    if args.print_xml {
        out.print(&xml);
        return Ok(());
    }
    let (guest, created) = take(&args.which, Some(&xml), &args.how, session, out).await?;
    tell(&guest, &created.name, "created", out);
    Ok(())
}

/// The name of the snapshot that is meant.
async fn name_of(guest: &Guest, one: &OneSnapshot) -> Result<String, Failure> {
    if let Some(name) = one.snapshot.as_deref() {
        return Ok(name.to_owned());
    }
    let snapshots = guest.snapshots().await?;
    Ok(snapshots.current().ok_or_else(|| no_current(guest))?.name.clone())
}

fn no_current(guest: &Guest) -> Failure {
    let message = format!("the guest '{}' has no current snapshot", guest.name());
    Error::new(ErrorKind::NotFound, message).hint("snapshot-current --snapshotname says which it is").into()
}

/// An entry of that name.
async fn entry_of(guest: &Guest, name: &str) -> Result<SnapshotEntry, Failure> {
    let snapshots = guest.snapshots().await?;
    match snapshots.get(name) {
        Some(entry) => Ok(entry.clone()),
        // What is wrong with it, in the words of who reads it.
        None => Err(match guest.snapshot_xml(name, false).await {
            Err(error) => error.into(),
            Ok(_) => Error::new(ErrorKind::NotFound, format!("there is no snapshot '{name}'")).into(),
        }),
    }
}

async fn current(
    which: &Which,
    name_only: bool,
    secrets: bool,
    set: Option<&str>,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let guest = session.guest(&which.domain).await?;
    if let Some(name) = set {
        guest.set_current_snapshot(name).await?;
        if out.json {
            out.json(&serde_json::json!({ "name": guest.name(), "uuid": guest.uuid(), "current": name }));
        }
        out.done(&format!("Snapshot {name} set as current"));
        return Ok(());
    }
    let snapshots = guest.snapshots().await?;
    let entry = snapshots.current().ok_or_else(|| no_current(&guest))?;
    if out.json {
        out.json(entry);
    } else if name_only {
        out.line(&entry.name);
    } else {
        out.print(&guest.snapshot_xml(&entry.name, secrets).await?);
    }
    Ok(())
}

async fn info(one: &OneSnapshot, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&one.which.domain).await?;
    let entry = entry_of(&guest, &name_of(&guest, one).await?).await?;
    if out.json {
        out.json(&entry);
        return Ok(());
    }
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let rows = [
        ("Name", entry.name.clone()),
        ("Domain", guest.name().to_owned()),
        ("Current", yes(entry.current)),
        ("State", entry.state.clone()),
        ("Location", if entry.external { "external" } else { "internal" }.to_owned()),
        ("Parent", entry.parent.clone().unwrap_or_else(|| "-".to_owned())),
        ("Children", entry.children.len().to_string()),
        ("Descendants", entry.descendants.to_string()),
        ("Metadata", "yes".to_owned()),
    ];
    for (key, value) in rows {
        out.line(&format!("{:<16}{value}", format!("{key}:")));
    }
    Ok(())
}

async fn parent(one: &OneSnapshot, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&one.which.domain).await?;
    let entry = entry_of(&guest, &name_of(&guest, one).await?).await?;
    if out.json {
        out.json(&serde_json::json!({ "snapshot": entry.name, "parent": entry.parent }));
        return Ok(());
    }
    match entry.parent {
        Some(parent) => out.line(&parent),
        None => {
            let message = format!("the snapshot '{}' follows none", entry.name);
            return Err(Error::new(ErrorKind::NotFound, message).into());
        }
    }
    Ok(())
}

async fn revert(args: &SnapshotRevertArgs, session: &mut Session, out: &mut Output) -> Done {
    if args.reset_nvram {
        let message = "the firmware's variables come back with the snapshot, and are not filled from their template";
        return Err(Error::new(ErrorKind::Unsupported, message).hint("leave --reset-nvram out").into());
    }
    let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
    let guest = session.open(Some(bar.clone())).await?.lookup(&args.one.which.domain).await?;
    let name = name_of(&guest, &args.one).await?;
    let state = match (args.running, args.paused) {
        (true, _) => Some(RunState::Running),
        (_, true) => Some(RunState::Paused),
        _ => None,
    };
    let options = RevertOptions::new().state(state).force(args.force);
    watched(&guest, &bar, guest.revert_to_snapshot(&name, options), out).await?;
    super::life::warn_weakened(&guest, out).await?;
    tell(&guest, &name, "reverted", out);
    Ok(())
}

async fn delete(args: &SnapshotDeleteArgs, session: &mut Session, out: &mut Output) -> Done {
    let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
    let guest = session.open(Some(bar.clone())).await?.lookup(&args.one.which.domain).await?;
    let name = name_of(&guest, &args.one).await?;
    let what = DeleteSnapshot::new().children(args.children).children_only(args.children_only).metadata(args.metadata);
    watched(&guest, &bar, guest.delete_snapshot(&name, what), out).await?;
    tell(&guest, &name, if args.children_only { "children deleted" } else { "deleted" }, out);
    Ok(())
}

async fn edit(args: &SnapshotEditArgs, session: &mut Session, out: &mut Output) -> Done {
    if args.rename || args.copy {
        let message = "images call a snapshot by its name, so it cannot get another one";
        return Err(Error::new(ErrorKind::Unsupported, message).hint("say what it is in its <description>").into());
    }
    let guest = session.guest(&args.one.which.domain).await?;
    let name = name_of(&guest, &args.one).await?;
    let before = guest.snapshot_xml(&name, true).await?;
    let is_current = guest.snapshots().await?.get(&name).is_some_and(|entry| entry.current);
    let file = editor::write_draft(&name, &before)?;
    loop {
        editor::run_editor(&file).await?;
        let after = std::fs::read_to_string(&file).map_err(|e| polyvirt::io_error("read", &file, e))?;
        if after == before {
            editor::remove(&file);
            out.done(&format!("Snapshot {name} XML configuration not changed."));
            return Ok(());
        }
        match store(&guest, &name, &before, &after, is_current || args.one.current).await {
            Ok(defined) => {
                editor::remove(&file);
                tell_warnings(&defined.warnings, out);
                if out.json {
                    out.json(&serde_json::json!({ "name": guest.name(), "snapshot": name, "done": "edited" }));
                }
                out.done(&format!("Snapshot {name} edited."));
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

/// Stores what was edited, if it is still of the same snapshot and nobody changed that meanwhile.
async fn store(
    guest: &Guest,
    name: &str,
    before: &str,
    after: &str,
    current: bool,
) -> Result<CreatedSnapshot, Failure> {
    let parsed = DomainSnapshot::from_xml(after, &ParseOptions::default()).map_err(Error::invalid_config)?;
    if parsed.config.head.name.as_deref() != Some(name) {
        let message = format!("the name '{name}' cannot be edited: images call the snapshot by it");
        return Err(Failure::argument(message));
    }
    if guest.snapshot_xml(name, true).await? != before {
        return Err(Failure::argument(format!("the snapshot '{name}' was changed by somebody else meanwhile")));
    }
    Ok(guest.redefine_snapshot(after, current).await?)
}

async fn list(args: &SnapshotListArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let all = guest.snapshots().await?;
    let from = match (&args.from, args.current) {
        (Some(name), _) => Some(entry_of(&guest, name).await?.name),
        (None, true) => Some(all.current().ok_or_else(|| no_current(&guest))?.name.clone()),
        (None, false) => None,
    };
    for problem in &all.problems {
        out.warning(problem);
    }
    if args.tree {
        if out.json {
            out.json(&all.entries);
        } else {
            tree(&all, from.as_deref(), out);
        }
        return Ok(());
    }
    let mut shown: Vec<&SnapshotEntry> = match &from {
        Some(from) => below(&all, from, args.descendants),
        None => all.entries.iter().collect(),
    };
    shown.retain(|entry| wanted(args, entry));
    if args.topological {
        let order = whole_order(&all);
        shown.sort_by_key(|entry| order.iter().position(|name| *name == entry.name));
    }
    if out.json {
        out.json(&shown);
    } else if args.name {
        shown.iter().for_each(|entry| out.line(&entry.name));
    } else {
        out.line(&table(&shown, args.parent, out.colors()));
    }
    Ok(())
}

fn table(shown: &[&SnapshotEntry], parents: bool, colors: bool) -> String {
    let header: &[&str] =
        if parents { &["Name", "Creation Time", "State", "Parent"] } else { &["Name", "Creation Time", "State"] };
    let mut table = render::table(header);
    for entry in shown {
        let created = format!("{} +0000", date(u64::try_from(entry.created).unwrap_or_default()));
        let mut row = vec![entry.name.clone(), created, render::state(&entry.state, colors)];
        if parents {
            row.push(entry.parent.clone().unwrap_or_default());
        }
        table.add_row(row);
    }
    render::table_text(&table)
}

fn wanted(args: &SnapshotListArgs, entry: &SnapshotEntry) -> bool {
    let of_disks = entry.state == "disk-snapshot";
    let off = entry.state == "shutoff";
    let states = [(args.inactive, off), (args.active, !off && !of_disks), (args.disk_only, of_disks)];
    let places = [(args.internal, entry.internal), (args.external, entry.external)];
    let any = |choices: &[(bool, bool)]| {
        !choices.iter().any(|(asked, _)| *asked) || choices.iter().any(|(asked, is)| *asked && *is)
    };
    any(&states)
        && any(&places)
        && (!args.roots || entry.parent.is_none())
        && (!args.leaves || entry.children.is_empty())
        && (!args.no_leaves || !entry.children.is_empty())
        && !args.no_metadata
}

/// Those that follow one; also those that follow these.
fn below<'a>(all: &'a SnapshotList, from: &str, descendants: bool) -> Vec<&'a SnapshotEntry> {
    let mut names: Vec<String> = all.get(from).map(|entry| entry.children.clone()).unwrap_or_default();
    let mut at = 0;
    while descendants && at < names.len() {
        let more = all.get(&names[at]).map(|entry| entry.children.clone()).unwrap_or_default();
        names.extend(more);
        at += 1;
    }
    // By name, as the list is.
    all.entries.iter().filter(|entry| names.contains(&entry.name)).collect()
}

/// All names, each after what it follows.
fn whole_order(all: &SnapshotList) -> Vec<String> {
    let mut order: Vec<String> =
        all.entries.iter().filter(|entry| entry.parent.is_none()).map(|entry| entry.name.clone()).collect();
    let mut at = 0;
    while let Some(name) = order.get(at).cloned() {
        order.extend(all.get(&name).map(|entry| entry.children.clone()).unwrap_or_default());
        at += 1;
    }
    order
}

/// A tree as virsh draws it.
fn tree(all: &SnapshotList, from: Option<&str>, out: &mut Output) {
    let roots: Vec<&SnapshotEntry> = match from {
        Some(name) => all.get(name).into_iter().collect(),
        None => all.entries.iter().filter(|entry| entry.parent.is_none()).collect(),
    };
    for root in roots {
        out.line(&root.name);
        branches(all, root, "  ", out);
        out.line("");
    }
}

fn branches(all: &SnapshotList, entry: &SnapshotEntry, before: &str, out: &mut Output) {
    // What is still to be drawn, the next one last: a tree of files may be deeper than a stack.
    let mut waiting: Vec<(String, String, bool)> = Vec::new();
    let push = |waiting: &mut Vec<(String, String, bool)>, entry: &SnapshotEntry, before: &str| {
        let last = entry.children.len().saturating_sub(1);
        let children = entry.children.iter().enumerate().rev();
        waiting.extend(children.map(|(at, name)| (name.clone(), before.to_owned(), at == last)));
    };
    push(&mut waiting, entry, before);
    while let Some((name, before, last)) = waiting.pop() {
        out.line(&format!("{before}|"));
        out.line(&format!("{before}+- {name}"));
        let deeper = if last { format!("{before}    ") } else { format!("{before}|   ") };
        if let Some(entry) = all.get(&name) {
            push(&mut waiting, entry, &deeper);
        }
    }
}
