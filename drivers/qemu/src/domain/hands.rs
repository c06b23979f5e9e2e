//! Screenshots, keys and the NMI.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::fcntl::OFlag;
use polyvirt_core::{
    Error, ErrorKind, GuestState, ImageFormat, KeyPress, Keyboard, Nmi, Result, Screen, Screenshot, async_trait,
    io_error, model::DomainConfig,
};
use polyvirt_qmp::{Empty, InjectNmi, KeyValue, QmpError, QueryStatus, Screendump, SendKey};

use super::{QemuDomain, state_of};
use crate::failure::monitor_error;

/// How long QEMU may take to draw, encode and write a screen.
const DRAWING: Duration = Duration::from_secs(20);

/// The largest picture that is read: a PPM of 8192 × 4320 pixels and its head fit.
const LARGEST: u64 = 128 << 20;

#[async_trait]
impl Screen for QemuDomain {
    async fn shot(&self, screen: u32) -> Result<Screenshot> {
        let (device, head) = head_of(&self.shared.live().config, screen)?;
        // In the guest's own folder: QEMU's user may write there and nobody else, and its end removes it.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = &self.shared.parts.places.folders.run;
        let picture = Picture(folder.join(format!("screen-{}-{number}", std::process::id())));
        let filename = picture.0.to_str().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("the folder '{}' has a name that is no UTF-8", folder.display()),
            )
        })?;
        let dump = Screendump { filename, device: Some(&device), head: Some(head), format: None };
        let format = self.dump(dump).await?;
        let read = tokio::task::spawn_blocking(move || picture.read()).await;
        let bytes =
            read.map_err(|error| Error::new(ErrorKind::Internal, "reading a picture failed").source(error))??;
        Ok(Screenshot::new(format, bytes))
    }
}

impl QemuDomain {
    /// PNG where this QEMU can, else PPM.
    async fn dump(&self, dump: Screendump<'_>) -> Result<ImageFormat> {
        if self.shared.parts.monitor.version().at_least(7, 1) {
            let png = Screendump { format: Some("png"), ..dump };
            match self.shared.parts.monitor.execute(&png, DRAWING).await {
                Ok(Empty {}) => return Ok(ImageFormat::Png),
                // One that was built without libpng says so.
                Err(QmpError::Refused { description, .. }) if description.to_ascii_lowercase().contains("png") => {}
                Err(error) => return Err(monitor_error(&error)),
            }
        }
        self.shared.execute_within(&dump, DRAWING).await.map(|Empty {}| ImageFormat::Ppm)
    }
}

/// The video card and its head that a screen is.
fn head_of(config: &DomainConfig, screen: u32) -> Result<(String, u32)> {
    let mut left = screen;
    for (at, video) in config.devices.videos.iter().enumerate() {
        let heads = video.model.as_ref().and_then(|it| it.heads).unwrap_or(1).max(1);
        if left < heads {
            let alias = video.info.alias.as_ref().map_or_else(|| format!("video{at}"), |it| it.name.clone());
            return Ok((alias, left));
        }
        left -= heads;
    }
    Err(match screen - left {
        0 => Error::new(ErrorKind::NotFound, "the guest has no video card")
            .hint("add <video><model type='vga'/></video> and start it again"),
        count => {
            Error::new(ErrorKind::NotFound, format!("the guest has no screen {screen}, only {count}, counted from 0"))
        }
    })
}

/// A file that QEMU writes; gone when dropped.
struct Picture(PathBuf);

impl Picture {
    fn read(&self) -> Result<Vec<u8>> {
        read_bounded(&self.0).map_err(|error| io_error("read the picture", &self.0, error))
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // One that QEMU refused to write was never there; one that stays goes with the guest's folder.
        fs::remove_file(&self.0).ok();
    }
}

/// QEMU may have been taken over by its guest: what it left is not followed elsewhere, not waited for and not read without end.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

#[async_trait]
impl Keyboard for QemuDomain {
    async fn send(&self, keys: &KeyPress) -> Result<()> {
        // QEMU takes the keys of a stopped guest and drops them, without a word.
        let status = self.shared.execute(&QueryStatus {}).await?;
        let state = state_of(&status.status);
        if !matches!(state, GuestState::Running | GuestState::PmSuspended) {
            return Err(Error::new(
                ErrorKind::InvalidState,
                format!("nobody reads keys: the guest is {}", state.name()),
            )
            .hint("resume it first"));
        }
        let hold_time = keys.hold.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        let keys = keys.keys.iter().map(|it| KeyValue::Number(it.number())).collect();
        self.shared.execute(&SendKey { keys, hold_time }).await.map(drop)
    }
}

#[async_trait]
impl Nmi for QemuDomain {
    async fn inject(&self) -> Result<()> {
        self.shared.execute(&InjectNmi {}).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(videos: &str) -> DomainConfig {
        let text = format!("<domain type='qemu'><name>a</name><memory>1</memory><devices>{videos}</devices></domain>");
        DomainConfig::parse(&text, &Default::default()).unwrap().config
    }

    #[test]
    fn screens_are_counted_over_all_cards() {
        let two = guest(
            "<video><model type='qxl' heads='2'/></video>\
             <video><model type='virtio' heads='1'/><alias name='ua-second'/></video>",
        );
        let heads: Vec<_> = (0..3).map(|it| head_of(&two, it).unwrap()).collect();
        assert_eq!(heads, [("video0".into(), 0), ("video0".into(), 1), ("ua-second".into(), 0)]);
        for (config, screen, problem) in
            [(two, 3, "no screen 3, only 3"), (guest(""), 0, "no video card"), (guest(""), u32::MAX, "no video card")]
        {
            let error = head_of(&config, screen).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.message().contains(problem), "{error}");
        }
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("plain"), "P6").unwrap();
        std::os::unix::fs::symlink(at("plain"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_bounded(&at("plain")).unwrap(), b"P6");
        for name in ["link", "pipe", "missing", "."] {
            assert!(read_bounded(&at(name)).is_err(), "{name}");
        }
        drop(Picture(at("plain")));
        assert!(!at("plain").exists());
    }
}
