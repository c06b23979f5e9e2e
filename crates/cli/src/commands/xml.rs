//! `xml normalize`: objects other than guests, without a host.

use polyvirt::{
    Error,
    model::{
        DomainConfig, FormatOptions, ParseOptions, Positions,
        backup::DomainBackup,
        checkpoint::DomainCheckpoint,
        snapshot::{DomainSnapshot, MomentParent, SnapshotGuest},
    },
};

use super::{Done, domxml, read_xml, tell_warnings};
use crate::{
    args::{XmlCommand, XmlOptions},
    failure::Failure,
    output::Output,
    session::Session,
};

/// What this build knows.
const KINDS: [&str; 3] = ["backup", "checkpoint", "snapshot"];

pub(super) fn xml(command: &XmlCommand, session: &Session, out: &mut Output) -> Done {
    let XmlCommand::Normalize(options) = command;
    match options.kind.as_str() {
        "backup" => backup(options, out),
        "checkpoint" => checkpoint(options, session, out),
        "snapshot" => snapshot(options, session, out),
        other => Err(Failure::Usage(format!(
            "this build does not know XML of kind '{other}'; it knows {}",
            KINDS.join(", ")
        ))),
    }
}

fn backup(options: &XmlOptions, out: &mut Output) -> Done {
    let (Some(domain), Some(suffix)) = (&options.domain, &options.suffix) else {
        let message = "a backup is completed for the disks of a guest: give --domain FILE and --suffix TEXT";
        return Err(Failure::Usage(message.to_owned()));
    };
    if suffix.is_empty() || suffix.contains(['/', '\0']) {
        return Err(Failure::argument(format!("the suffix '{suffix}' is no end of a file name")));
    }
    let domain = DomainConfig::parse(&read_xml(domain)?, &ParseOptions::default()).map_err(Error::invalid_config)?;
    let parsed = DomainBackup::from_xml(&read_xml(&options.file)?, &ParseOptions::default());
    let parsed = parsed.map_err(Error::invalid_config)?;
    tell_warnings(&parsed.warnings, out);
    let mut backup = parsed.config;
    if !options.internal {
        backup.make_stored();
    }
    backup.complete(&domain.config, suffix, &parsed.positions).map_err(Error::invalid_config)?;
    out.print(&backup.to_xml_with(FormatOptions::new()));
    Ok(())
}

fn snapshot(options: &XmlOptions, session: &Session, out: &mut Output) -> Done {
    let parsed = DomainSnapshot::from_xml(&read_xml(&options.file)?, &ParseOptions::default());
    let parsed = parsed.map_err(Error::invalid_config)?;
    tell_warnings(&parsed.warnings, out);
    let (mut snapshot, positions) = (parsed.config, parsed.positions);
    if options.redefine {
        snapshot.redefine(&positions).map_err(Error::invalid_config)?;
        if !options.internal {
            snapshot.active = None;
        } else if snapshot.active.is_none() {
            let problem =
                positions.error("/domainsnapshot", "a snapshot of a store says in <active> whether it is current");
            return Err(Error::invalid_config(std::iter::once(problem).collect()).into());
        }
    } else {
        snapshot.request(options.creation_time, &positions).map_err(Error::invalid_config)?;
        snapshot.head.state = options.state;
        snapshot.head.parent = options.parent.as_deref().map(MomentParent::new);
    }
    let domain = match &mut snapshot.guest {
        Some(SnapshotGuest::Definition(domain)) => Some(&mut **domain),
        _ => None,
    };
    embedded(domain, "/domainsnapshot/domain", &positions, options, session, out)?;
    embedded(snapshot.inactive.as_deref_mut(), "/domainsnapshot/inactiveDomain", &positions, options, session, out)?;
    if let Some(uuid) = options.domain_uuid
        && snapshot.definition().is_none()
    {
        snapshot.guest = Some(SnapshotGuest::Id(uuid));
    }
    out.print(&snapshot.to_xml_with(FormatOptions::new().secure()));
    Ok(())
}

fn checkpoint(options: &XmlOptions, session: &Session, out: &mut Output) -> Done {
    let parsed = DomainCheckpoint::from_xml(&read_xml(&options.file)?, &ParseOptions::default());
    let parsed = parsed.map_err(Error::invalid_config)?;
    tell_warnings(&parsed.warnings, out);
    let (mut checkpoint, positions) = (parsed.config, parsed.positions);
    if options.redefine {
        checkpoint.redefine(&positions).map_err(Error::invalid_config)?;
    } else {
        checkpoint.request(options.creation_time, &positions).map_err(Error::invalid_config)?;
        checkpoint.parent = options.parent.as_deref().map(MomentParent::new);
    }
    embedded(checkpoint.domain.as_deref_mut(), "/domaincheckpoint/domain", &positions, options, session, out)?;
    out.print(&checkpoint.to_xml_with(FormatOptions::new().secure()));
    Ok(())
}

/// Completes the definition that stands in another document at `path`, as it would be stored.
fn embedded(
    domain: Option<&mut DomainConfig>,
    path: &str,
    positions: &Positions,
    options: &XmlOptions,
    session: &Session,
    out: &mut Output,
) -> Done {
    let Some(domain) = domain else { return Ok(()) };
    domxml::complete_stored(domain, &positions.within(path), &options.embedded, session, out)
}
