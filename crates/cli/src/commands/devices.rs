//! `attach-device`, `detach-device`, `detach-device-alias`, `update-device`, `update-memory-device`.

use polyvirt::{
    Affect, Detached, Error, ErrorKind, Guest,
    model::{DomainConfig, memory_device::MemoryDevice},
};

use super::{
    Done,
    life::tell,
    read_xml, sizes, tell_warnings,
    tune::{self, config_of},
};
use crate::{
    args::{AliasArgs, DeviceAffect, DeviceArgs, UpdateArgs, UpdateMemoryArgs},
    failure::Failure,
    output::Output,
    session::Session,
};

/// The sides that were asked for.
pub(super) async fn affect(args: DeviceAffect, guest: &Guest) -> Result<Affect, Failure> {
    Ok(match (args.live, args.config) {
        _ if args.persistent && guest.view().await?.live.is_some() => Affect::Both,
        _ if args.persistent => Affect::Config,
        (true, true) => Affect::Both,
        (true, false) => Affect::Live,
        (false, true) => Affect::Config,
        (false, false) => Affect::Current,
    })
}

/// Puts a device in and says so.
pub(super) async fn put_in(guest: &Guest, xml: &str, args: DeviceAffect, out: &mut Output) -> Done {
    let warnings = guest.attach_device(xml, affect(args, guest).await?).await?;
    tell_warnings(&warnings, out);
    tell(guest, "has the device now", out);
    Ok(())
}

/// Takes a device out and says what became of it.
pub(super) async fn take_out(guest: &Guest, xml: &str, args: DeviceAffect, out: &mut Output) -> Done {
    let detached = guest.detach_device(xml, affect(args, guest).await?).await?;
    tell_detached(guest, detached, out);
    Ok(())
}

fn tell_detached(guest: &Guest, detached: Detached, out: &mut Output) {
    let text = match detached {
        Detached::Gone => "has the device no more",
        _ => "was asked for the device and has not let go of it yet; `polyvirt event` tells when it does",
    };
    tell(guest, text, out);
}

/// Changes a device and says so.
pub(super) async fn change(guest: &Guest, xml: &str, args: DeviceAffect, force: bool, out: &mut Output) -> Done {
    let warnings = guest.update_device(xml, affect(args, guest).await?, force).await?;
    tell_warnings(&warnings, out);
    tell(guest, "has the device as described now", out);
    Ok(())
}

pub(super) async fn attach(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    put_in(&session.guest(&args.domain).await?, &xml, args.affect, out).await
}

pub(super) async fn detach(args: &DeviceArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.file)?;
    take_out(&session.guest(&args.domain).await?, &xml, args.affect, out).await
}

pub(super) async fn detach_alias(args: &AliasArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.domain).await?;
    let detached = guest.detach_alias(&args.alias, affect(args.affect, &guest).await?).await?;
    tell_detached(&guest, detached, out);
    Ok(())
}

pub(super) async fn update(args: &UpdateArgs, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.device.file)?;
    change(&session.guest(&args.device.domain).await?, &xml, args.device.affect, args.force, out).await
}

pub(super) async fn update_memory(args: &UpdateMemoryArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.domain).await?;
    let mut config = (*config_of(&guest, args.affect).await?).clone();
    let at = memory_device(&config, args)?;
    if let (Some(size), Some(device)) = (&args.requested_size, config.devices.memories.get_mut(at)) {
        device.target.get_or_insert_default().requested = Some(sizes::kib(size)?);
    }
    let device = config.devices.pick("memory", at).map(|it| it.to_xml()).unwrap_or_default();
    if args.print_xml {
        out.print(&device);
        return Ok(());
    }
    let warnings = guest.update_device(&device, tune::affect(args.affect), false).await?;
    tell_warnings(&warnings, out);
    tell(&guest, "has the device as described now", out);
    Ok(())
}

/// The memory device that is meant: the only one if nothing is said.
fn memory_device(config: &DomainConfig, args: &UpdateMemoryArgs) -> Result<usize, Failure> {
    let named = |it: &MemoryDevice| match (&args.alias, args.node) {
        (Some(alias), _) => it.info.alias.as_ref().is_some_and(|it| it.name == *alias),
        (None, Some(node)) => it.target.as_ref().is_some_and(|it| it.node == Some(node)),
        (None, None) => true,
    };
    let all = config.devices.memories.iter().enumerate();
    let found: Vec<usize> = all.filter(|(_, it)| named(it)).map(|(at, _)| at).collect();
    match found[..] {
        [at] => Ok(at),
        [] => Err(Error::new(ErrorKind::NotFound, "the guest has no such memory device")
            .hint("`polyvirt dumpxml` shows what it has")
            .into()),
        _ => {
            let message = format!("the guest has {} such memory devices; name one with --alias", found.len());
            Err(Failure::argument(message))
        }
    }
}
