//! Sending a descriptor with a line (`SCM_RIGHTS`, unix(7)).

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _, Interest},
    net::unix::OwnedWriteHalf,
};

/// The writing half of a connection.
pub(crate) enum Outgoing {
    /// One that carries descriptors too.
    Socket(OwnedWriteHalf),
    /// One that carries bytes alone.
    Bytes(Box<dyn AsyncWrite + Send + Unpin>),
}

impl Outgoing {
    /// Writes a whole line; a descriptor goes with its first byte.
    ///
    /// # Errors
    /// Those of the connection; `Unsupported` where it carries no descriptors.
    pub(crate) async fn send(&mut self, line: &[u8], descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let rest = match (&mut *self, descriptor) {
            (_, None) => line,
            (Self::Socket(socket), Some(descriptor)) => {
                let sent = send_with(socket, line, descriptor).await?;
                line.get(sent..).unwrap_or_default()
            }
            (Self::Bytes(_), Some(_)) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "this connection carries no descriptors"));
            }
        };
        match self {
            Self::Socket(socket) => write(socket, rest).await,
            Self::Bytes(bytes) => write(bytes, rest).await,
        }
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

async fn send_with(socket: &OwnedWriteHalf, line: &[u8], descriptor: &OwnedFd) -> io::Result<usize> {
    let socket = socket.as_ref();
    let descriptors = [descriptor.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&descriptors)];
    let send = || {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(line)], &message, flags, None).map_err(io::Error::from)
    };
    socket.async_io(Interest::WRITABLE, send).await
}

#[cfg(test)]
mod tests {
    use std::{io::IoSliceMut, os::unix::fs::MetadataExt as _, time::Duration};

    use nix::{
        cmsg_space,
        sys::socket::{ControlMessageOwned, recvmsg},
    };
    use tokio::{
        io::AsyncReadExt as _,
        net::{UnixListener, UnixStream},
    };

    use super::*;
    use crate::{GetFd, Monitor, Options};

    const WITHIN: Duration = Duration::from_secs(20);
    const GREETING: &[u8] =
        b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}, \"package\": \"\"}}}\n";

    /// Answers the first command, and the second with whatever came beside it.
    async fn peer(mut stream: UnixStream) -> u64 {
        stream.write_all(GREETING).await.unwrap();
        let mut bytes = [0; 4096];
        assert!(stream.read(&mut bytes).await.unwrap() > 0);
        stream.write_all(b"{\"return\": {}, \"id\": 1}\n").await.unwrap();
        let receive = || {
            let mut space = cmsg_space!([i32; 1]);
            let mut into = [IoSliceMut::new(&mut bytes)];
            let got = recvmsg::<()>(stream.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
            let mut messages = got.cmsgs()?;
            let Some(ControlMessageOwned::ScmRights(descriptors)) = messages.next() else {
                panic!("no descriptor came")
            };
            Ok(descriptors[0])
        };
        let descriptor = stream.async_io(Interest::READABLE, receive).await.unwrap();
        let inode = std::fs::metadata(format!("/proc/self/fd/{descriptor}")).unwrap().ino();
        stream.write_all(b"{\"return\": {}, \"id\": 2}\n").await.unwrap();
        inode
    }

    #[tokio::test]
    async fn a_descriptor_goes_with_its_command() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("monitor");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = tokio::spawn(async move { peer(listener.accept().await.unwrap().0).await });
        let (monitor, _events) = Monitor::connect(&path, WITHIN).await.unwrap();
        let file = std::fs::File::create(directory.path().join("file")).unwrap();
        let inode = file.metadata().unwrap().ino();
        monitor.execute_with(&GetFd { fdname: "state" }, file.into(), WITHIN).await.unwrap();
        assert_eq!(serving.await.unwrap(), inode);
    }

    #[tokio::test]
    async fn a_connection_of_bytes_refuses_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving = tokio::spawn(async move {
            let mut stream = theirs;
            stream.write_all(GREETING).await.unwrap();
            let mut bytes = [0; 4096];
            assert!(stream.read(&mut bytes).await.unwrap() > 0);
            stream.write_all(b"{\"return\": {}, \"id\": 1}\n").await.unwrap();
            assert_eq!(stream.read(&mut bytes).await.unwrap_or(0), 0, "nothing comes without its descriptor");
        });
        let (monitor, _events) = Monitor::over(ours, Options::default(), WITHIN).await.unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = monitor.execute_with(&GetFd { fdname: "state" }, file.into(), WITHIN).await.unwrap_err();
        assert!(error.to_string().contains("carries no descriptors"), "{error}");
        drop(monitor);
        serving.await.unwrap();
    }
}
