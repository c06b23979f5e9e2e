//! Jobs: how far they are, and their end.

use polyvirt::{Error, ErrorKind, Guest, JobOutcome, JobReport};

use super::{Done, life::tell};
use crate::{
    args::{JobInfoArgs, Which},
    failure::Failure,
    output::Output,
    progress::JobBar,
    session::Session,
};

/// Waits for a job. Ctrl+C asks for its end, and then it is waited for: it says what state it left.
pub(super) async fn watched<T>(
    guest: &Guest,
    bar: &JobBar,
    job: impl Future<Output = polyvirt::Result<T>>,
    out: &mut Output,
) -> Result<T, Failure> {
    let mut job = std::pin::pin!(job);
    let done = tokio::select! {
        done = &mut job => done,
        _ = tokio::signal::ctrl_c() => {
            bar.says("ending it");
            match guest.abort_job().await {
                Ok(_) => {}
                // It has not begun, or is over.
                Err(error) if error.kind() == ErrorKind::InvalidState => {}
                Err(error) => out.warning(&format!("the job cannot be ended: {error}")),
            }
            tokio::select! {
                done = &mut job => done,
                _ = tokio::signal::ctrl_c() => Err(Error::new(ErrorKind::Cancelled, "interrupted before the job had ended")
                    .hint(format!("`polyvirt domstate {}` settles what is left of it", guest.name()))),
            }
        }
    };
    bar.finish();
    Ok(done?)
}

pub(super) async fn info(args: &JobInfoArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let last = guest.last_job().await?;
    let shown = if args.completed || args.keep_completed {
        last.filter(|it| it.outcome == Some(JobOutcome::Completed) || (args.anystats && it.outcome.is_some()))
    } else {
        last.filter(|it| it.is_under_way() || args.anystats)
    };
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "job": shown }));
        return Ok(());
    }
    let Some(job) = shown else {
        out.line(&format!("{:<17} None", "Job type:"));
        return Ok(());
    };
    for (key, value) in rows(&job) {
        out.line(&format!("{:<17} {value}", format!("{key}:")));
    }
    Ok(())
}

/// As virsh shows them.
fn rows(job: &JobReport) -> Vec<(&'static str, String)> {
    let kind = match &job.outcome {
        None if job.progress.total > 0 => "Bounded",
        None => "Unbounded",
        Some(JobOutcome::Completed) => "Completed",
        Some(JobOutcome::Cancelled) => "Cancelled",
        Some(_) => "Failed",
    };
    let mut rows = vec![("Job type", kind.to_owned()), ("Operation", job.kind.name().to_owned())];
    rows.push(("Time elapsed", format!("{:<12} ms", job.elapsed.as_millis())));
    let progress = &job.progress;
    if progress.total > 0 {
        rows.push(("Data processed", size(progress.processed)));
        rows.push(("Data remaining", size(progress.remaining)));
        rows.push(("Data total", size(progress.total)));
    }
    rows.extend(progress.bandwidth.map(|it| ("Memory bandwidth", format!("{}/s", size(it)))));
    rows.extend(progress.page_size.map(|it| ("Page size", format!("{it:<12} bytes"))));
    rows.extend(progress.iteration.map(|it| ("Iteration", it.to_string())));
    rows.extend(progress.constant_pages.map(|it| ("Constant pages", it.to_string())));
    rows.extend(progress.normal_pages.map(|it| ("Normal pages", it.to_string())));
    if let Some(JobOutcome::Failed(why)) = &job.outcome {
        rows.push(("Error message", why.clone()));
    }
    if job.outcome.is_none() {
        rows.push(("Step", job.step.map_or("start", polyvirt::JobStep::name).to_owned()));
        rows.push(("Owner", job.owner.to_string()));
    }
    rows
}

/// Bytes with the unit that leaves the fewest digits before the point.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{:<12} {}", format!("{value:.3}"), UNITS[unit])
}

pub(super) async fn abort(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    let kind = guest.abort_job().await?;
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "uuid": guest.uuid(), "asked": kind }));
    } else if !out.quiet {
        tell(&guest, &format!("was asked to end its {}", kind.name().to_lowercase()), out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        let shown =
            [0, 1023, 1024, 34 << 20, u64::MAX].map(|it| size(it).split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(shown, ["0.000 B", "1023.000 B", "1.000 KiB", "34.000 MiB", "16384.000 PiB"]);
    }
}
