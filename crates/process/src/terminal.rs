//! A terminal as a stream of bytes: what is behind a guest's serial port.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    pin::Pin,
    task::{Context, Poll, ready},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::{stat::Mode, termios},
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

use crate::sys;

/// An opened terminal in raw mode: bytes pass unchanged both ways. Its other end reads as the end of the stream
/// when it is closed.
#[derive(Debug)]
pub struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Opens the terminal at this path. It never becomes our controlling terminal.
    ///
    /// # Errors
    /// If it cannot be opened or is no terminal. Must be called within a tokio runtime.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty())?;
        let mut settings = termios::tcgetattr(&fd)?;
        termios::cfmakeraw(&mut settings);
        termios::tcsetattr(&fd, termios::SetArg::TCSANOW, &settings)?;
        Ok(Self(sys::watch(fd, Interest::READABLE | Interest::WRITABLE)?))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let read = guard.try_io(|fd| match nix::unistd::read(fd, buffer.initialize_unfilled()) {
                // The other end is closed.
                Err(Errno::EIO) => Ok(0),
                other => other.map_err(io::Error::from),
            });
            if let Ok(read) = read {
                return Poll::Ready(read.map(|count| buffer.advance(count)));
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = guard.try_io(|fd| nix::unistd::write(fd, bytes).map_err(io::Error::from)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
    };

    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_unchanged_until_the_other_end_closes() {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let mut terminal = Terminal::open(Path::new(&ptsname_r(&master).unwrap())).unwrap();
        let mut master = File::from(OwnedFd::from(master));
        terminal.write_all(b"to\n\x03guest").await.unwrap();
        let mut bytes = [0; 9];
        master.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"to\n\x03guest");
        master.write_all(b"from\r\n").unwrap();
        let mut bytes = [0; 6];
        terminal.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"from\r\n");
        drop(master);
        assert_eq!(terminal.read(&mut bytes).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_is_no_terminal_is_refused() {
        assert_eq!(Terminal::open(Path::new("/dev/null")).unwrap_err().raw_os_error(), Some(nix::libc::ENOTTY));
    }
}
