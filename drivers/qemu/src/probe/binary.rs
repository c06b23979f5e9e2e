//! What a QEMU binary can do.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use polyvirt_qmp::{CpuDefinition, Kvm, Machine, QemuVersion, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    answers::{Answers, RecordingError},
    expansion::{self, Expansion},
    questions,
    schema::Schema,
};

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Accelerator {
    /// Linux' KVM.
    Kvm,
    /// macOS' Hypervisor.framework.
    Hvf,
    /// QEMU itself.
    Tcg,
}

/// What depends on the accelerator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Abilities {
    pub(crate) accelerator: Accelerator,
    pub(crate) machines: Vec<Machine>,
    pub(crate) cpus: Vec<CpuDefinition>,
    /// Expansions of CPU models, by what was asked for.
    pub(crate) expansions: Vec<(Value, Value)>,
    /// The orders in which their properties were told, where that is known.
    #[serde(default)]
    pub(crate) orders: Vec<Vec<String>>,
}

/// What a QEMU binary can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    pub(crate) version: QemuVersion,
    /// QEMU's name of the architecture.
    pub(crate) arch: String,
    /// Under the best accelerator that it was asked under.
    pub(crate) best: Abilities,
    /// Under TCG, if that is another one.
    pub(crate) emulation: Option<Abilities>,
    pub(crate) commands: BTreeSet<String>,
    /// Names of all object types: devices, backends and the rest.
    pub(crate) types: BTreeSet<String>,
    /// Properties of the types that were asked for.
    pub(crate) properties: BTreeMap<String, BTreeSet<String>>,
    /// Options of the command line with their parameters.
    pub(crate) options: BTreeMap<String, BTreeSet<String>>,
    /// Paths of [`questions::SCHEMA`] that its schema has.
    pub(crate) schema: BTreeSet<String>,
    /// Other answers as they came: TPM models and types, migration capabilities, SEV, SGX, GIC.
    pub(crate) replies: BTreeMap<String, Value>,
    /// Whether it was built with KVM, which says nothing of the host.
    pub(crate) kvm: bool,
    /// Nothing was asked; it is taken to be able to do everything.
    #[serde(default)]
    pub(crate) assumed: bool,
}

/// The newest release whose defaults are known here.
const NEWEST: (u32, u32, u32) = (10, 0, 0);

/// Answers that are kept as they came.
const KEPT: &[&str] = &[
    "query-tpm-models",
    "query-tpm-types",
    "query-migrate-capabilities",
    "query-sev-capabilities",
    "query-sgx-capabilities",
    "query-gic-capabilities",
];

impl Binary {
    /// What follows from the answers of one session or two, the second under TCG.
    ///
    /// # Errors
    /// `Missing` or `Unexpected` for an answer that every QEMU gives.
    pub(crate) fn read(path: &Path, sessions: &[Answers]) -> Result<Self, RecordingError> {
        let missing = |command: &str| RecordingError::Missing { command: command.to_owned() };
        let first = sessions.first().ok_or_else(|| missing("qmp_capabilities"))?;
        let kvm: Kvm = first.read("query-kvm")?;
        let schema = first.get("query-qmp-schema", &Value::Null).ok_or_else(|| missing("query-qmp-schema"))?;
        let types = names(first.get("qom-list-types", &Value::Null).ok_or_else(|| missing("qom-list-types"))?, "name");
        let accelerator = match (kvm.enabled, !kvm.present && sessions.len() > 1) {
            (true, _) => Accelerator::Kvm,
            (_, true) => Accelerator::Hvf,
            _ => Accelerator::Tcg,
        };
        let mut properties: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (asked, answer) in first.all("device-list-properties").chain(first.all("qom-list-properties")) {
            let Some(name) = asked["typename"].as_str() else { continue };
            properties.entry(name.to_owned()).or_default().extend(names(answer, "name"));
        }
        let options = first.get("query-command-line-options", &Value::Null).and_then(Value::as_array);
        let options = options
            .into_iter()
            .flatten()
            .filter_map(|it| Some((it["option"].as_str()?.to_owned(), names(&it["parameters"], "name"))));
        let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), first.get(name, &Value::Null)?.clone())));
        let commands = schema.as_array().into_iter().flatten().filter(|it| it["meta-type"] == "command");
        let paths = Schema::of(schema);
        Ok(Self {
            path: path.to_owned(),
            version: first.read("query-version")?,
            arch: first.read::<Target>("query-target")?.arch,
            best: Abilities::read(accelerator, first)?,
            emulation: match sessions.get(1) {
                Some(second) => Some(Abilities::read(Accelerator::Tcg, second)?),
                None => None,
            },
            commands: commands.filter_map(|it| Some(it["name"].as_str()?.to_owned())).collect(),
            types,
            properties,
            options: options.collect(),
            schema: questions::SCHEMA.iter().filter(|it| paths.has(it)).map(|it| (*it).to_owned()).collect(),
            replies: kept.collect(),
            kvm: kvm.present,
            assumed: false,
        })
    }

    /// One of which nothing is known but what it emulates, taken to be able to do everything.
    pub(crate) fn assumed(path: PathBuf, arch: &str) -> Self {
        let none = || BTreeSet::new();
        Self {
            path,
            version: QemuVersion::new(NEWEST.0, NEWEST.1, NEWEST.2),
            arch: arch.to_owned(),
            best: Abilities {
                accelerator: Accelerator::Kvm,
                machines: Vec::new(),
                cpus: Vec::new(),
                expansions: Vec::new(),
                orders: Vec::new(),
            },
            emulation: None,
            commands: none(),
            types: none(),
            properties: BTreeMap::new(),
            options: BTreeMap::new(),
            schema: none(),
            replies: BTreeMap::new(),
            kvm: true,
            assumed: true,
        }
    }

    /// What it can do for guests with or without hardware virtualisation.
    pub(crate) fn abilities(&self, virtualised: bool) -> &Abilities {
        match &self.emulation {
            Some(emulation) if !virtualised => emulation,
            _ => &self.best,
        }
    }

    /// The machine of that name or alias.
    pub(crate) fn machine(&self, name: &str) -> Option<&Machine> {
        let machines = &self.best.machines;
        machines
            .iter()
            .find(|it| it.name == name)
            .or_else(|| machines.iter().find(|it| it.alias.as_deref() == Some(name)))
    }

    /// What `-machine` without a type means.
    pub(crate) fn default_machine(&self) -> Option<&Machine> {
        self.best.machines.iter().find(|it| it.is_default)
    }

    /// Whether it has the CPU model, however its letters are written.
    pub(crate) fn has_cpu(&self, name: &str) -> bool {
        let all = [Some(&self.best), self.emulation.as_ref()];
        self.assumed || all.into_iter().flatten().flat_map(|it| &it.cpus).any(|it| it.name.eq_ignore_ascii_case(name))
    }

    /// Whether there are objects of this type.
    pub(crate) fn has_type(&self, name: &str) -> bool {
        self.assumed || self.types.contains(name)
    }

    /// Whether objects of this type have the property. Types that nobody asked for have none.
    pub(crate) fn has_property(&self, name: &str, property: &str) -> bool {
        self.assumed || self.properties.get(name).is_some_and(|it| it.contains(property))
    }

    /// Whether an option of the command line takes the parameter.
    pub(crate) fn has_option(&self, option: &str, parameter: &str) -> bool {
        self.assumed || self.options.get(option).is_some_and(|it| it.contains(parameter))
    }

    /// Whether its monitor commands have this path, one of [`questions::SCHEMA`].
    pub(crate) fn has_path(&self, path: &str) -> bool {
        debug_assert!(questions::SCHEMA.contains(&path), "'{path}' is not among the questions");
        self.assumed || self.schema.contains(path)
    }

    /// Whether it can confine itself with seccomp. A build without it may know the option with no parameters.
    pub(crate) fn sandbox(&self) -> bool {
        self.assumed || self.options.get("sandbox").is_some_and(|it| !it.is_empty())
    }
}

impl Abilities {
    fn read(accelerator: Accelerator, answers: &Answers) -> Result<Self, RecordingError> {
        let expansions = answers.all(expansion::COMMAND);
        let (expansions, orders) =
            expansions.map(|(asked, answer)| ((asked.clone(), answer.clone()), answers.order(asked).to_vec())).unzip();
        Ok(Self {
            accelerator,
            machines: answers.read("query-machines")?,
            // Some architectures have no such command.
            cpus: match answers.get("query-cpu-definitions", &Value::Null) {
                Some(_) => answers.read("query-cpu-definitions")?,
                None => Vec::new(),
            },
            expansions,
            orders,
        })
    }
}

impl Abilities {
    /// The expansion that was asked for in words that `wanted` accepts.
    pub(crate) fn expansion(&self, wanted: impl Fn(&Value) -> bool) -> Option<Expansion> {
        let at = self.expansions.iter().position(|(asked, _)| wanted(asked))?;
        let order = self.orders.get(at).map(Vec::as_slice).unwrap_or_default();
        Expansion::read(&self.expansions[at].1, order)
    }
}

/// The member `key` of all objects in a list.
fn names(list: &Value, key: &str) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(|it| Some(it[key].as_str()?.to_owned())).collect()
}
