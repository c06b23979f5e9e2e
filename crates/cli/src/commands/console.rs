//! `console`: bytes both ways until Ctrl+] or the guest's end.

use std::os::fd::AsFd as _;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use polyvirt::{ByteStream, DeviceRef, Guest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Done;
use crate::{args::Which, failure::Failure, output::Output, session::Session};

/// Ctrl+].
const ESCAPE: u8 = 0x1d;

pub(super) async fn console(which: &Which, device: Option<&str>, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    attach(&guest, device, out).await
}

/// Attaches this terminal, or these pipes, to a console. The guest is given up meanwhile, so that others may change it.
pub(super) async fn attach(guest: &Guest, device: Option<&str>, out: &mut Output) -> Done {
    let stream = guest.console(device.map(parse_device).transpose()?).await?;
    guest.release().await?;
    out.flush()?;
    let terminal = RawTerminal::enter();
    if terminal.is_some() {
        out.message(&format!("Connected to domain '{}'\r\nEscape character is ^] (Ctrl + ])\r\n", guest.name()));
    }
    let copied = copy(stream).await;
    drop(terminal);
    copied.map_err(|e| {
        Failure::Error(polyvirt::Error::new(polyvirt::ErrorKind::Hypervisor, format!("the console ended: {e}")))
    })
}

/// `serial1` is the second serial port.
fn parse_device(name: &str) -> Result<DeviceRef, Failure> {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[kind.len()..];
    let index = if digits.is_empty() { Ok(0) } else { digits.parse() };
    match (kind, index) {
        ("serial" | "console" | "parallel" | "channel", Ok(index)) => Ok(DeviceRef::new(kind, index)),
        _ => Err(Failure::argument(format!("'{name}' is no console; write serial0, console0, parallel0 or channel0"))),
    }
}

async fn copy(stream: ByteStream) -> std::io::Result<()> {
    let (mut from_guest, mut to_guest) = tokio::io::split(stream);
    let (mut keys, mut screen) = (tokio::io::stdin(), tokio::io::stdout());
    let (mut typed, mut shown) = ([0; 4096], [0; 4096]);
    let mut typing = true;
    loop {
        tokio::select! {
            n = from_guest.read(&mut shown) => match n? {
                0 => return Ok(()),
                n => {
                    screen.write_all(&shown[..n]).await?;
                    screen.flush().await?;
                }
            },
            n = keys.read(&mut typed), if typing => match n? {
                // A script's input ends before the guest has answered: go on listening.
                0 => typing = false,
                n => {
                    let end = typed[..n].iter().position(|b| *b == ESCAPE);
                    to_guest.write_all(&typed[..end.unwrap_or(n)]).await?;
                    to_guest.flush().await?;
                    if end.is_some() {
                        return Ok(());
                    }
                }
            },
        }
    }
}

/// The terminal without line editing; as it was again when dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_by_name() {
        assert_eq!(parse_device("serial1").unwrap(), DeviceRef::new("serial", 1));
        assert_eq!(parse_device("console").unwrap(), DeviceRef::new("console", 0));
        for bad in ["", "7", "disk0", "serial99999999999999999999"] {
            assert!(parse_device(bad).is_err(), "{bad}");
        }
    }
}
