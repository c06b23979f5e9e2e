//! `screenshot`, `send-key`, `inject-nmi`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use polyvirt::{CodeSet, KeyPress, io_error};

use super::{Done, life::tell};
use crate::{
    args::{ScreenshotArgs, SendKeyArgs, Which},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn screenshot(args: ScreenshotArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let shot = guest.screenshot(args.screen).await?;
    let seconds = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let (path, new) = match args.file {
        Some(file) => (file, false),
        // Names of guests have no slash; a leading dot or dash would hide the file or be taken for an option.
        None => (PathBuf::from(format!("./{}-{seconds}.{}", guest.name(), shot.format.extension())), true),
    };
    write(&path, &shot.bytes, new).map_err(|error| Failure::Error(io_error("write", &path, error)))?;
    if out.json {
        out.json(&serde_json::json!({
            "name": guest.name(), "uuid": guest.uuid(), "screen": args.screen, "file": path,
            "type": shot.format.media_type(), "bytes": shot.bytes.len(),
        }));
    }
    out.done(&format!("Screenshot saved to {}, with type of {}", path.display(), shot.format.media_type()));
    Ok(())
}

/// A file that nobody asked for by name replaces none.
fn write(path: &Path, bytes: &[u8], new: bool) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(!new).truncate(!new).create_new(new);
    options.open(path)?.write_all(bytes)
}

pub(super) async fn send_key(args: SendKeyArgs, session: &mut Session, out: &mut Output) -> Done {
    let set = CodeSet::from(args.codeset);
    // All are looked up before any is pressed.
    let keys = args.keys.iter().map(|it| set.key(it)).collect::<polyvirt::Result<Vec<_>>>()?;
    let press = KeyPress::new(keys, args.holdtime.map(Duration::from_millis))?;
    let guest = session.guest(&args.which.domain).await?;
    guest.send_keys(press).await?;
    tell(&guest, "was sent the keys", out);
    Ok(())
}

pub(super) async fn inject_nmi(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest.inject_nmi().await?;
    tell(&guest, "was sent an NMI", out);
    Ok(())
}
