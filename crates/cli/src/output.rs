//! Where answers and messages go: this process's streams, or buffers for `batch`.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use crate::{
    args::{ColorChoice, Global},
    picture::style::Style,
};

/// The two streams of a command and how to write to them.
pub(crate) struct Output {
    out: Stream,
    err: Stream,
    color: bool,
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// No messages about success.
    pub(crate) quiet: bool,
    /// Warnings that were not written yet: the first line of stderr is the reason of a failure.
    warnings: Vec<String>,
    broken: Option<io::Error>,
}

enum Stream {
    Out(io::BufWriter<io::Stdout>),
    Err(io::Stderr),
    Buffer(Vec<u8>),
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Out(s) => s.write(bytes),
            Self::Err(s) => s.write(bytes),
            Self::Buffer(s) => s.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Out(s) => s.flush(),
            Self::Err(s) => s.flush(),
            Self::Buffer(_) => Ok(()),
        }
    }
}

impl Output {
    /// The streams of this process.
    pub(crate) fn standard() -> Self {
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            out: Stream::Out(io::BufWriter::new(io::stdout())),
            err: Stream::Err(io::stderr()),
            color,
            json: false,
            quiet: false,
            warnings: Vec::new(),
            broken: None,
        }
    }

    /// Buffers, read back with [`Output::take`].
    pub(crate) fn buffers() -> Self {
        Self {
            out: Stream::Buffer(Vec::new()),
            err: Stream::Buffer(Vec::new()),
            color: false,
            json: false,
            quiet: false,
            warnings: Vec::new(),
            broken: None,
        }
    }

    /// Applies the global options.
    pub(crate) fn configure(&mut self, global: &Global) {
        self.json = global.json;
        self.quiet = global.quiet;
        match global.color {
            ColorChoice::Auto => {}
            ColorChoice::Always => self.color = true,
            ColorChoice::Never => self.color = false,
        }
    }

    /// Whether to colour.
    pub(crate) fn colors(&self) -> bool {
        self.color && !self.json
    }

    /// How pictures are written: drawn for a terminal or where colours are asked for, else as plain text.
    pub(crate) fn style(&self) -> Style {
        match self.out {
            Stream::Out(_) => Style::of_stdout(self.colors()),
            _ => Style::plain(),
        }
    }

    /// Whether messages go to a person.
    pub(crate) fn err_is_terminal(&self) -> bool {
        matches!(&self.err, Stream::Err(s) if s.is_terminal())
    }

    /// What was written to buffers: stdout and stderr.
    pub(crate) fn take(mut self) -> (String, String) {
        self.write_warnings();
        let text = |stream| match stream {
            Stream::Buffer(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            _ => String::new(),
        };
        (text(self.out), text(self.err))
    }

    fn keep(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.broken.get_or_insert(error);
        }
    }

    /// Writes an answer as it is.
    pub(crate) fn print(&mut self, text: &str) {
        let done = self.out.write_all(text.as_bytes());
        self.keep(done);
    }

    /// Writes a line of an answer.
    pub(crate) fn line(&mut self, text: &str) {
        self.print(text);
        self.print("\n");
    }

    /// Writes a JSON document.
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(&text),
            Err(error) => self.keep(Err(error.into())),
        }
    }

    /// Says that something was done; nothing with `--quiet` or `--json`.
    pub(crate) fn done(&mut self, text: &str) {
        if !self.quiet && !self.json {
            self.line(text);
        }
    }

    /// Writes to stderr as it is.
    pub(crate) fn message(&mut self, text: &str) {
        let done = self.err.write_all(text.as_bytes());
        self.keep(done);
    }

    /// Writes `error: …` to stderr, in one line.
    pub(crate) fn error_line(&mut self, text: &str) {
        self.message(&format!("error: {}\n", text.replace('\n', " ")));
    }

    /// Warns, unless `--quiet`: `warning: …` on stderr, behind the reason if the command fails.
    pub(crate) fn warning(&mut self, text: &str) {
        if !self.quiet {
            self.warnings.push(text.to_owned());
        }
    }

    /// Warnings that were not written yet, for whoever tells them in another way.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn write_warnings(&mut self) {
        let warnings = self.take_warnings();
        if self.json && !warnings.is_empty() {
            let document = serde_json::json!({ "warnings": warnings });
            self.message(&format!("{document:#}\n"));
            return;
        }
        for warning in warnings {
            self.message(&format!("warning: {warning}\n"));
        }
    }

    /// Pushes everything out now.
    ///
    /// # Errors
    /// The first failure of any write.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write_warnings();
        let done = self.out.flush().and_then(|()| self.err.flush());
        self.keep(done);
        self.broken.take().map_or(Ok(()), Err)
    }
}
