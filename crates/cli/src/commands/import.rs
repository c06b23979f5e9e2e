//! `import`: guests come over from libvirt.

use std::path::Path;

use polyvirt::{
    Error, ErrorKind,
    import::{self, Candidate, Directory, Import, Options, Step},
};
use serde_json::{Value, json};

use super::Done;
use crate::{args::ImportArgs, output::Output, picture::measure::clean, progress::Counted, session::Session};

pub(super) async fn import(args: &ImportArgs, session: &mut Session, out: &mut Output) -> Done {
    session.choose(args.driver, args.root.as_deref())?;
    let directory = Directory::read(&args.directory).await?;
    let connection = session.connection().await?;
    let progress = Counted::new(out.err_is_terminal() && !out.quiet && !out.json, directory.definitions.len());
    let options = Options::default().replace(args.replace);
    let told = |done| progress.reached("looking at definitions", done);
    let mut import = import::plan(&connection, directory, options, &told).await?;
    if !args.dry_run {
        import.apply(&connection, &|done| progress.reached("defining guests", done)).await;
    }
    progress.finish();
    if out.json {
        out.json(&document(&import, args.dry_run, &connection.uri().to_string()));
    } else {
        tell(&import, args.dry_run, out);
    }
    verdict(&import)
}

fn verdict(import: &Import) -> Done {
    let (refused, all) = (import.refused().count(), import.guests.len());
    if refused == 0 {
        return Ok(());
    }
    let message = format!("{refused} of {all} definitions in {} were refused", import.directory.display());
    Err(Error::new(ErrorKind::InvalidConfig, message).into())
}

/// What a guest will notice, in a word.
fn likeness(candidate: &Candidate) -> &'static str {
    let differences = &candidate.differences;
    match &candidate.step {
        Err(_) => "refused",
        _ if differences.guest_notices() => "differs",
        _ if differences.is_empty() => "same",
        _ => "completed",
    }
}

fn tell(import: &Import, dry: bool, out: &mut Output) {
    let ascii = out.style().ascii;
    if import.guests.is_empty() {
        out.warning(&format!("there is no definition of a guest in {}", import.directory.display()));
    }
    for candidate in &import.guests {
        let lines = lines(candidate, &import.directory, dry);
        let silent = out.quiet && matches!(likeness(candidate), "same" | "completed");
        for line in lines.iter().filter(|_| !silent) {
            out.line(&clean(line, ascii));
        }
    }
    for other in &import.not_taken {
        let path = other.path.strip_prefix(&import.directory).unwrap_or(&other.path);
        out.done(&clean(&format!("not taken: {} ({})", path.display(), other.why), ascii));
    }
    let count = |word| import.guests.iter().filter(|it| likeness(it) == word).count();
    let (same, completed, differing) = (count("same"), count("completed"), count("differs"));
    let done = if dry { "could be imported" } else { "imported" };
    out.done(&format!(
        "{} of {} {done}: {same} the same, {completed} completed, {differing} different for the guest; {} refused",
        same + completed + differing,
        import.guests.len(),
        count("refused")
    ));
}

fn lines(candidate: &Candidate, directory: &Path, dry: bool) -> Vec<String> {
    let file = candidate.file.strip_prefix(directory).unwrap_or(&candidate.file).display();
    let name = candidate.name.clone().unwrap_or_else(|| file.to_string());
    let mut lines = Vec::new();
    match &candidate.step {
        Err(error) => {
            lines.push(format!("{name}: refused ({file}): {error}"));
            let problems = error.problems().into_iter().flat_map(|problems| problems.errors()).skip(1);
            lines.extend(problems.map(|problem| format!("  refused: {problem}")));
            lines.extend(error.remedy().map(|remedy| format!("  try: {remedy}")));
        }
        Ok(step) => {
            let step = match (step, dry) {
                (Step::Define, false) => "defined",
                (Step::Define, true) => "can be defined",
                (Step::Replace, false) => "replaced",
                (Step::Replace, true) => "can be replaced",
                _ => "is here already",
            };
            let like = match likeness(candidate) {
                "same" => "the same",
                "differs" => "different for the guest",
                _ => "the same for the guest, completed",
            };
            let mark = if candidate.autostart { ", starts with the host" } else { "" };
            lines.push(format!("{name}: {step}, {like}{mark}"));
        }
    }
    let it = &candidate.differences;
    lines.extend(it.guest.iter().map(|change| format!("  differs: {change}")));
    lines.extend(it.lost.iter().map(|problem| format!("  lost: {problem}")));
    lines.extend(it.completed.iter().map(|change| format!("  completed: {change}")));
    lines.extend(it.host.iter().map(|change| format!("  host: {change}")));
    lines.extend(it.unused.iter().map(|problem| format!("  unused: {problem}")));
    lines.extend(candidate.replaced.iter().map(|change| format!("  against the one here: {change}")));
    lines.extend(candidate.notes.iter().map(|note| format!("  note: {note}")));
    lines
}

fn document(import: &Import, dry: bool, uri: &str) -> Value {
    let guests: Vec<Value> = import.guests.iter().map(of_candidate).collect();
    let others: Vec<Value> =
        import.not_taken.iter().map(|it| json!({ "path": it.path.to_string_lossy(), "why": it.why })).collect();
    json!({
        "directory": import.directory.to_string_lossy(), "uri": uri, "dry_run": dry, "guests": guests, "not_taken": others,
    })
}

fn of_candidate(candidate: &Candidate) -> Value {
    let step = candidate.step.as_ref().ok().map(|step| match step {
        Step::Define => "define",
        Step::Replace => "replace",
        _ => "keep",
    });
    let error = candidate.step.as_ref().err().map(|error| {
        json!({
            "kind": error.kind().name(), "message": error.message(), "remedy": error.remedy(), "problems": error.problems(),
        })
    });
    let it = &candidate.differences;
    json!({
        "file": candidate.file.to_string_lossy(), "name": candidate.name, "uuid": candidate.uuid,
        "autostart": candidate.autostart, "outcome": likeness(candidate), "step": step, "error": error,
        "differs": it.guest, "lost": it.lost, "completed": it.completed, "host": it.host, "unused": it.unused,
        "replaced": candidate.replaced, "notes": candidate.notes,
    })
}
