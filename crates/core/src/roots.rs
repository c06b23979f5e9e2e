//! Where a connection keeps what it keeps.
//!
//! Five directories, so that a distribution can follow the Filesystem Hierarchy Standard and an embedder can put all under one.

use std::path::{Path, PathBuf};

/// The directories of one connection.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Roots {
    /// Definitions and autostart marks; survives everything.
    pub config: PathBuf,
    /// Guests' own state: NVRAM, saved images.
    pub state: PathBuf,
    /// Status records, sockets and locks of running guests; may vanish at boot.
    pub run: PathBuf,
    /// One log file per guest.
    pub log: PathBuf,
    /// What can be made again: probe results.
    pub cache: PathBuf,
    /// The host's ledger of NUMA promises, shared by all drivers.
    pub numa: PathBuf,
    /// To whom files belonged before they were lent to guests; the host's, shared by all drivers, and survives everything.
    pub labels: PathBuf,
}

impl Roots {
    /// The system-wide directories for `driver`.
    #[must_use]
    pub fn system(driver: &str) -> Self {
        let below = |top: &str| Path::new(top).join("polyvirt").join(driver);
        Self {
            config: below("/etc"),
            state: below("/var/lib"),
            run: below("/run"),
            log: below("/var/log"),
            cache: below("/var/cache"),
            numa: PathBuf::from("/run/polyvirt/numa"),
            labels: PathBuf::from("/var/lib/polyvirt/labels"),
        }
    }

    /// The directories of one user, by the XDG base directory specification; `env` looks a variable up.
    ///
    /// Without `XDG_RUNTIME_DIR` the runtime directory is `/run/user/UID` when `runtime_default` gives it, else one below the cache.
    #[must_use]
    pub fn session(
        driver: &str,
        env: impl Fn(&str) -> Option<String>,
        home: &Path,
        runtime_default: Option<&Path>,
    ) -> Self {
        let xdg = |name: &str, default: &str| {
            env(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
                .unwrap_or_else(|| home.join(default))
                .join("polyvirt")
        };
        let cache = xdg("XDG_CACHE_HOME", ".cache");
        let run = env("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
            .or_else(|| runtime_default.map(Path::to_path_buf))
            .map_or_else(|| cache.join("run"), |p| p.join("polyvirt"));
        Self {
            config: xdg("XDG_CONFIG_HOME", ".config").join(driver),
            state: xdg("XDG_STATE_HOME", ".local/state").join(driver),
            log: xdg("XDG_STATE_HOME", ".local/state").join(driver).join("log"),
            labels: xdg("XDG_STATE_HOME", ".local/state").join("labels"),
            cache: cache.join(driver),
            numa: run.join("numa"),
            run: run.join(driver),
        }
    }

    /// Everything below one directory, for an embedder or a test.
    ///
    /// The ledger of promises and that of lent files are the host's when this process may write them (`of_host`), because promises
    /// made in two places are no promises.
    #[must_use]
    pub fn embedded(root: &Path, driver: &str, of_host: bool) -> Self {
        let below = |kind: &str| root.join(kind).join(driver);
        let system = Self::system(driver);
        Self {
            config: below("config"),
            state: below("state"),
            run: below("run"),
            log: below("log"),
            cache: below("cache"),
            numa: if of_host { system.numa } else { root.join("run/numa") },
            labels: if of_host { system.labels } else { root.join("state/labels") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_follows_xdg_and_ignores_relative_paths() {
        let env = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some("/cfg".to_owned()),
            "XDG_CACHE_HOME" => Some("relative".to_owned()),
            _ => None,
        };
        let roots = Roots::session("qemu", env, Path::new("/home/me"), None);
        assert_eq!(roots.config, Path::new("/cfg/polyvirt/qemu"));
        assert_eq!(roots.cache, Path::new("/home/me/.cache/polyvirt/qemu"));
        assert_eq!(roots.run, Path::new("/home/me/.cache/polyvirt/run/qemu"));
    }
}
