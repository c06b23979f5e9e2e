//! A root, guests in it, and what must be gone when they are.

use std::path::Path;

use polyvirt::{Connection, Destroy, Guest, OpenOptions, Ownership, placement::Plan};
use polyvirt_tests::{processes_with, root};

/// How a check went: why it failed.
pub(crate) type Outcome = Result<(), String>;

/// Fails the check with a message unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// A root of its own, and a connection to it.
pub(crate) struct Bench {
    pub(crate) connection: Connection,
    dir: polyvirt_tests::Root,
}

/// A guest that runs, and where it was put.
pub(crate) struct Started {
    pub(crate) guest: Guest,
    pub(crate) plan: Plan,
    pub(crate) pid: u32,
}

impl Bench {
    /// With a fresh root. The machine has no KVM, and trying costs seconds.
    pub(crate) async fn new() -> Self {
        let dir = root();
        Self { connection: connect(dir.path()).await, dir }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Defines a guest and starts it paused: nothing of it is needed but its memory and its threads.
    pub(crate) async fn start(&self, xml: &str) -> Result<Started, String> {
        let defined = self.connection.define(xml).await.map_err(|e| explain("define", &e))?;
        defined.guest.start(true).await.map_err(|e| explain("start", &e))?;
        self.look_at(defined.guest).await
    }

    /// The plan and the process of a guest that runs.
    pub(crate) async fn look_at(&self, guest: Guest) -> Result<Started, String> {
        let view = guest.view().await.map_err(|e| explain("view", &e))?;
        let plan = view.plan.ok_or("a running guest without a plan")?;
        for weak in &plan.weakened {
            println!("{}: weakened: {weak}", guest.name());
        }
        let processes = processes_with(&["qemu-system", &guest.uuid().to_string()]);
        let [(pid, _)] = processes[..] else {
            return Err(format!("not one process of '{}' but {processes:?}", guest.name()));
        };
        Ok(Started { guest, plan, pid })
    }

    /// Ends every guest and forgets it, after a check that failed.
    pub(crate) async fn end_all(&self) {
        for entry in self.connection.list().await.unwrap_or_default() {
            let Ok(guest) = self.connection.lookup_by_name(&entry.name).await else { continue };
            if entry.state.is_active()
                && let Err(error) = guest.destroy(Destroy::default()).await
            {
                println!("'{}' does not end: {error}", entry.name);
            }
            if let Err(error) = guest.undefine().await {
                println!("'{}' stays: {error}", entry.name);
            }
        }
    }

    /// No process, promise, cgroup or file of any guest is left.
    pub(crate) async fn nothing_left(&self) -> Outcome {
        let processes = processes_with(&["qemu-system", "guest="]);
        ensure!(processes.is_empty(), "processes are left: {processes:?}");
        let ledger = self.connection.ledger().map_err(|why| format!("no ledger: {why}"))?;
        let leases = ledger.snapshot().map_err(|e| e.to_string())?.leases;
        ensure!(leases.is_empty(), "promises are left: {leases:?}");
        let groups = polyvirt_tests::groups_of("");
        ensure!(groups.is_empty(), "cgroups are left: {groups:?}");
        let files = files(&self.connection.roots().run);
        ensure!(files.is_empty(), "files are left: {files:?}");
        Ok(())
    }
}

impl Started {
    /// Destroys the guest and forgets it.
    pub(crate) async fn end(self) -> Outcome {
        self.guest.destroy(Destroy::default()).await.map_err(|e| explain("destroy", &e))?;
        self.guest.undefine().await.map_err(|e| explain("undefine", &e))
    }
}

/// A connection of a program that lives shortly.
pub(crate) async fn connect(root: &Path) -> Connection {
    let options = |options: &mut OpenOptions| {
        options.settings.set("kvm", "never");
        options.ownership = Ownership::WhileBusy;
        // Emulated CPUs that many guests share are slow.
        options.start_timeout = std::time::Duration::from_secs(400);
        options.settings.set("start_timeout", 400);
    };
    polyvirt_tests::connect("qemu", root, options).await
}

/// A guest of so many vCPUs and MiB. `more` holds further elements.
pub(crate) fn domain(name: &str, vcpu: &str, mib: u64, more: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{mib}</memory>
  {vcpu}
  {more}
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
</domain>"
    )
}

/// All memory is touched before the guest runs.
pub(crate) const TOUCHED: &str = "<memoryBacking><allocation mode='immediate'/></memoryBacking>";

/// An error with its facts, in one line.
pub(crate) fn explain(what: &str, error: &polyvirt::Error) -> String {
    format!("{what}: {error:#} {:?}", error.context())
}

/// What is below a directory, but for the history, locks and counters that belong to the root and not to a guest.
fn files(run: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(run).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".json") || name.ends_with(".owner") || run.join(name).is_dir()).collect()
}
