//! Why a question about CPUs has no answer.

use polyvirt_xml::Problems;
use thiserror::Error;

/// Why a question about CPUs has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CpuError {
    /// There are no models of this architecture here.
    #[error("no CPU models of '{0}' are known here; there are those of {known}", known = crate::ARCHITECTURES.join(", "))]
    Architecture(String),
    /// The CPU is one of another architecture.
    #[error("the CPU is one of {is}, and {wanted} was asked for")]
    OtherArchitecture {
        /// What the CPU says.
        is: String,
        /// What was asked for.
        wanted: String,
    },
    /// The document is not what it should be.
    #[error("{0}")]
    Document(#[from] Problems),
    /// There is no CPU in the document.
    #[error("there is no <cpu> in the document; it should be <cpu>, or hold one or more")]
    NoCpu,
    /// More CPUs than anybody has.
    #[error("{0} CPUs are more than {max} to work on at once", max = crate::MAX_CPUS)]
    TooManyCpus(usize),
    /// The CPU says no model, and one is needed.
    #[error("the CPU names no model; write <model>NAME</model>")]
    NoModel,
    /// No such model.
    #[error("there is no CPU model '{name}'{}", did_you_mean(.nearest.as_deref()))]
    UnknownModel {
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// No such feature.
    #[error("there is no CPU feature '{name}'{}", did_you_mean(.nearest.as_deref()))]
    UnknownFeature {
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A feature is there twice.
    #[error("the feature '{0}' is written twice; write it once, with one policy")]
    FeatureTwice(String),
    /// No such vendor.
    #[error("there is no CPU vendor '{0}'; there are {known}", known = .1.join(", "))]
    UnknownVendor(String, Vec<String>),
    /// No common CPU: other vendors.
    #[error("CPUs of {0} and of {1} have no common baseline; take those of one vendor")]
    Vendors(String, String),
    /// No common CPU: other models.
    #[error("CPUs of the models {0} and {1} have no common baseline; take those of one model")]
    Models(String, String),
    /// What a `<cpu>` of a host must say.
    #[error("the host's CPU cannot be one with mode='{0}'; give the <cpu> of the host's capabilities")]
    HostMode(&'static str),
    /// The host cannot do what the guest must have.
    #[error("the host's CPU cannot be this one: {0}")]
    Incompatible(String),
    /// No model of those that may be taken describes the CPU.
    #[error("no CPU model describes this CPU{}; {hint}", of(.vendor.as_deref()), hint = "allow more models")]
    Indescribable {
        /// The CPU's vendor.
        vendor: Option<String>,
    },
    /// The model may not be replaced.
    #[error("the model '{0}' is not among the models allowed, and its fallback='forbid' allows no other")]
    Fallback(String),
    /// Not CPUID leaves.
    #[error("{0}")]
    Cpuid(String),
    /// Not QEMU's replies.
    #[error("{0}")]
    Replies(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean '{nearest}'?"))
}

fn of(vendor: Option<&str>) -> String {
    vendor.map_or_else(String::new, |vendor| format!(" of {vendor}"))
}
