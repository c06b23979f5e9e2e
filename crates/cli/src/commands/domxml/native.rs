//! `domxml to-native`: a definition in the hypervisor's own language.

use polyvirt::{
    Error, ErrorKind, ExportOptions, Host,
    model::DomainConfig,
    placement::{NodeSet, Plan},
};

use super::{
    super::{Done, explain, host::unreadable, numa, read_xml},
    normalize::{Defined, define},
};
use crate::{args::ToNativeArgs, failure::Failure, output::Output, session::Session};

pub(super) async fn to_native(args: &ToNativeArgs, session: &mut Session, out: &mut Output) -> Done {
    let advice = explain::advice(args.auto_nodeset.as_deref())?;
    if args.of.driver.is_none() {
        return here(args, advice, session, out).await;
    }
    let Defined { config, driver } = define(&args.of, session, out)?;
    let driver = driver.ok_or_else(|| Failure::Usage("this driver writes nothing without a host".to_owned()))?;
    let mut options = ExportOptions::default();
    options.incoming = args.incoming.clone();
    options.plan = plan(args, &config, advice)?;
    out.line(&driver.export(&args.format, &config, &options).map_err(unknown_format)?);
    Ok(())
}

/// Where the guest would go on the host that the options name.
fn plan(args: &ToNativeArgs, config: &DomainConfig, advice: Option<NodeSet>) -> Result<Option<Plan>, Failure> {
    let Some(root) = &args.of.sysroot else { return Ok(None) };
    let host = Host::at(root);
    let topology = host.topology().map_err(unreadable)?;
    match numa::plan_at(config, &host, &topology, advice)? {
        Ok(plan) => Ok(Some(plan)),
        Err(refusal) => Err(Error::new(ErrorKind::NoResources, refusal.to_string()).hint(refusal.remedy).into()),
    }
}

/// As this host's hypervisor would have it.
async fn here(args: &ToNativeArgs, advice: Option<NodeSet>, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(&args.of.file)?;
    let native = session.connection().await?.to_native(&xml, &args.format, advice).await.map_err(unknown_format)?;
    out.line(&native);
    Ok(())
}

/// A format that this build does not have is wrong usage, not a wrong definition.
fn unknown_format(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::Unsupported => Failure::Usage(error.to_string()),
        ErrorKind::InvalidArgument if error.message().contains("driver") => Failure::Usage(error.to_string()),
        _ => Failure::Error(error),
    }
}
