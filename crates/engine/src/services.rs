//! The services that this program has.

use std::sync::Arc;

use polyvirt_core::{
    Labels, Registry, Result, Service, ServiceContext,
    model::{DomainConfig, Problem, Problems, security::LabelType},
};

/// The services of a connection, opened.
#[derive(Debug, Default)]
pub(crate) struct Services {
    labels: Option<Arc<dyn Labels>>,
}

impl Services {
    /// Opens those that are linked.
    pub(crate) fn open(registry: &Registry, cx: &ServiceContext) -> Result<Self> {
        let mut services = Self::default();
        for descriptor in registry.services() {
            match (descriptor.open)(cx)? {
                Service::Labels(labels) => services.labels = Some(labels),
                _ => tracing::debug!(name = descriptor.name, "a service that this engine has no use for"),
            }
        }
        Ok(services)
    }

    pub(crate) fn labels(&self) -> Option<&dyn Labels> {
        self.labels.as_deref()
    }

    /// Refuses what a definition wants of services and none can do: a guest that asks for a label is not started without.
    pub(crate) fn check(&self, config: &DomainConfig) -> Result<(), Problems> {
        let models = self.labels.as_ref().map_or(&[][..], |it| it.models());
        let wanted = config.seclabel.iter().enumerate().filter(|(_, it)| it.kind != Some(LabelType::None));
        let missing = wanted.filter_map(|(at, it)| Some((at, it.model.as_deref().filter(|it| !models.contains(it))?)));
        let problems: Vec<_> = missing
            .map(|(at, model)| {
                let have = if models.is_empty() { "none".to_owned() } else { models.join(", ") };
                let message = format!(
                    "the security model '{model}' is not carried out here (there is: {have}); remove the element, or start the guest where it is"
                );
                Problem::error(format!("/domain/seclabel[{}]/@model", at + 1), message)
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.into_iter().collect()) }
    }
}
