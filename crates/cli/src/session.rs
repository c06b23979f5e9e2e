//! What a command needs: settings, options, and the connection, opened when it is first asked for.

use std::{path::Path, sync::Arc, time::Duration};

use polyvirt::{Connection, Guest, OpenOptions, Ownership, ProbeContext, ProbeResult, Registry, StageObserver};

use crate::{
    args::{DriverName, Global},
    commands::Recordings,
    failure::Failure,
    settings::Settings,
};

/// Where the URI comes from that the command line names.
const CONNECT: &str = "option --connect";

/// One command's surroundings.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    /// Recorded hypervisors that this process has read.
    pub(crate) recordings: Arc<Recordings>,
    connection: Option<Connection>,
}

impl Session {
    pub(crate) fn new(global: &Global, recordings: Arc<Recordings>) -> Result<Self, Failure> {
        let mut settings = Settings::load(global.settings.as_deref(), |name| std::env::var(name).ok())?;
        if let Some(uri) = &global.connect {
            settings.uri = crate::settings::Sourced { value: uri.clone(), from: CONNECT.to_owned() };
        }
        Ok(Self { settings, registry: polyvirt::registry()?, recordings, connection: None })
    }

    /// The URI to connect to: the one that was said, else the first driver that works here.
    pub(crate) fn uri(&self) -> Result<String, Failure> {
        if !self.settings.uri.value.is_empty() {
            return Ok(self.settings.uri.value.clone());
        }
        let mut reasons = Vec::new();
        for driver in self.registry.drivers().iter().filter(|d| d.name != "mock") {
            match (driver.probe)(&ProbeContext::new(self.settings.driver(driver.name))) {
                ProbeResult::Usable(_) => return Ok(format!("{}:///{}", driver.schemes[0], own_guests())),
                ProbeResult::NotOperational { reason, remedy } => {
                    reasons.push(format!("{}: {reason} ({remedy})", driver.name))
                }
                _ => {}
            }
        }
        let message = format!(
            "no hypervisor can be used here: {}",
            if reasons.is_empty() { "no driver is linked".to_owned() } else { reasons.join("; ") }
        );
        Err(polyvirt::Error::new(polyvirt::ErrorKind::NotFound, message)
            .hint("install one, or name one with -c; mock:///default needs nothing")
            .into())
    }

    /// Takes the guests of this driver, below this directory: for options that say it instead of `--connect`.
    pub(crate) fn choose(&mut self, driver: Option<DriverName>, root: Option<&Path>) -> Result<(), Failure> {
        if driver.is_none() && root.is_none() {
            return Ok(());
        }
        if self.settings.uri.from == CONNECT {
            return Err(Failure::Usage("--connect says it all: leave out --driver and --root".to_owned()));
        }
        let scheme = match driver {
            Some(driver) => {
                let known = self.registry.by_name(driver.registered());
                let lacking = || Failure::Usage(format!("this build has no {} driver", driver.registered()));
                known.ok_or_else(lacking)?.schemes[0].to_owned()
            }
            None => self.uri()?.split(':').next().unwrap_or_default().to_owned(),
        };
        self.settings.uri.value = match root {
            None => format!("{scheme}:///{}", own_guests()),
            Some(root) => {
                let root = std::path::absolute(root).map_err(|error| polyvirt::io_error("use", root, error))?;
                let text = root.to_str();
                let text = text.ok_or_else(|| Failure::argument(format!("{} is no UTF-8 name", root.display())))?;
                format!("{scheme}:///embed?root={}", escaped(text))
            }
        };
        Ok(())
    }

    /// The connection.
    pub(crate) async fn connection(&mut self) -> Result<Connection, Failure> {
        if self.connection.is_none() {
            self.connection = Some(self.open(None).await?);
        }
        self.connection.clone().ok_or_else(|| Failure::Usage("not connected".to_owned()))
    }

    /// A connection of its own, with an observer of starts.
    pub(crate) async fn open(&self, observer: Option<Arc<dyn StageObserver>>) -> Result<Connection, Failure> {
        self.open_with(observer, Ownership::WhileBusy).await
    }

    /// A connection of its own that may keep its guests.
    pub(crate) async fn open_with(
        &self,
        observer: Option<Arc<dyn StageObserver>>,
        ownership: Ownership,
    ) -> Result<Connection, Failure> {
        let uri = self.uri()?;
        let mut options = OpenOptions::new(self.registry.clone()).ownership(ownership);
        options.wait_for_owner = Duration::from_secs(self.settings.wait.value);
        options.advisor = self.settings.advisor.value.clone();
        options.start_timeout = Duration::from_secs(self.settings.start_timeout.value);
        if let Ok(uri) = uri.parse::<polyvirt::ConnectUri>()
            && let Ok(driver) = self.registry.for_uri(&uri)
        {
            options.settings = self.settings.driver(driver.name);
        }
        options.observer = observer;
        Ok(Connection::open(&uri, options).await?)
    }

    /// The guest of that name, UUID or number.
    pub(crate) async fn guest(&mut self, key: &str) -> Result<Guest, Failure> {
        Ok(self.connection().await?.lookup(key).await?)
    }
}

/// Whose guests this user has: the system's, or one's own.
fn own_guests() -> &'static str {
    if nix::unistd::geteuid().is_root() { "system" } else { "session" }
}

/// A path as it stands in a URI.
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
