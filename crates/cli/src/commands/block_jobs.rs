//! `blockcommit`, `blockcopy`, `blockjob`, `blockpull`, `blockresize`, `domblkthreshold`.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use polyvirt::{
    BlockJobEnd, BlockJobReport, CommitOptions, CopyOptions, Error, ErrorKind, Guest, JobOutcome, JobProgress,
    PullOptions, StageObserver as _,
    model::{
        ParseOptions, XmlTree,
        device::Device,
        storage::{ImageFormat, Source, SourceKind},
    },
};

use super::{Done, life::tell, read_xml, sizes};
use crate::{
    args::{
        BlockCommand, BlockjobArgs, CommitArgs, CopyArgs, PullArgs, ResizeArgs, SpeedArgs, ThresholdArgs, WaitArgs,
    },
    failure::Failure,
    output::Output,
    progress::JobBar,
    session::Session,
};

/// How often a job is asked how far it is.
const TICK: Duration = Duration::from_millis(250);

/// On the heap: whole definitions are in these futures, and the caller has one of each command.
pub(super) fn block<'a>(
    command: BlockCommand,
    session: &'a mut Session,
    out: &'a mut Output,
) -> Pin<Box<dyn Future<Output = Done> + Send + 'a>> {
    Box::pin(async move { dispatch(command, session, out).await })
}

async fn dispatch(command: BlockCommand, session: &mut Session, out: &mut Output) -> Done {
    match command {
        BlockCommand::Blockcommit(args) => commit(&args, session, out).await,
        BlockCommand::Blockcopy(args) => copy(&args, session, out).await,
        BlockCommand::Blockjob(args) => job(&args, session, out).await,
        BlockCommand::Blockpull(args) => pull(&args, session, out).await,
        BlockCommand::Blockresize(args) => resize(&args, session, out).await,
        BlockCommand::Domblkthreshold(args) => threshold(&args, session, out).await,
    }
}

impl SpeedArgs {
    /// Bytes a second; 0: no limit.
    fn bytes_a_second(&self) -> Result<u64, Failure> {
        let usual = if self.bytes { 1 } else { 1 << 20 };
        self.bandwidth.as_deref().map_or(Ok(0), |text| sizes::bytes(text, usual))
    }
}

/// What becomes of a job that is in step with the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Leave,
    Pivot,
    Stay,
}

/// What is said of a job.
struct Words {
    started: &'static str,
    in_step: &'static str,
    done: &'static str,
    stayed: &'static str,
    aborted: &'static str,
}

/// A job that was begun, as its command waits for it.
struct Begun<'a> {
    guest: &'a Guest,
    disk: &'a str,
    words: Words,
    then: Then,
    wait: &'a WaitArgs,
}

async fn commit(args: &CommitArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.disk.which.domain).await?;
    let mut options = CommitOptions::default();
    (options.base, options.top) = (args.base.clone(), args.top.clone());
    (options.shallow, options.delete, options.relative) = (args.shallow, args.delete, args.keep_relative);
    options.active = args.active || args.pivot || args.keep_overlay;
    options.bandwidth = args.speed.bytes_a_second()?;
    guest.block_commit(&args.disk.path, options).await?;
    let then = match (args.pivot, args.keep_overlay) {
        (true, _) => Then::Pivot,
        (_, true) => Then::Stay,
        _ => Then::Leave,
    };
    let active = args.active || then != Then::Leave;
    let words = Words {
        started: if active { "Active Block Commit started" } else { "Block Commit started" },
        in_step: "Now in synchronized phase",
        done: "Commit complete",
        stayed: "Commit complete, overlay image kept",
        aborted: "Commit aborted",
    };
    Begun { guest: &guest, disk: &args.disk.path, words, then, wait: &args.wait }.finish(out).await
}

async fn pull(args: &PullArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.disk.which.domain).await?;
    let mut options = PullOptions::default();
    (options.base, options.relative) = (args.base.clone(), args.keep_relative);
    options.bandwidth = args.speed.bytes_a_second()?;
    guest.block_pull(&args.disk.path, options).await?;
    let words = Words {
        started: "Block Pull started",
        in_step: "",
        done: "Pull complete",
        stayed: "",
        aborted: "Pull aborted",
    };
    Begun { guest: &guest, disk: &args.disk.path, words, then: Then::Leave, wait: &args.wait }.finish(out).await
}

fn format_named(word: &str) -> Result<ImageFormat, Failure> {
    word.parse().map_err(|_| Failure::argument(format!("'{word}' is no format of images; use raw or qcow2")))
}

/// Where a copy goes to, and in which format.
fn destination(args: &CopyArgs) -> Result<CopyOptions, Failure> {
    let mut options = CopyOptions::default();
    if let Some(file) = &args.xml {
        let xml = read_xml(file)?;
        let parsed = Device::parse(&xml, &ParseOptions::default()).map_err(Error::invalid_config)?.0;
        let disk = parsed.alone().disks.first().cloned();
        let disk = disk.ok_or_else(|| Failure::argument(format!("{} has no <disk>", file.display())))?;
        options.kind = disk.kind;
        options.format = disk.driver.as_ref().and_then(|it| it.kind);
        options.source = disk.source.ok_or_else(|| Failure::argument("the <disk> has no <source>".to_owned()))?;
        return Ok(options);
    }
    let Some(path) = args.dest.as_ref().or(args.dest_word.as_ref()) else {
        return Err(Failure::Usage("blockcopy: name the destination, with --dest or --xml".to_owned()));
    };
    let path = std::path::absolute(path).map_err(|error| Failure::argument(format!("{}: {error}", path.display())))?;
    let path = path.to_string_lossy().into_owned();
    let mut source = Source::default();
    if args.blockdev {
        (options.kind, source.dev) = (Some(SourceKind::Block), Some(path));
    } else {
        source.file = Some(path);
    }
    options.source = source;
    options.format = args.format.as_deref().map(format_named).transpose()?;
    Ok(options)
}

/// The destination as XML; of one on a server what its XML said is known already.
fn described(options: &CopyOptions) -> String {
    let mut disk = XmlTree::new("disk");
    let kind = options.kind.unwrap_or(SourceKind::File);
    disk.attributes.push(("type".to_owned(), kind.to_string()));
    if let Some(format) = options.format {
        let mut driver = XmlTree::new("driver");
        driver.attributes.push(("type".to_owned(), format.to_string()));
        disk.children.push(driver);
    }
    let mut source = XmlTree::new("source");
    let named = [("file", &options.source.file), ("dev", &options.source.dev), ("name", &options.source.name)];
    source.attributes.extend(named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
    disk.children.push(source);
    disk.to_string()
}

async fn copy(args: &CopyArgs, session: &mut Session, out: &mut Output) -> Done {
    let mut options = destination(args)?;
    if args.print_xml {
        out.line(&described(&options));
        return Ok(());
    }
    (options.shallow, options.reuse) = (args.shallow, args.reuse_external);
    (options.granularity, options.buffer, options.synchronous) =
        (args.granularity.filter(|it| *it > 0), args.buf_size.filter(|it| *it > 0), args.synchronous_writes);
    options.bandwidth = args.speed.bytes_a_second()?;
    let guest = session.guest(&args.disk.which.domain).await?;
    guest.block_copy(&args.disk.path, options).await?;
    let then = match (args.pivot, args.finish) {
        (true, _) => Then::Pivot,
        (_, true) => Then::Stay,
        _ => Then::Leave,
    };
    let words = Words {
        started: "Block Copy started",
        in_step: "Now in mirroring phase",
        done: "Copy complete",
        stayed: "Successfully copied",
        aborted: "Copy aborted",
    };
    Begun { guest: &guest, disk: &args.disk.path, words, then, wait: &args.wait }.finish(out).await
}

/// How waiting ended.
enum Waited {
    Over(BlockJobReport),
    InStep,
    /// It is to be ended: why.
    Enough(&'static str),
}

impl Begun<'_> {
    /// Waits if that was asked for, and says what became of it.
    async fn finish(&self, out: &mut Output) -> Done {
        if !(self.wait.wait || self.wait.timeout.is_some() || self.then != Then::Leave) {
            return self.say(self.words.started, out).await;
        }
        let bar = JobBar::new(out.err_is_terminal() && !out.quiet && !out.json);
        let waited = self.watch(&bar).await;
        bar.finish();
        match waited? {
            Waited::Over(report) => self.over(&report, out).await,
            Waited::InStep if self.then == Then::Leave => self.say(self.words.in_step, out).await,
            Waited::InStep => {
                let (how, words) = match self.then {
                    Then::Pivot => (BlockJobEnd::Pivot, "Successfully pivoted"),
                    _ => (BlockJobEnd::Stay, self.words.stayed),
                };
                self.guest.end_block_job(self.disk, how, true).await?;
                let report = self.guest.block_job(self.disk).await?;
                match report.and_then(|it| it.outcome) {
                    Some(JobOutcome::Completed) | None => self.say(words, out).await,
                    Some(outcome) => Err(self.failed(&outcome)),
                }
            }
            Waited::Enough(why) => {
                self.guest.end_block_job(self.disk, BlockJobEnd::Stay, !self.wait.no_wait).await?;
                let state = if self.wait.no_wait { "its end was asked for" } else { "it is ended" };
                let message =
                    format!("{}: {why}; {state}, and the guest stays on the images that it had", self.words.aborted);
                Err(Failure::Error(Error::new(ErrorKind::Cancelled, message)))
            }
        }
    }

    async fn watch(&self, bar: &JobBar) -> Result<Waited, Failure> {
        let until = self.wait.timeout.map(|it| Instant::now() + Duration::from_secs(it));
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let now = self.guest.block_job(self.disk).await?;
            let Some(now) = now else {
                return Err(Failure::argument(format!("the job of '{}' is gone", self.disk)));
            };
            if now.outcome.is_some() {
                return Ok(Waited::Over(now));
            }
            if now.ready {
                return Ok(Waited::InStep);
            }
            let guest = polyvirt::GuestRef::new(self.guest.name(), self.guest.uuid().to_string(), None);
            bar.progress(&guest, now.kind.job(), &JobProgress::of(now.done, now.total));
            if until.is_some_and(|it| Instant::now() >= it) {
                return Ok(Waited::Enough("the time is up"));
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                done = &mut interrupted => {
                    done?;
                    return Ok(Waited::Enough("interrupted"));
                }
            }
        }
    }

    async fn over(&self, report: &BlockJobReport, out: &mut Output) -> Done {
        match &report.outcome {
            Some(JobOutcome::Completed) | None => self.say(self.words.done, out).await,
            Some(outcome) => Err(self.failed(outcome)),
        }
    }

    fn failed(&self, outcome: &JobOutcome) -> Failure {
        let (kind, why) = match outcome {
            JobOutcome::Failed(why) => (ErrorKind::Hypervisor, why.as_str()),
            _ => (ErrorKind::Cancelled, "somebody ended it"),
        };
        let message = format!("{}: {why}; the guest stays on the images that it had", self.words.aborted);
        Failure::Error(Error::new(kind, message).with("disk", self.disk))
    }

    async fn say(&self, words: &str, out: &mut Output) -> Done {
        if out.json {
            let report = self.guest.block_job(self.disk).await?;
            out.json(
                &serde_json::json!({ "name": self.guest.name(), "disk": self.disk, "job": report.as_ref().map(shown) }),
            );
        }
        out.done(words);
        Ok(())
    }
}

fn shown(report: &BlockJobReport) -> serde_json::Value {
    serde_json::json!({
        "id": report.id, "disk": report.disk, "type": report.kind.name(), "step": report.step.name(), "ready": report.ready,
        "bandwidth": report.bandwidth, "cur": report.done, "end": report.total, "outcome": report.outcome,
    })
}

async fn job(args: &BlockjobArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.disk.which.domain).await?;
    let disk = args.disk.path.as_str();
    if args.pivot || args.abort || args.no_wait {
        let how = if args.pivot { BlockJobEnd::Pivot } else { BlockJobEnd::Stay };
        guest.end_block_job(disk, how, !args.no_wait).await?;
        let report = guest.block_job(disk).await?;
        if out.json {
            out.json(&serde_json::json!({ "name": guest.name(), "disk": disk, "job": report.as_ref().map(shown) }));
        }
        if let Some(JobOutcome::Failed(why)) = report.and_then(|it| it.outcome) {
            return Err(Failure::Error(Error::new(
                ErrorKind::Hypervisor,
                format!("the job of '{disk}' failed: {why}"),
            )));
        }
        return Ok(());
    }
    if args.speed.bandwidth.is_some() {
        guest.limit_block_job(disk, args.speed.bytes_a_second()?).await?;
        return Ok(());
    }
    let report = guest.block_job(disk).await?;
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "disk": disk, "job": report.as_ref().map(shown) }));
        return Ok(());
    }
    match report.filter(|it| it.outcome.is_none()) {
        // As virsh: nothing.
        None if args.raw => {}
        None => out.line(&format!("No current block job for {disk}")),
        Some(now) if args.raw => {
            let (kind, bandwidth) = (now.kind.name(), now.bandwidth);
            out.line(&format!(" type={kind}\n bandwidth={bandwidth}\n cur={}\n end={}", now.done, now.total));
        }
        Some(now) => out.line(&line(&now, args.speed.bytes)),
    }
    Ok(())
}

/// As virsh shows it.
fn line(now: &BlockJobReport, bytes: bool) -> String {
    let share = JobProgress::of(now.done, now.total).share();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
    let percent = (share * 100.0) as u32;
    // Whole is only what follows the guest.
    let percent = if now.ready { 100 } else { percent.min(99) };
    let mut line = format!("{}: [{percent:>3} %]", now.kind.name());
    if now.bandwidth > 0 {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let mib = now.bandwidth as f64 / f64::from(1 << 20);
        line.push_str(&if bytes {
            format!("    Bandwidth limit: {} bytes/s", now.bandwidth)
        } else {
            format!("    Bandwidth limit: {} bytes/s ({mib:.3} MiB/s)", now.bandwidth)
        });
    }
    line
}

async fn resize(args: &ResizeArgs, session: &mut Session, out: &mut Output) -> Done {
    let bytes = sizes::bytes(&args.size, 1024)?;
    let guest = session.guest(&args.disk.which.domain).await?;
    guest.block_resize(&args.disk.path, bytes).await?;
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "disk": args.disk.path, "bytes": bytes }));
    }
    out.done(&format!("Block device '{}' is resized", args.disk.path));
    Ok(())
}

async fn threshold(args: &ThresholdArgs, session: &mut Session, out: &mut Output) -> Done {
    let bytes = sizes::bytes(&args.threshold, 1)?;
    let guest = session.guest(&args.which.domain).await?;
    guest.set_block_threshold(&args.dev, bytes).await?;
    tell(&guest, "threshold set", out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use polyvirt::{BlockJobKind, JobStep};

    use super::*;

    #[test]
    fn a_job_is_whole_when_it_is_in_step() {
        let mut report = BlockJobReport::new("commit-vda-1", "vda", BlockJobKind::ActiveCommit, JobStep::Streaming);
        (report.done, report.total) = (5, 10);
        assert_eq!(line(&report, false), "Active Block Commit: [ 50 %]");
        (report.done, report.bandwidth) = (10, 3 << 19);
        assert_eq!(
            line(&report, false),
            "Active Block Commit: [ 99 %]    Bandwidth limit: 1572864 bytes/s (1.500 MiB/s)"
        );
        report.ready = true;
        assert_eq!(line(&report, true), "Active Block Commit: [100 %]    Bandwidth limit: 1572864 bytes/s");
    }
}
