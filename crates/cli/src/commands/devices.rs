//! `attach-device`, `detach-device`, `detach-device-alias`, `update-device`.

use super::{Done, life::tell, read_xml, tell_warnings, tune::affect};
use crate::{
    args::{AliasArgs, DeviceArgs},
    output::Output,
    session::Session,
};

pub(super) async fn attach(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    let guest = session.guest(&args.domain).await?;
    let warnings = guest.attach_device(&xml, affect(args.affect)).await?;
    tell_warnings(&warnings, out);
    tell(&guest, "has the device now", out);
    Ok(())
}

pub(super) async fn detach(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    let guest = session.guest(&args.domain).await?;
    guest.detach_device(&xml, affect(args.affect)).await?;
    tell(&guest, "has the device no more", out);
    Ok(())
}

pub(super) async fn detach_alias(args: &AliasArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.domain).await?;
    guest.detach_alias(&args.alias, affect(args.affect)).await?;
    tell(&guest, "has the device no more", out);
    Ok(())
}

pub(super) async fn update(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    let guest = session.guest(&args.domain).await?;
    let warnings = guest.update_device(&xml, affect(args.affect)).await?;
    tell_warnings(&warnings, out);
    tell(&guest, "has the device as described now", out);
    Ok(())
}
