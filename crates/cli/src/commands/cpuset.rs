//! `cpuset`: algebra on sets.

use polyvirt::placement::CpuSet;

use super::Done;
use crate::{args::CpusetCommand, failure::Failure, output::Output};

pub(super) fn cpuset(command: &CpusetCommand, out: &mut Output) -> Done {
    let set = match command {
        CpusetCommand::Intersect { a, b } => parse(a)?.intersection(&parse(b)?),
        CpusetCommand::Subtract { a, b } => parse(a)?.difference(&parse(b)?),
        CpusetCommand::Union { a, b } => parse(a)?.union(&parse(b)?),
        CpusetCommand::Canonical { size, set } => {
            let parsed = parse(set)?;
            if let (Some(size), Some(last)) = (size, parsed.last())
                && last.0 >= *size
            {
                return Err(Failure::argument(format!(
                    "'{set}' goes up to {}, and only 0 to {} are allowed",
                    last.0,
                    i64::from(*size) - 1
                )));
            }
            parsed
        }
    };
    if out.json {
        out.json(&set);
    } else {
        out.line(&set.to_string());
    }
    Ok(())
}

fn parse(text: &str) -> Result<CpuSet, Failure> {
    text.parse().map_err(|e: polyvirt::placement::SetError| Failure::argument(e.to_string()))
}
