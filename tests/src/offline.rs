//! QEMU's driver without a host, for tests and benchmarks: definitions in, command lines out, in this process.

use std::sync::Arc;

use polyvirt::{
    ExportOptions, OfflineContext, OfflineDriver, Recording,
    model::{DomainConfig, Guest, ParseOptions, Positions, complete_and_check},
};

/// The driver of a QEMU that was recorded.
#[derive(Debug)]
pub struct Offline(Box<dyn OfflineDriver>);

impl Offline {
    /// Opens it.
    ///
    /// # Errors
    /// When the recording is of no use.
    pub fn open(recording: String) -> Result<Self, String> {
        let registry = polyvirt::registry().map_err(|error| error.to_string())?;
        let open = registry.by_name("qemu").and_then(|it| it.offline).ok_or("no driver of QEMU without a host")?;
        let mut context = OfflineContext::new("x86_64");
        context.recording = Some(Arc::new(Recording::new(recording)));
        open(context).map(Self).map_err(|error| error.to_string())
    }

    /// The command line of a definition as it is written.
    ///
    /// # Errors
    /// Why there is none.
    pub fn command_line(&self, xml: &str) -> Result<String, String> {
        let parsed = DomainConfig::parse(xml, &ParseOptions::default()).map_err(|problems| problems.to_string())?;
        self.of_config(parsed.config, &parsed.positions)
    }

    /// The command line of a definition.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of_config(&self, mut config: DomainConfig, positions: &Positions) -> Result<String, String> {
        config.make_stored();
        complete_and_check(&mut config, Guest::Existing, positions).map_err(|problems| problems.to_string())?;
        self.0.complete(&mut config).map_err(|problems| problems.to_string())?;
        let native = self.0.export("qemu-argv", &config, &ExportOptions::default());
        // The path is among what the error was given.
        native.map_err(|error| format!("{error} {error:?}"))
    }
}
