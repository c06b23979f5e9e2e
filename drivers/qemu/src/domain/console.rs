//! Opening a guest's serial ports and consoles.

use std::path::{Path, PathBuf};

use polyvirt_core::{
    ByteStream, Consoles, DeviceRef, Error, ErrorKind, Result, async_trait, io_error,
    model::chardev::{CharBackend, CharMode},
};
use polyvirt_process::Terminal;
use polyvirt_qmp::QueryChardev;
use tokio::net::UnixStream;

use super::QemuDomain;
use crate::command::{ConsoleTarget, backend_of, console_target};

#[async_trait]
impl Consoles for QemuDomain {
    async fn open(&self, console: &DeviceRef) -> Result<ByteStream> {
        let config = &self.shared.live().config;
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("the guest has no {} number {}", console.kind, console.index))
                .hint("add <serial type='pty'/> and start it again")
        };
        let target = match console.kind.as_str() {
            "serial" => Some(ConsoleTarget::Serial(console.index)),
            "console" => console_target(config, console.index),
            _ => None,
        };
        let (backend, about) = target.and_then(|it| backend_of(config, it)).ok_or_else(missing)?;
        let source = about.source.first();
        match backend {
            CharBackend::Pty => {
                let path = self.terminal(&target.ok_or_else(missing)?.chardev(&self.shared.live().config)).await?;
                let terminal = Terminal::open(&path).map_err(|error| io_error("open", &path, error))?;
                Ok(Box::new(terminal))
            }
            CharBackend::Unix
                if !matches!(source.and_then(|it| it.mode), Some(CharMode::Connect | CharMode::Client)) =>
            {
                let path = Path::new(source.and_then(|it| it.path.as_deref()).unwrap_or_default());
                let stream = UnixStream::connect(path).await.map_err(|error| io_error("connect to", path, error))?;
                Ok(Box::new(stream))
            }
            other => {
                let problem = format!(
                    "a {} of type '{other}' cannot be opened; only 'pty' and listening 'unix' can",
                    console.kind
                );
                Err(Error::new(ErrorKind::Unsupported, problem))
            }
        }
    }
}

impl QemuDomain {
    /// The terminal that QEMU opened.
    async fn terminal(&self, chardev: &str) -> Result<PathBuf> {
        let known = self.shared.execute(&QueryChardev {}).await?;
        let found = known.iter().find(|it| it.label == chardev).and_then(|it| it.filename.strip_prefix("pty:"));
        found
            .map(PathBuf::from)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("QEMU has no terminal for '{chardev}'")))
    }
}
