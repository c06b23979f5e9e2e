//! `attach-device`, `detach-device`, `detach-device-alias`, `update-device`.

use super::{Done, read_xml, tell_warnings, tune::affect};
use crate::{
    args::{AliasArgs, DeviceArgs},
    output::Output,
    session::Session,
};

pub(super) async fn attach(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    let guest = session.connection().await?.lookup(&args.domain).await?;
    let warnings = guest.attach_device(&xml, affect(args.affect)).await?;
    tell_warnings(&warnings, out);
    out.done("Device attached successfully");
    Ok(())
}

pub(super) async fn detach(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    let guest = session.connection().await?.lookup(&args.domain).await?;
    guest.detach_device(&xml, affect(args.affect)).await?;
    out.done("Device detached successfully");
    Ok(())
}

pub(super) async fn detach_alias(args: &AliasArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.connection().await?.lookup(&args.domain).await?;
    guest.detach_alias(&args.alias, affect(args.affect)).await?;
    out.done("Device detached successfully");
    Ok(())
}

pub(super) async fn update(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    let guest = session.connection().await?.lookup(&args.domain).await?;
    let warnings = guest.update_device(&xml, affect(args.affect)).await?;
    tell_warnings(&warnings, out);
    out.done("Device updated successfully");
    Ok(())
}
