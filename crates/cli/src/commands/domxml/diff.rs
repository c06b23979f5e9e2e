//! `domxml diff`: how two definitions differ. Both are taken as stored and completed first, so that what one spells out and the other
//! leaves to the defaults is no difference.

use std::path::Path;

use polyvirt::{
    Error,
    model::{self, Change, DomainConfig, Guest as NewOrExisting, ParseOptions, Parsed, complete_and_check},
};

use super::super::{Done, read_xml, tell_warnings};
use crate::{failure::Failure, output::Output};

/// One of them cannot be read, as `diff` has it.
const TROUBLE: u8 = 2;

pub(super) fn diff(before: &Path, after: &Path, abi: bool, out: &mut Output) -> Done {
    let [before, after] = match both(before, after, out) {
        Ok(configs) => configs,
        Err(failure) => {
            failure.report(out);
            return Err(Failure::Told(TROUBLE));
        }
    };
    let all = model::diff(&before, &after);
    let stable = !all.iter().any(|change| change.guest);
    let shown: Vec<&Change> = all.iter().filter(|change| change.guest || !abi).collect();
    if out.json {
        out.json(&serde_json::json!({ "equal": all.is_empty(), "abi_stable": stable, "changes": shown }));
    } else {
        shown.iter().for_each(|change| out.line(&change.to_string()));
    }
    if shown.is_empty() { Ok(()) } else { Err(Failure::Told(1)) }
}

fn both(before: &Path, after: &Path, out: &mut Output) -> Result<[DomainConfig; 2], Failure> {
    let mut first = read(before, out)?;
    let mut second = read(after, out)?;
    // What is drawn where nothing is written would differ by chance.
    first.config.uuid = first.config.uuid.or(second.config.uuid);
    complete(before, &mut first, out)?;
    second.config.uuid = second.config.uuid.or(first.config.uuid);
    if let (Some(a), Some(b)) = (&first.config.genid, &mut second.config.genid) {
        b.id = b.id.or(a.id);
    }
    complete(after, &mut second, out)?;
    Ok([first.config, second.config])
}

fn read(file: &Path, out: &mut Output) -> Result<Parsed<DomainConfig>, Failure> {
    let mut parsed =
        DomainConfig::parse(&read_xml(file)?, &ParseOptions::default()).map_err(|problems| refused(file, problems))?;
    parsed.config.make_stored();
    tell_warnings(&parsed.warnings, out);
    Ok(parsed)
}

fn complete(file: &Path, parsed: &mut Parsed<DomainConfig>, out: &mut Output) -> Done {
    let warnings = complete_and_check(&mut parsed.config, NewOrExisting::Existing, &parsed.positions);
    tell_warnings(&warnings.map_err(|problems| refused(file, problems))?, out);
    Ok(())
}

fn refused(file: &Path, problems: model::Problems) -> Error {
    Error::invalid_config(problems).with("file", file.display())
}
