//! `domxml to-native`: a definition in the hypervisor's own language.

use polyvirt::{
    Error, ErrorKind, ExportOptions, Host,
    model::DomainConfig,
    placement::{HostTopology, Kib, NodeSet, Plan, TopologyError},
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

/// Where the guest would go on the host that the options name. Whether there is room for it now does not change what would
/// be executed, so a refusal that more memory ends is none here.
fn plan(args: &ToNativeArgs, config: &DomainConfig, advice: Option<NodeSet>) -> Result<Option<Plan>, Failure> {
    let Some(root) = &args.of.host.sysroot else { return Ok(None) };
    let host = Host::at(root);
    let topology = host.topology().map_err(unreadable)?;
    if let Ok(plan) = numa::plan_at(config, &host, &topology, advice.clone())? {
        return Ok(Some(plan));
    }
    let roomy = roomy(&topology).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    let mut config = config.clone();
    if let Some(tune) = &mut config.cputune {
        // Nor does where these run, and the CPUs of another host may have other numbers.
        tune.vcpupin.clear();
        tune.iothreadpin.clear();
    }
    match numa::plan_at(&config, &host, &roomy, advice)? {
        Ok(plan) => Ok(Some(plan)),
        Err(refusal) => Err(Error::new(ErrorKind::NoResources, refusal.to_string()).hint(refusal.remedy).into()),
    }
}

/// Memory and pages of every node of a roomy host: a PiB each, which no guest asks for.
const ROOM: Kib = Kib(1 << 40);

/// The same host with more memory than a guest can want.
fn roomy(topology: &HostTopology) -> Result<HostTopology, TopologyError> {
    let builder = topology.nodes().iter().fold(HostTopology::builder(), |builder, node| {
        let mut roomy = node.clone();
        for pool in &mut roomy.pools {
            pool.total = ROOM.0 / pool.size.0.max(1);
            pool.free = pool.total;
        }
        let pooled = roomy.pooled();
        builder.node(roomy.with_memory(ROOM.saturating_add(pooled)).with_free(ROOM).with_reserve(Kib::ZERO))
    });
    let ids: Vec<_> = topology.nodes().iter().map(|node| node.id).collect();
    let row = |from| ids.iter().map(|to| u32::from(topology.distance(from, *to))).collect();
    builder
        .distances(ids.iter().map(|from| row(*from)).collect())
        .base_page(topology.base_page())
        .default_huge(topology.default_huge())
        .possible(topology.possible_cpus().clone())
        .isolated(topology.isolated_cpus().clone())
        .build()
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
