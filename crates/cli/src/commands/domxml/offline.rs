//! A driver without a host, opened with what the options say of one.

use std::{path::Path, sync::Arc};

use polyvirt::{OfflineContext, OfflineDriver, Recording, Settings, model::Guest, model::XmlTree};

use super::super::read_xml;
use crate::{
    args::{DefinitionOptions, DescribedHost, DriverName, Setting},
    failure::Failure,
    output::Output,
    session::Session,
};

/// Largest recording that is read, in bytes.
const RECORDING_LIMIT: u64 = 32 << 20;
/// Most recordings that a process keeps. One of QEMU 10 has 0.9 MiB.
const RECORDINGS_KEPT: usize = 64;

/// The driver that the options name; `None` if they name none, or this build has none that works without a host.
pub(super) fn driver(
    options: &DefinitionOptions,
    session: &Session,
    out: &mut Output,
) -> Result<Option<Box<dyn OfflineDriver>>, Failure> {
    let context = of_definition(options, session)?;
    let Some(name) = options.driver else {
        without_effect(options, out);
        return Ok(None);
    };
    named(name, context, session, out)
}

/// The driver of that name; `None` if this build has none that works without a host.
pub(super) fn named(
    name: DriverName,
    context: OfflineContext,
    session: &Session,
    out: &mut Output,
) -> Result<Option<Box<dyn OfflineDriver>>, Failure> {
    match open(name, context, session) {
        Some(opened) => Ok(Some(opened?)),
        None => {
            out.warning(&format!(
                "this build has no rules of the {} driver that need no host; only driver-independent ones were used",
                word(name)
            ));
            Ok(None)
        }
    }
}

/// Names the options that change nothing where no driver is asked.
fn without_effect(options: &DefinitionOptions, out: &mut Output) {
    let given =
        [("--capabilities", options.capabilities.is_some()), ("--keep-machine-alias", options.keep_machine_alias)];
    let mut names: Vec<String> =
        given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.to_owned()).collect();
    names.extend(options.host.given());
    if !names.is_empty() {
        out.warning(&format!("without effect, because no --driver is named: {}", names.join(", ")));
    }
}

/// Opens a driver without a host; `None` if this build has none of that name.
pub(in crate::commands) fn open(
    driver: DriverName,
    context: OfflineContext,
    session: &Session,
) -> Option<polyvirt::Result<Box<dyn OfflineDriver>>> {
    let open = session.registry.by_name(driver.registered())?.offline?;
    Some(open(context))
}

pub(in crate::commands) fn word(driver: DriverName) -> String {
    use clap::ValueEnum as _;
    driver.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// What the options of a definition say of a host and of the guest.
fn of_definition(options: &DefinitionOptions, session: &Session) -> Result<OfflineContext, Failure> {
    let mut context = context(options.arch.as_deref(), options.capabilities.as_deref(), &options.host, session)?;
    context.guest = if options.new { Guest::New } else { Guest::Existing };
    context.keep_machine_alias = options.keep_machine_alias;
    context.running = options.active || options.from_active;
    Ok(context)
}

/// A host of this architecture, else of this machine's, with the hypervisor that was recorded.
pub(in crate::commands) fn context(
    arch: Option<&str>,
    recording: Option<&Path>,
    host: &DescribedHost,
    session: &Session,
) -> Result<OfflineContext, Failure> {
    let mut context = OfflineContext::new(arch.unwrap_or_else(|| host_arch()));
    context.recording = recording.map(|file| session.recordings.read(file)).transpose()?;
    context.host_cpu = host.host_cpu.as_deref().map(host_cpu).transpose()?;
    if let Some(file) = &host.config {
        context.settings = settings_of(file)?;
    }
    for Setting { key, value } in &host.set {
        context.settings.set(key, typed(value));
    }
    if let Some(directory) = &host.sysroot {
        is_directory(directory)?;
        context.sysroot = Some(directory.clone());
    }
    Ok(context)
}

/// Recordings that were read, by content: many commands of one process use the same few.
#[derive(Debug, Default)]
pub(crate) struct Recordings(std::sync::Mutex<Vec<Arc<Recording>>>);

impl Recordings {
    pub(in crate::commands) fn read(&self, file: &Path) -> Result<Arc<Recording>, Failure> {
        let unreadable = |error| Failure::from(polyvirt::io_error("read", file, error));
        let size = std::fs::metadata(file).map_err(unreadable)?.len();
        if size > RECORDING_LIMIT {
            let limit = RECORDING_LIMIT >> 20;
            let message =
                format!("{}: {size} bytes are too many for a recording, at most {limit} MiB are read", file.display());
            return Err(Failure::argument(message));
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(recording) = known.iter().find(|it| it.text() == text) {
            return Ok(recording.clone());
        }
        // Whoever asks for more of them than this has them read again.
        if known.len() == RECORDINGS_KEPT {
            known.remove(0);
        }
        let recording = Arc::new(Recording::new(text));
        known.push(recording.clone());
        Ok(recording)
    }
}

fn host_cpu(file: &Path) -> Result<XmlTree, Failure> {
    let refuse = |message: String| Failure::argument(format!("{}: {message}", file.display()));
    let tree = XmlTree::parse(&read_xml(file)?).map_err(|problem| refuse(problem.to_string()))?;
    if tree.name == "cpu" {
        Ok(tree)
    } else {
        Err(refuse(format!("the root element is <{}>, expected <cpu>", tree.name)))
    }
}

fn settings_of(file: &Path) -> Result<Settings, Failure> {
    let refuse = |message: &str| Failure::argument(format!("{}: {message}", file.display()));
    let table: toml::Table =
        read_xml(file)?.parse().map_err(|error: toml::de::Error| refuse(&format!("not TOML: {}", error.message())))?;
    match serde_json::to_value(table) {
        Ok(serde_json::Value::Object(values)) => Ok(Settings::new(values)),
        _ => Err(refuse("not a table of settings")),
    }
}

/// A value of the command line: `true`, `false`, a whole number, or text.
fn typed(value: &str) -> serde_json::Value {
    match value {
        "true" => true.into(),
        "false" => false.into(),
        _ => value.parse::<i64>().map_or_else(|_| value.into(), Into::into),
    }
}

fn is_directory(path: &Path) -> Result<(), Failure> {
    let meta = std::fs::metadata(path).map_err(|error| polyvirt::io_error("read", path, error))?;
    if meta.is_dir() { Ok(()) } else { Err(Failure::argument(format!("{} is no directory", path.display()))) }
}

/// This machine's architecture in libvirt's words.
pub(crate) fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        arch => arch,
    }
}
