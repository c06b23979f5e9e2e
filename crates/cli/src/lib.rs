//! The `polyvirt` command: virsh's names, options and meanings where virsh has them, and what it lacks beside them.
//!
//! A command is a value and a function that writes into the two streams it is given; nothing here decides anything about
//! guests. Exit status: 0 done, 1 refused or failed (the reason in one line on stderr), 2 wrong usage.
//!
//! Invariants: every message goes to stderr, every answer to stdout; with `--json` the answer is one JSON document.

mod args;
mod commands;
mod diagnostics;
mod failure;
mod named;
mod output;
mod picture;
mod progress;
mod render;
mod session;
mod settings;
#[cfg(test)]
mod virsh;

use std::{process::ExitCode, sync::Arc};

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::{args::Cli, commands::Recordings, failure::Failure, output::Output, session::Session};

/// Bytes of the stack that commands run on. Without optimization whoever chooses the command has what each of them needs on it, some MiB,
/// and a batch has that twice.
const STACK: usize = 64 << 20;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let mut out = Output::standard();
    let argv: Vec<_> = std::env::args_os().collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out.error_line(&format!("cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    let work = || runtime.block_on(run(argv, &mut out, Arc::default()));
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        thread.map(|it| it.join().unwrap_or(101))
    });
    let status = match done {
        Ok(status) => status,
        Err(error) => {
            out.error_line(&format!("cannot start: {error}"));
            1
        }
    };
    // A console or an event stream may leave a read of stdin behind; nobody waits for it.
    runtime.shutdown_background();
    ExitCode::from(status)
}

/// Runs one command line and gives its exit status.
pub(crate) async fn run(argv: Vec<std::ffi::OsString>, out: &mut Output, recordings: Arc<Recordings>) -> u8 {
    let commands = named::for_line(Cli::command(), &argv);
    let cli = match commands.try_get_matches_from(argv).and_then(|it| Cli::from_arg_matches(&it)) {
        Ok(cli) => cli,
        Err(error) => {
            let text = if out.colors() { error.render().ansi().to_string() } else { error.render().to_string() };
            if error.use_stderr() {
                out.message(&reason_in_one_line(&text))
            } else {
                out.print(&text)
            }
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    out.configure(&cli.global);
    start_log(&cli.global);
    let done = match Session::new(&cli.global, recordings) {
        Ok(mut session) => commands::run(cli.command, &mut session, out).await,
        Err(failure) => Err(failure),
    };
    match done.and_then(|()| out.flush().map_err(Failure::from)) {
        Ok(()) => 0,
        Err(failure) => failure.report(out),
    }
}

/// What is missing stands on lines of its own behind a colon: the first line is to say it all.
fn reason_in_one_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if !first.ends_with(':') {
        return text.to_owned();
    }
    let listed: Vec<&str> = text.lines().skip(1).take_while(|line| line.starts_with("  ")).map(str::trim).collect();
    let rest: String = lines.skip(listed.len()).map(|line| format!("{line}\n")).collect();
    format!("{first} {}\n{rest}", listed.join(" "))
}

/// Messages of the library go to stderr: warnings, or more with `-v` or `RUST_LOG`. The first call in a process decides.
fn start_log(global: &args::Global) {
    use tracing_subscriber::{EnvFilter, fmt};
    let level = match global.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // A batch runs many commands in one process: only the first can set this.
    let _ = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .try_init();
}
