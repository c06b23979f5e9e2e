//! A connection: a driver, a root, and the guests in it.

mod define;
mod find;

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use polyvirt_core::{
    ConnectUri, Custody, Driver, Error, ErrorKind, Event, GuestSupport, Identity, OpenContext, Result, Roots,
    ServiceContext,
    placement::{HostTopology, Ledger},
};
use polyvirt_host::Host;
use tokio::{sync::broadcast, task::JoinSet};

pub use self::define::{Defined, Prepared};
use crate::{
    actor::{Actor, ActorHandle},
    options::OpenOptions,
    owner::succeed,
    services::Services,
    shared::Shared,
    store::{Definitions, History, Jobs, Records, Snapshots, blocking, make_directories},
};

/// So many guests are started at once at most, on however large a host: each start books memory under one lock and reads files.
const AT_ONCE: usize = 16;

/// How long opening waits for the end of a job that a process left which is gone.
const SETTLING: Duration = Duration::from_secs(2);

/// A connection to a hypervisor. Clones are the same connection; it closes when the last clone and the last
/// [`Guest`](crate::Guest) are gone.
/// Guests run on.
#[derive(Clone)]
pub struct Connection {
    pub(crate) shared: Arc<Shared>,
    actors: Arc<Mutex<HashMap<String, ActorHandle>>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.shared.uri)
    }
}

impl Connection {
    /// Opens a connection and looks after what earlier processes left unfinished.
    ///
    /// # Errors
    /// `InvalidArgument` for a URI that cannot be read, `NotFound` for a driver that is not linked, `Unsupported` for a remote
    /// URI, `Denied` or `Storage` when the directories cannot be used.
    pub async fn open(uri: &str, options: OpenOptions) -> Result<Self> {
        let uri: ConnectUri = uri.parse().map_err(|e: polyvirt_core::UriError| {
            Error::new(ErrorKind::InvalidArgument, e.to_string())
                .hint("local URIs are qemu:///system, qemu:///session and qemu:///embed?root=DIR")
        })?;
        if uri.transport().is_some() || uri.server.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{uri} is on another host; this program reaches the hypervisors of this host only"),
            )
            .hint("run polyvirt on that host, for instance through ssh"));
        }
        let descriptor = options.registry.for_uri(&uri)?;
        let uid = effective_uid()?;
        let roots = match &options.roots {
            Some(roots) => roots.clone(),
            None => roots_of(&uri, descriptor.name, uid)?,
        };
        let privileged = uri.path.as_deref() == Some("/system") || uid == 0;
        let identity = Identity::new(uid, privileged);
        let cx = OpenContext::new(uri.clone(), identity.clone(), roots.clone(), options.settings.clone());
        let driver = (descriptor.open)(cx).await?;
        if !matches!(driver.custody(), Custody::Ours(_)) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the {} driver keeps its definitions itself", descriptor.name),
            ));
        }
        let services = Services::open(&options.registry, &ServiceContext::new(roots.clone(), identity))?;
        let mut made = roots.clone();
        if driver.topology().is_some() || options.host_root != Path::new("/") {
            // Nodes of another host: no promise about ours.
            made.numa = made.run.join("numa");
        }
        let host_root = options.host_root.clone();
        let (ledger, boot_id) = blocking(move || {
            make_directories(&made)?;
            let boot_id = polyvirt_lease::boot_id().map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
            Ok((Ledger::open(&made.numa).map_err(|e| e.to_string()), boot_id))
        })
        .await?;
        let shared = Shared {
            uri,
            driver,
            definitions: Definitions::new(&roots.config),
            records: Records::new(&roots.run),
            history: History::new(&roots.run),
            jobs: Jobs::new(&roots.run),
            snapshots: Snapshots::new(&roots.config),
            host: Host::at(host_root),
            roots,
            options,
            boot_id,
            ledger,
            services,
        };
        let connection = Self { shared: Arc::new(shared), actors: Arc::default() };
        connection.recover().await?;
        Ok(connection)
    }

    /// Settles every record that nobody owns, and forgets owners who died. What cannot be settled is logged and shown by [`Connection::list`]; it keeps no one from working.
    async fn recover(&self) -> Result<()> {
        let records = self.shared.records.clone();
        let names = blocking(move || records.traces()).await?;
        for name in names {
            if let Err(error) = self.recover_one(&name).await {
                tracing::warn!(guest = %name, %error, "could not be looked after");
            }
        }
        Ok(())
    }

    async fn recover_one(&self, name: &str) -> Result<()> {
        let (records, wanted) = (self.shared.records.clone(), name.to_owned());
        let read = move || records.get(&wanted);
        let found = blocking(read.clone()).await?;
        if let Some(record) = found.filter(|it| it.phase == crate::store::Phase::Running && self.shared.is_alive(it)) {
            let shared = self.shared.clone();
            if blocking(move || shared.is_job_orphaned(&record)).await? {
                // Attaching to the guest settles its job. One that does not answer keeps nobody waiting for long, and goes on.
                let (handle, guest, patience) = (self.actor(name), name.to_owned(), self.shared.options.wait_for_owner);
                let settled = tokio::spawn(async move {
                    handle.look_within(patience).await.map(drop)?;
                    // Whoever wants it next may have it.
                    handle.ask(&guest, patience, |reply| crate::actor::Command::Release { reply }).await
                });
                tokio::time::timeout(SETTLING, settled).await.ok();
            }
            return Ok(());
        }
        if let Some(lock) = succeed(&self.shared.records, name, "clean up").await? {
            // It may have been settled or started by another process before we owned it.
            let runs = match blocking(read).await? {
                Some(record) => self.shared.settle(&record).await?,
                // Emptied by a power cut, or removed by another process meanwhile.
                None => {
                    let (records, name) = (self.shared.records.clone(), name.to_owned());
                    blocking(move || records.remove(&name)).await?;
                    false
                }
            };
            if runs {
                lock.release();
            } else if let Err(error) = lock.remove() {
                tracing::debug!(%error, "an owner file stays behind, unlocked");
            }
        }
        Ok(())
    }

    /// The URI it was opened with.
    #[must_use]
    pub fn uri(&self) -> &ConnectUri {
        &self.shared.uri
    }

    /// The driver.
    #[must_use]
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.shared.driver
    }

    /// Where state is kept.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.shared.roots
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// The host's nodes as guests are placed on them: all the driver's hypervisor has, whatever our own cgroup leaves us.
    ///
    /// # Errors
    /// `Storage` when they cannot be read.
    pub async fn topology(&self) -> Result<HostTopology> {
        match self.shared.driver.topology() {
            Some(source) => source.topology().await,
            None => {
                let shared = self.shared.clone();
                blocking(move || {
                    let read = shared.host.topology();
                    read.map_err(|e| {
                        Error::new(ErrorKind::Storage, format!("cannot read the host's topology: {e}")).source(e)
                    })
                })
                .await
            }
        }
    }

    /// The ledger of promises, or why there is none.
    ///
    /// # Errors
    /// The reason, as text.
    pub fn ledger(&self) -> Result<&Ledger, &str> {
        self.shared.ledger.as_ref().map_err(String::as_str)
    }

    /// Kinds of guests that can run here.
    ///
    /// # Errors
    /// Those of [`Driver::guests`].
    pub async fn guest_support(&self) -> Result<Vec<GuestSupport>> {
        self.shared.driver.guests().await
    }

    /// Events of this process from now on. Those of other processes: [`Connection::history`].
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.history.subscribe()
    }

    /// The epoch that this process's events carry.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.history.epoch()
    }

    /// Where the history of this root ends now.
    #[must_use]
    pub fn history_end(&self) -> u64 {
        self.shared.history.end()
    }

    /// Events of all processes on this root that were kept after `from`, and where to read on.
    ///
    /// # Errors
    /// `Storage` when the history cannot be read.
    pub async fn history(&self, from: u64) -> Result<(Vec<Event>, u64)> {
        let history = self.shared.history.clone();
        blocking(move || history.read(from)).await
    }

    /// Looks for guests that ended while nobody attended them, and tells so in the history.
    ///
    /// # Errors
    /// `Storage` when the records cannot be read.
    pub async fn look_after(&self) -> Result<()> {
        self.recover().await
    }

    /// Starts every guest that is marked to start with the host and does not run, several at once. Gives each with how it went, sorted by
    /// name.
    ///
    /// # Errors
    /// Those of [`Connection::list`].
    pub async fn autostart(&self) -> Result<Vec<(String, Result<()>)>> {
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, AT_ONCE);
        let marked = self.list().await?.into_iter().filter(|it| it.autostart && !it.state.is_active());
        let mut waiting = marked.map(|it| it.name);
        let (mut starting, mut done) = (JoinSet::new(), Vec::new());
        loop {
            while starting.len() < workers
                && let Some(name) = waiting.next()
            {
                let connection = self.clone();
                starting.spawn(async move {
                    let started = match connection.lookup_by_name(&name).await {
                        Ok(guest) => guest.start(false).await,
                        Err(error) => Err(error),
                    };
                    (name, started)
                });
            }
            match starting.join_next().await {
                Some(Ok(started)) => done.push(started),
                Some(Err(error)) => tracing::error!(%error, "the start of a guest ended without an answer"),
                None => break,
            }
        }
        done.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(done)
    }

    pub(crate) fn actor(&self, name: &str) -> ActorHandle {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        actors.entry(name.to_owned()).or_insert_with(|| Actor::spawn(self.shared.clone(), name)).clone()
    }
}

/// The effective user id of this process: the owner of its directory in procfs (proc(5)).
fn effective_uid() -> Result<u32> {
    std::fs::metadata("/proc/self")
        .map(|m| m.uid())
        .map_err(|e| polyvirt_core::io_error("look at", Path::new("/proc/self"), e))
}

fn roots_of(uri: &ConnectUri, driver: &str, uid: u32) -> Result<Roots> {
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    match uri.path.as_deref() {
        Some("/system") => Ok(Roots::system(driver)),
        Some("/session" | "/default") => {
            let home = env("HOME").ok_or_else(|| {
                Error::new(ErrorKind::InvalidArgument, "HOME is not set, so there is no place for this user's guests")
                    .hint("set HOME, or use ?root=")
            })?;
            let run = format!("/run/user/{uid}");
            let run = Path::new(&run);
            Ok(Roots::session(driver, env, Path::new(&home), run.is_dir().then_some(run)))
        }
        Some("/embed") => {
            let root = uri.param("root").ok_or_else(|| {
                Error::new(ErrorKind::InvalidArgument, format!("{uri} names no directory"))
                    .hint("write qemu:///embed?root=/some/directory")
            })?;
            let root = std::path::absolute(root).map_err(|e| polyvirt_core::io_error("use", Path::new(root), e))?;
            Ok(Roots::embedded(&root, driver, uid == 0))
        }
        other => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{uri} has the path '{}', which names no set of guests", other.unwrap_or("")),
        )
        .hint(format!("write {driver}:///system, {driver}:///session or {driver}:///embed?root=DIR"))),
    }
}
