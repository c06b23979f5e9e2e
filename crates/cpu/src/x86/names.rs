//! What QEMU's names of models and features are called in definitions.

use super::catalog::Catalog;
use crate::KnownModel;

/// The model that definitions name like this one of QEMU's, if they may.
pub(crate) fn model_of_qemu(name: &str) -> Option<KnownModel> {
    let model = Catalog::get().models.iter().find(|model| model.name == name && model.offered)?;
    Some(KnownModel { name: &model.name, vendor: model.vendor.as_deref() })
}

/// What a model once stood for and has lost.
pub(crate) fn withdrawn(name: &str) -> Vec<&'static str> {
    let catalog = Catalog::get();
    let model = catalog.models.iter().find(|model| model.name == name);
    model.map_or_else(Vec::new, |model| catalog.names(&model.withdrawn))
}

/// The printed name of the feature that QEMU calls this.
pub(crate) fn feature_of_qemu(name: &str) -> Option<&'static str> {
    let catalog = Catalog::get();
    catalog.by_name.get(name).map(|id| catalog.name(*id))
}
