//! What a hypervisor can do: of this host's, or of one that was recorded.

use polyvirt::{DomainCapsQuery, Error, OfflineContext, OfflineDriver};

use super::{
    Done,
    domxml::offline,
    host::{host_of, unreadable},
};
use crate::{
    args::{CapabilitiesArgs, DomcapabilitiesArgs, DriverName, HostTree, QemuCapsArgs},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn capabilities(args: CapabilitiesArgs, session: &mut Session, out: &mut Output) -> Done {
    if let (Some(driver), Some(file)) = (args.driver, &args.capabilities) {
        let arch = args.arch.as_deref().unwrap_or_else(|| offline::host_arch());
        let mut context = OfflineContext::new(arch);
        context.recording = Some(session.recordings.read(file)?);
        let guests = opened(driver, context, session)?.guests(args.emulator.as_deref())?;
        if out.json {
            out.json(&serde_json::json!({ "guests": guests }));
        } else if let Some(root) = &args.sysroot {
            let tree = HostTree { sysroot: Some(root.clone()), arch: args.arch.clone() };
            let (host, arch) = host_of(&tree, session).await?;
            out.print(&polyvirt::capabilities_xml(&host, &arch, &guests).map_err(unreadable)?);
        } else {
            out.print(&polyvirt::guest_capabilities_xml(arch, &guests));
        }
        return Ok(());
    }
    here(&HostTree { sysroot: args.sysroot, arch: args.arch }, session, out).await
}

/// Of this host or of the one that is described, and of its hypervisor if it is this one.
async fn here(tree: &HostTree, session: &mut Session, out: &mut Output) -> Done {
    let (host, architecture) = host_of(tree, session).await?;
    let guests = match &tree.sysroot {
        Some(_) => Vec::new(),
        None => session.connection().await?.guest_support().await?,
    };
    if out.json {
        let caches = host.caches().map_err(unreadable)?;
        let interconnects = host.interconnects().map_err(unreadable)?;
        let topology = host.topology().map_err(unreadable)?;
        let facts = serde_json::json!({
            "architecture": architecture, "topology": topology, "caches": caches, "interconnects": interconnects,
        });
        out.json(&serde_json::json!({ "host": facts, "guests": guests }));
        return Ok(());
    }
    out.print(&polyvirt::capabilities_xml(&host, &architecture, &guests).map_err(unreadable)?);
    Ok(())
}

pub(super) fn qemu_caps(args: &QemuCapsArgs, session: &Session, out: &mut Output) -> Done {
    let mut context = OfflineContext::new(&args.arch);
    context.recording = Some(session.recordings.read(&args.replies)?);
    out.json(&opened(DriverName::Qemu, context, session)?.facts()?);
    Ok(())
}

pub(super) async fn domcapabilities(args: DomcapabilitiesArgs, session: &mut Session, out: &mut Output) -> Done {
    let mut query = DomainCapsQuery::default();
    query.emulator = args.emulator;
    query.machine = args.machine;
    query.virttype = args.virttype;
    let caps = match (args.driver, &args.capabilities) {
        (Some(driver), Some(file)) => {
            let context = offline::context(args.arch.as_deref(), Some(file), &args.host, session)?;
            query.arch = Some(context.arch.clone());
            opened(driver, context, session)?.domain_capabilities(&query)?
        }
        (driver, _) => {
            let foreign = args.host.given();
            if !foreign.is_empty() {
                let message = format!("{} tell of another host; they need --capabilities", foreign.join(", "));
                return Err(Failure::Usage(message));
            }
            session.choose(driver, None)?;
            query.arch = args.arch;
            let connection = session.connection().await?;
            let driver = connection.driver();
            let told = driver.domain_capabilities();
            told.ok_or_else(|| Error::unsupported(driver.descriptor().name, "domain capabilities"))?
                .capabilities(&query)
                .await?
        }
    };
    if out.json {
        out.json(&caps);
    } else {
        out.print(&polyvirt::domain_capabilities_xml(&caps));
    }
    Ok(())
}

/// The driver without a host; a build that lacks it cannot answer.
fn opened(driver: DriverName, context: OfflineContext, session: &Session) -> Result<Box<dyn OfflineDriver>, Failure> {
    let lacking = || Failure::Usage(format!("this build has no {} driver that needs no host", offline::word(driver)));
    Ok(offline::open(driver, context, session).ok_or_else(lacking)??)
}
