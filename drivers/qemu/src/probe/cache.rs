//! Keeping what was learnt.

use std::{
    collections::HashMap,
    fs, io,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use polyvirt_lease::{Durability, write_atomic};
use polyvirt_process::Credentials;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use super::{ANYWHERE, Binary, ProbeError, probe};

/// Version of the records; another one is made anew.
fn format() -> String {
    format!("{}/3.{}", env!("CARGO_PKG_VERSION"), super::questions::revision())
}

/// Larger records are not ours. A binary of QEMU 7.2 takes about 90 KiB.
const LIMIT: u64 = 16 << 20;

/// Which binary it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) path: PathBuf,
    modified: (i64, i64),
    size: u64,
}

impl Stamp {
    /// The binary as it is now, symbolic links followed.
    pub(crate) fn of(path: &Path) -> Result<Self, ProbeError> {
        let missing = |source| ProbeError::Missing { path: path.into(), source };
        let about = fs::metadata(path).map_err(missing)?;
        if !about.is_file() {
            return Err(missing(io::Error::from(io::ErrorKind::InvalidInput)));
        }
        Ok(Self { path: path.into(), modified: (about.mtime(), about.mtime_nsec()), size: about.size() })
    }
}

/// A record on disk. The stamp is written out, so a collision of file names is only a miss.
#[derive(Serialize, Deserialize)]
struct Record<K, V> {
    format: String,
    key: K,
    value: V,
}

type Cells<K, V> = Mutex<HashMap<K, Arc<OnceCell<V>>>>;

/// Results of probes, in memory and below a folder.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// How long a binary may take to answer everything.
    within: Duration,
    binaries: Cells<Stamp, Arc<Binary>>,
}

impl Cache {
    pub(crate) fn new(folder: PathBuf, within: Duration) -> Self {
        Self { folder, within, binaries: Mutex::default() }
    }

    /// What this binary can do. Callers at the same time wait for one probe.
    pub(crate) async fn binary(&self, path: &Path, user: Option<&Credentials>) -> Result<Arc<Binary>, ProbeError> {
        let stamp = Stamp::of(path)?;
        let cell = {
            let mut cells = self.binaries.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(stamp.clone()).or_default().clone()
        };
        let made = cell.get_or_try_init(|| async {
            if let Some(binary) = self.load("probe", &stamp) {
                return Ok(Arc::new(binary));
            }
            let binary = probe(path, ANYWHERE, user, self.within).await?;
            self.store("probe", &stamp, &binary);
            Ok(Arc::new(binary))
        });
        made.await.cloned()
    }

    /// What this binary can do with the host's CPUs. Not kept: it depends on the kernel and on how its modules are set, too.
    pub(crate) async fn virtualised(&self, path: &Path, user: Option<&Credentials>) -> Result<Binary, ProbeError> {
        probe(path, "kvm", user, self.within).await
    }

    /// A record under this key; `None` if there is none that can be used.
    pub(crate) fn load<K: Key, V: DeserializeOwned>(&self, kind: &str, key: &K) -> Option<V> {
        let path = self.file(kind, key);
        let mut bytes = Vec::new();
        fs::File::open(&path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
        match serde_json::from_slice::<Record<K, V>>(&bytes) {
            Ok(record) if record.format == format() && record.key == *key => Some(record.value),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "probe result is damaged and made anew");
                None
            }
        }
    }

    /// Keeps a record. That it cannot be written costs the next process a probe and nothing else.
    pub(crate) fn store<K: Key, V: Serialize>(&self, kind: &str, key: &K, value: &V) {
        let path = self.file(kind, key);
        let record = Record { format: format(), key, value };
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| serde_json::to_vec(&record).map_err(io::Error::other))
            .and_then(|bytes| write_atomic(&path, &bytes, 0o644, Durability::Volatile));
        if let Err(error) = written {
            tracing::info!(path = %path.display(), %error, "probe result is not kept");
        }
    }

    fn file(&self, kind: &str, key: &impl Key) -> PathBuf {
        self.folder.join(format!("{kind}-{:016x}.json", fnv(key.name().as_bytes())))
    }
}

/// What a record is kept under.
pub(crate) trait Key: PartialEq + Serialize + DeserializeOwned {
    /// What its file is named after: less than the whole key, so that a new binary replaces the record of the old.
    fn name(&self) -> String;
}

impl Key for Stamp {
    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

/// FNV-1a, for file names only.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
