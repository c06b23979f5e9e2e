//! What a start would do, before anything starts.

use polyvirt_core::{
    DomainId, Error, ErrorKind, LiveConfig, Manifest, Result,
    model::{DomainConfig, Problems},
    placement::{NodeSet, Plan},
};

use crate::{connection::Connection, placement, store::blocking};

/// A start, thought through.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The completed definition.
    pub config: DomainConfig,
    /// What was dropped, guessed or is not honoured.
    pub warnings: Problems,
    /// Where it would go, or why it would be refused; `None` when the hypervisor places.
    pub plan: Option<Result<Plan>>,
    /// What the start would touch.
    pub manifest: Result<Manifest>,
    /// The definition in the hypervisor's own language and the name of that format; `None` when the driver cannot write it.
    pub native: Option<(&'static str, Result<String>)>,
}

impl Connection {
    /// Thinks a start through: definition, placement with its reasons, command line. Nothing is started, promised or stored.
    ///
    /// `advice` is used for `placement='auto'` instead of asking the engine.
    ///
    /// # Errors
    /// Those of [`Connection::prepare`]; what a start would be refused for stands in the explanation.
    pub async fn explain(&self, xml: &str, advice: Option<NodeSet>) -> Result<Explanation> {
        let prepared = self.prepare(xml).await?;
        let plan = self.preview(&prepared.config, advice).await;
        let live = LiveConfig::new(prepared.config.clone(), DomainId(0));
        let placed = plan.as_ref().and_then(|p| p.as_ref().ok());
        let launcher = self.shared.launcher();
        let manifest = launcher.manifest(&live, placed);
        let native = match self.shared.driver.native_export() {
            None => None,
            Some(export) => match export.formats().first() {
                None => None,
                Some(format) => Some((*format, export.export(format, &live, placed).await)),
            },
        };
        Ok(Explanation { config: prepared.config, warnings: prepared.warnings, plan, manifest, native })
    }

    async fn preview(&self, config: &DomainConfig, advice: Option<NodeSet>) -> Option<Result<Plan>> {
        let profile = self.shared.driver.placement()?.clone();
        let topology = match placement::topology(&self.shared).await {
            Ok(topology) => topology?,
            Err(error) => return Some(Err(error)),
        };
        let (shared, config) = (self.shared.clone(), config.clone());
        Some(blocking(move || placement::preview(&shared, &config, &profile, &topology, advice)).await)
    }

    /// A definition in one of the driver's own languages.
    ///
    /// # Errors
    /// Those of [`Connection::prepare`]; `Unsupported`; `InvalidArgument` for an unknown format; `NoResources`.
    pub async fn to_native(&self, xml: &str, format: &str, advice: Option<NodeSet>) -> Result<String> {
        let driver = self.shared.driver.descriptor().name;
        let export = self.shared.driver.native_export().ok_or_else(|| Error::unsupported(driver, "native format"))?;
        if !export.formats().contains(&format) {
            let message = format!("the {driver} driver writes {}, not '{format}'", export.formats().join(", "));
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let prepared = self.prepare(xml).await?;
        let plan = self.preview(&prepared.config, advice).await.transpose()?;
        export.export(format, &LiveConfig::new(prepared.config, DomainId(0)), plan.as_ref()).await
    }
}
