//! `numa plan`: where a guest would go, drawn over the host.

use polyvirt::{
    Error, ErrorKind, Host,
    model::{self, DomainConfig, DomainKind},
    placement::{
        AdviceSource, Advisor, HostTopology, NodeSet, PlacementProfile, Plan, Promised, Refusal, plan as decide,
    },
};

use super::{Done, devices::devices, promises, show, sitting, topology::guest};
use crate::{
    args::PlanArgs,
    commands::{explain, host::unreadable, tell_warnings},
    failure::Failure,
    output::Output,
    picture::{
        Picture,
        host::{Facts, Sitting, picture},
    },
    render,
    session::Session,
    settings::Sourced,
};

/// What is known before a plan is drawn.
struct Thought {
    name: String,
    host: Host,
    topology: HostTopology,
    promised: Promised,
    /// Who sits there already.
    others: Vec<Sitting>,
    plan: Result<Plan, Error>,
}

impl Thought {
    /// Why there is no plan, and what was looked at before, if it was the engine that refused.
    fn refusal(&self) -> Option<&Refusal> {
        self.plan.as_ref().err()?.cause()
    }
}

pub(super) async fn plan(args: &PlanArgs, session: &mut Session, out: &mut Output) -> Done {
    let advice = explain::advice(args.of.auto_nodeset.as_deref())?;
    let thought = match &args.sysroot {
        Some(root) if !root.is_dir() => {
            return Err(Failure::argument(format!("--sysroot: {} is not a directory", root.display())));
        }
        Some(root) => elsewhere(&args.of.what, Host::at(root), advice, session, out).await?,
        None => here(&args.of.what, advice, session, out).await?,
    };
    let devices = devices(thought.host.root());
    let mut guests: Vec<Sitting> = Vec::new();
    if let Ok(plan) = &thought.plan {
        guests.push(Sitting::planned(&thought.name, plan, false));
    }
    guests.extend(thought.others.iter().filter(|other| other.name != thought.name).cloned());
    let (topology, promised) = (&thought.topology, &thought.promised);
    let facts = Facts { topology, promised, guests: &guests, devices: &devices, left: false };
    let mut drawn = picture(&format!("Where '{}' would go", thought.name), facts);
    describe(&thought, &mut drawn);
    let (plan, refusal) = match &thought.plan {
        Ok(plan) => (serde_json::to_value(plan).unwrap_or_default(), serde_json::Value::Null),
        Err(error) => {
            let why = thought.refusal();
            let refusal = serde_json::json!({
                "error": error.to_string(), "remedy": error.remedy(),
                "constraints": why.map(|why| &why.constraints), "trace": why.map(|why| &why.trace),
            });
            (serde_json::Value::Null, refusal)
        }
    };
    let json = serde_json::json!({
        "guest": thought.name, "plan": plan, "refusal": refusal, "topology": topology, "promised": promised,
        "guests": thought.others.iter().map(guest).collect::<Vec<_>>(),
    });
    show(&drawn, &json, &args.drawing, out)?;
    let Err(refusal) = &thought.plan else { return Ok(()) };
    if !out.json {
        out.error_line(&format!("a start would be refused: {refusal}"));
        if let Some(remedy) = refusal.remedy() {
            out.message(&format!("  try: {remedy}\n"));
        }
    }
    Err(Failure::Told(1))
}

fn describe(thought: &Thought, drawn: &mut Picture) {
    match &thought.plan {
        Ok(plan) => {
            drawn.notes.extend(render::plan::text(plan).lines().map(str::to_owned));
            drawn.grids.extend(render::plan::candidates(&plan.trace));
        }
        Err(error) => {
            drawn.grids.extend(thought.refusal().iter().flat_map(|why| render::plan::candidates(&why.trace)));
            drawn.notes.push(format!("Refused: {error}"));
        }
    }
}

/// On this host, as `explain` thinks of it.
async fn here(
    what: &str,
    advice: Option<NodeSet>,
    session: &mut Session,
    out: &mut Output,
) -> Result<Thought, Failure> {
    let connection = session.connection().await?;
    let xml = explain::definition(what, session).await?;
    let explanation = connection.explain(&xml, advice).await?;
    tell_warnings(&explanation.warnings, out);
    let plan = explanation.plan.ok_or_else(|| {
        let driver = connection.driver().descriptor().name;
        Error::unsupported(driver, "placement by polyvirt; it places guests itself")
    })?;
    let host = connection.host().clone();
    let topology = connection.topology().await?;
    let promised = promises(&connection, out).await.promised;
    let others = sitting(&connection, &promised).await?;
    Ok(Thought { name: explanation.config.name, host, topology, promised, others, plan })
}

/// On a host of which only files are there: nobody sits on it, and no hypervisor is asked.
async fn elsewhere(
    what: &str,
    host: Host,
    advice: Option<NodeSet>,
    session: &mut Session,
    out: &mut Output,
) -> Result<Thought, Failure> {
    let xml = explain::definition(what, session).await?;
    let read = polyvirt::read_definition(&xml, model::Guest::Existing, &model::ParseOptions::default());
    let read = read.map_err(Error::invalid_config)?;
    tell_warnings(&read.warnings, out);
    let config = read.config;
    let (topology, promised) = (host.topology().map_err(unreadable)?, Promised::default());
    let (advice, told) = match advice {
        Some(nodes) => (Some(nodes), None),
        None => advised(&session.settings.advisor, &topology, &config)?,
    };
    let plan = plan_at(&config, &host, &topology, advice)?.map(|mut plan| {
        plan.trace.notes.extend(told);
        plan
    });
    let plan = plan.map_err(|refusal| {
        Error::new(ErrorKind::NoResources, refusal.to_string()).hint(refusal.remedy.clone()).source(refusal)
    });
    Ok(Thought { name: config.name, host, topology, promised, others: Vec::new(), plan })
}

/// What the advisor of the settings says of a host that is not this one, and a sentence about it.
fn advised(
    advisor: &Sourced<Advisor>,
    host: &HostTopology,
    config: &DomainConfig,
) -> Result<(Option<NodeSet>, Option<String>), Failure> {
    let request = config.placement_request().map_err(Error::invalid_config)?;
    if matches!(advisor.value, Advisor::Numad(_)) && request.stored.wants_advice() {
        return Err(Failure::argument(format!(
            "--sysroot: the advisor is numad ({}), which measures the host it runs on and no other: \
             name nodes with --auto-nodeset, or set advisor = \"polyvirt\"",
            advisor.from
        )));
    }
    let (source, told) = advisor.value.advise(host, &request).map_err(|error| {
        Error::new(ErrorKind::NoResources, format!("{error} (advisor of {})", advisor.from)).source(error)
    })?;
    let nodes = match source {
        AdviceSource::Given(nodes) => Some(nodes),
        _ => None,
    };
    Ok((nodes, told))
}

/// Where a completed definition would go on a host of which only files are there.
pub(in crate::commands) fn plan_at(
    config: &DomainConfig,
    host: &Host,
    topology: &HostTopology,
    advice: Option<NodeSet>,
) -> Result<Result<Plan, Refusal>, Failure> {
    let mut request = config.placement_request().map_err(Error::invalid_config)?;
    request.kernel = host.kernel_support();
    if let Some(nodes) = advice {
        request.advice = AdviceSource::Given(nodes);
    }
    // A device of which that host knows no node draws nowhere.
    request
        .near
        .extend(config.near_pci().iter().filter_map(|device| host.pci_node(&device.to_string()).ok().flatten()));
    Ok(decide(topology, &Promised::default(), &profile(config), &request))
}

/// What hypervisors of this type can express.
fn profile(config: &DomainConfig) -> PlacementProfile {
    match config.kind {
        DomainKind::Lxc => PlacementProfile::container(),
        DomainKind::Xen => PlacementProfile::one_node_per_cell(),
        _ => PlacementProfile::qemu(),
    }
}
