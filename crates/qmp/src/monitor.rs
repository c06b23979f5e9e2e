//! The connection's handle.

use std::{fmt, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, split},
    net::UnixStream,
    sync::{broadcast, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    CloseReason, Command, Events, QmpError,
    codec::{Message, parse, protocol, read_line},
    descriptor::Outgoing,
    tasks::{self, Request, Shared},
};

/// Bounds of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Bytes of the longest line taken from QEMU; 64 MiB unless set. `query-qmp-schema` takes about 0.3 MiB.
    pub max_line: usize,
    /// Events kept for a slow listener; 256 unless set.
    pub events: usize,
    /// Bytes of the longest event; 256 KiB unless set.
    pub max_event: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_line: 64 << 20, events: 256, max_event: 256 << 10 }
    }
}

/// Which QEMU speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QemuVersion {
    qemu: Triple,
    /// The distributor's version, if any.
    #[serde(default)]
    pub package: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Triple {
    major: u32,
    minor: u32,
    micro: u32,
}

impl QemuVersion {
    /// A release, of no distributor.
    #[must_use]
    pub fn new(major: u32, minor: u32, micro: u32) -> Self {
        Self { qemu: Triple { major, minor, micro }, package: String::new() }
    }

    /// The first number.
    pub fn major(&self) -> u32 {
        self.qemu.major
    }

    /// The second number.
    pub fn minor(&self) -> u32 {
        self.qemu.minor
    }

    /// The third number.
    pub fn micro(&self) -> u32 {
        self.qemu.micro
    }

    /// Whether it is this release or a later one.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.qemu.major, self.qemu.minor) >= (major, minor)
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Triple { major, minor, micro } = self.qemu;
        write!(out, "{major}.{minor}.{micro}")?;
        if self.package.is_empty() { Ok(()) } else { write!(out, " ({})", self.package) }
    }
}

/// A connection to a QEMU. Dropping it closes the connection; QEMU runs on.
///
/// It belongs to the tokio runtime in which it was made. QEMU serves one client per monitor: a second
/// one waits, ungreeted, until the first is gone.
#[derive(Debug)]
pub struct Monitor {
    version: QemuVersion,
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    events: broadcast::WeakSender<crate::Event>,
    tasks: [JoinHandle<()>; 2],
}

impl Monitor {
    /// Connects to the socket `path` and greets, all within `deadline`.
    ///
    /// # Errors
    /// [`QmpError::Connect`] if nobody listens, [`QmpError::Timeout`] if somebody does and keeps silent, and
    /// [`QmpError::Closed`] if what is said is no QMP.
    pub async fn connect(path: &Path, deadline: Duration) -> Result<(Self, Events), QmpError> {
        let greeting = async {
            let stream = UnixStream::connect(path)
                .await
                .map_err(|source| QmpError::Connect { path: path.into(), source: Arc::new(source) })?;
            let (reader, writer) = stream.into_split();
            Self::greet(reader, Outgoing::Socket(writer), Options::default()).await
        };
        timeout(deadline, greeting)
            .await
            .unwrap_or(Err(QmpError::Timeout { command: "greeting".into(), after: deadline }))
    }

    /// Greets over a connection that exists, such as one end of a socket pair. It carries no descriptors.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn over<S>(stream: S, options: Options, deadline: Duration) -> Result<(Self, Events), QmpError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = split(stream);
        let greeting = Self::greet(reader, Outgoing::Bytes(Box::new(writer)), options);
        timeout(deadline, greeting)
            .await
            .unwrap_or(Err(QmpError::Timeout { command: "greeting".into(), after: deadline }))
    }

    async fn greet(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: Outgoing,
        options: Options,
    ) -> Result<(Self, Events), QmpError> {
        let mut reader = BufReader::with_capacity(64 << 10, reader);
        let mut line = Vec::new();
        let closed = |reason| QmpError::Closed(Arc::new(reason));
        if !read_line(&mut reader, &mut line, options.max_line).await.map_err(closed)? {
            return Err(closed(CloseReason::EndOfFile));
        }
        let version = match parse(&line).map_err(closed)? {
            Message::Greeting(greeting) => greeting.version,
            _ => return Err(closed(protocol("the first line is no greeting", &line))),
        };
        let (requests, queue) = mpsc::channel(64);
        let (event_sender, events) = broadcast::channel(options.events.max(1));
        let shared = Arc::new(Shared::default());
        let weak = event_sender.downgrade();
        let reading = tasks::Reading {
            max_line: options.max_line,
            max_event: options.max_event,
            shared: shared.clone(),
            events: event_sender,
        };
        let tasks = [tokio::spawn(reading.run(reader)), tokio::spawn(tasks::write(writer, queue, shared.clone()))];
        let monitor = Self { version, requests, shared, events: weak, tasks };
        // Under the deadline of the whole greeting.
        monitor.execute(&crate::QmpCapabilities {}, Duration::MAX).await?;
        Ok((monitor, Events(events)))
    }

    /// Which QEMU it is, from its greeting.
    pub fn version(&self) -> &QemuVersion {
        &self.version
    }

    /// Executes a command and waits for its reply, at most for `deadline`.
    ///
    /// Dropping the future abandons the wait; QEMU executes the command if it was sent.
    ///
    /// # Errors
    /// Any of [`QmpError`] but `Connect`.
    pub async fn execute<C: Command>(&self, command: &C, deadline: Duration) -> Result<C::Reply, QmpError> {
        let reply = self.call(C::NAME, command, None, deadline).await?;
        serde_json::from_str(reply.get())
            .map_err(|error| QmpError::Unexpected { command: C::NAME.into(), problem: error.to_string() })
    }

    /// Executes a command that a descriptor goes with, such as [`GetFd`](crate::GetFd). Ours is closed when it was sent.
    ///
    /// # Errors
    /// As [`Self::execute`]; the connection ends with [`CloseReason::Io`] if it carries no descriptors.
    pub async fn execute_with<C: Command>(
        &self,
        command: &C,
        descriptor: OwnedFd,
        deadline: Duration,
    ) -> Result<C::Reply, QmpError> {
        let reply = self.call(C::NAME, command, Some(descriptor), deadline).await?;
        serde_json::from_str(reply.get())
            .map_err(|error| QmpError::Unexpected { command: C::NAME.into(), problem: error.to_string() })
    }

    /// Executes a command that has no type here, with its arguments as an object, or null for none.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn execute_raw(&self, name: &str, arguments: &Value, deadline: Duration) -> Result<Value, QmpError> {
        let reply = self.call(name, arguments, None, deadline).await?;
        serde_json::from_str(reply.get())
            .map_err(|error| QmpError::Unexpected { command: name.into(), problem: error.to_string() })
    }

    async fn call(
        &self,
        name: &str,
        arguments: &impl Serialize,
        descriptor: Option<OwnedFd>,
        deadline: Duration,
    ) -> Result<Box<RawValue>, QmpError> {
        let ticket = self.shared.enter()?;
        let id = ticket.id;
        let line = request_line(name, arguments, id)
            .map_err(|error| QmpError::Encode { command: name.into(), problem: error.to_string() })?;
        let answered = async {
            // Fails only when the writer has ended, and then the reason is known.
            self.requests.send(Request { id, line, descriptor }).await.map_err(|_| self.closed_error())?;
            ticket.wait().await.ok_or_else(|| self.closed_error())
        };
        match timeout(deadline, answered).await {
            Err(_) => Err(QmpError::Timeout { command: name.into(), after: deadline }),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Ok(reply))) => Ok(reply),
            Ok(Ok(Err((class, description)))) => Err(QmpError::Refused { command: name.into(), class, description }),
        }
    }

    fn closed_error(&self) -> QmpError {
        QmpError::Closed(self.shared.close_reason().unwrap_or_else(|| Arc::new(CloseReason::Shutdown)))
    }

    /// A further listener, for events from now on.
    ///
    /// # Errors
    /// [`QmpError::Closed`].
    pub fn subscribe(&self) -> Result<Events, QmpError> {
        self.events.upgrade().map(|sender| Events(sender.subscribe())).ok_or_else(|| self.closed_error())
    }

    /// Why the connection is over; `None` while it stands.
    pub fn close_reason(&self) -> Option<Arc<CloseReason>> {
        self.shared.close_reason()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    execute: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
    id: u64,
}

fn request_line(name: &str, arguments: &impl Serialize, id: u64) -> serde_json::Result<Vec<u8>> {
    let arguments = serde_json::value::to_raw_value(arguments)?;
    let arguments = Some(&*arguments).filter(|it| !matches!(it.get(), "{}" | "null"));
    let mut line = serde_json::to_vec(&Wire { execute: name, arguments, id })?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
