//! The settings file: TOML, typed, and each value knows where it came from.
//!
//! Later wins: built-in defaults, `/etc/polyvirt/polyvirt.toml`, `$XDG_CONFIG_HOME/polyvirt/polyvirt.toml` (or `~/.config/…`), the file
//! named by `POLYVIRT_SETTINGS` or `--settings`, environment variables, options of the command line.

use std::path::{Path, PathBuf};

use polyvirt::{Error, ErrorKind, Settings as DriverSettings, placement::Advisor};
use serde::Serialize;

/// The largest settings file that is read.
const SIZE_LIMIT: u64 = 1 << 20;

/// A value and where it came from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) from: String,
}

impl<T> Sourced<T> {
    fn default(value: T) -> Self {
        Self { value, from: "default".to_owned() }
    }
}

/// All settings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    /// URI to connect to without `-c`; empty: chosen by looking.
    pub(crate) uri: Sourced<String>,
    /// Seconds to wait for another process that is busy with a guest.
    pub(crate) wait: Sourced<u64>,
    /// Seconds a start may take.
    pub(crate) start_timeout: Sourced<u64>,
    /// Who decides for `placement='auto'`.
    pub(crate) advisor: Sourced<Advisor>,
    /// Sections of the drivers, flattened: (driver, key, value).
    pub(crate) drivers: Vec<DriverValue>,
    /// Files that were read.
    pub(crate) files: Vec<PathBuf>,
}

/// One value of a driver's section.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DriverValue {
    pub(crate) driver: String,
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) value: Sourced<serde_json::Value>,
}

impl Settings {
    /// Reads all files and the environment.
    ///
    /// # Errors
    /// `InvalidArgument` for a file that is no TOML or has an unknown key, with file, line and what would be right.
    pub(crate) fn load(named: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut settings = Self {
            uri: Sourced::default(String::new()),
            wait: Sourced::default(5),
            start_timeout: Sourced::default(60),
            advisor: Sourced::default(Advisor::default()),
            drivers: Vec::new(),
            files: Vec::new(),
        };
        let user =
            env("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| env("HOME").map(|h| Path::new(&h).join(".config")));
        let standard =
            [Some(PathBuf::from("/etc")), user].into_iter().flatten().map(|dir| dir.join("polyvirt/polyvirt.toml"));
        for file in standard.filter(|f| f.exists()) {
            settings.read(&file)?;
        }
        let named = named.map(Path::to_path_buf).or_else(|| env("POLYVIRT_SETTINGS").map(PathBuf::from));
        if let Some(file) = named {
            settings.read(&file)?;
        }
        for name in ["LIBVIRT_DEFAULT_URI", "POLYVIRT_DEFAULT_URI"] {
            if let Some(uri) = env(name).filter(|v| !v.is_empty()) {
                settings.uri = Sourced { value: uri, from: format!("environment variable {name}") };
            }
        }
        Ok(settings)
    }

    fn read(&mut self, file: &Path) -> Result<(), Error> {
        let size = std::fs::metadata(file).map_err(|e| polyvirt::io_error("read the settings", file, e))?.len();
        if size > SIZE_LIMIT {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{} has {size} bytes, at most {SIZE_LIMIT} are read", file.display()),
            ));
        }
        let text = std::fs::read_to_string(file).map_err(|e| polyvirt::io_error("read the settings", file, e))?;
        let refuse = |message: String| {
            Error::new(ErrorKind::InvalidArgument, message).hint("`polyvirt config show` lists the keys")
        };
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            refuse(format!("{}: {}", file.display(), e.to_string().replace('\n', " ")))
        })?;
        let from = file.display().to_string();
        for (key, value) in table {
            match (key.as_str(), value) {
                ("uri", toml::Value::String(value)) => self.uri = Sourced { value, from: from.clone() },
                ("wait", toml::Value::Integer(n @ 0..=86400)) => {
                    self.wait = Sourced { value: n.unsigned_abs(), from: from.clone() }
                }
                ("start-timeout", toml::Value::Integer(n @ 1..=86400)) => {
                    self.start_timeout = Sourced { value: n.unsigned_abs(), from: from.clone() }
                }
                ("advisor", value) => {
                    let value = serde_json::to_value(value).map_err(|e| refuse(format!("{from}: advisor: {e}")))?;
                    let value = Advisor::from_setting(&value).map_err(|e| refuse(format!("{from}: {e}")))?;
                    self.advisor = Sourced { value, from: from.clone() };
                }
                ("drivers", toml::Value::Table(drivers)) => self.read_drivers(drivers, &from).map_err(refuse)?,
                ("uri" | "wait" | "start-timeout" | "drivers", value) => {
                    return Err(refuse(format!(
                        "{from}: '{key}' cannot be {value}; uri is a text, wait and start-timeout are seconds up to 86400, drivers is a table"
                    )));
                }
                _ => {
                    return Err(refuse(format!(
                        "{from}: there is no setting '{key}'; there are uri, wait, start-timeout, advisor and [drivers.NAME]"
                    )));
                }
            }
        }
        self.files.push(file.to_path_buf());
        Ok(())
    }

    fn read_drivers(&mut self, drivers: toml::Table, from: &str) -> Result<(), String> {
        for (driver, section) in drivers {
            let toml::Value::Table(section) = section else {
                return Err(format!("{from}: 'drivers.{driver}' is a section; write [drivers.{driver}]"));
            };
            for (key, value) in section {
                let value = serde_json::to_value(value).map_err(|e| format!("{from}: drivers.{driver}.{key}: {e}"))?;
                self.set_driver(&driver, &key, value, from);
            }
        }
        Ok(())
    }

    /// Sets one value of a driver; a later one replaces an earlier one.
    pub(crate) fn set_driver(&mut self, driver: &str, key: &str, value: serde_json::Value, from: &str) {
        self.drivers.retain(|d| d.driver != driver || d.key != key);
        let value = Sourced { value, from: from.to_owned() };
        self.drivers.push(DriverValue { driver: driver.to_owned(), key: key.to_owned(), value });
    }

    /// The section of one driver.
    pub(crate) fn driver(&self, name: &str) -> DriverSettings {
        let mut settings = DriverSettings::default();
        for value in self.drivers.iter().filter(|d| d.driver == name) {
            settings.set(value.key.clone(), value.value.value.clone());
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, Error> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s.toml");
        std::fs::write(&file, text).unwrap();
        Settings::load(Some(&file), |_| None)
    }

    #[test]
    fn values_know_where_they_came_from() {
        let settings = load("wait = 9\n[drivers.qemu]\nsandbox = false").unwrap();
        assert_eq!(settings.wait.value, 9);
        assert!(settings.wait.from.ends_with("s.toml"));
        assert_eq!(settings.uri.from, "default");
        assert_eq!(settings.driver("qemu").values()["sandbox"], false);
        assert!(settings.driver("mock").values().is_empty());
    }

    #[test]
    fn an_advisor_is_chosen() {
        assert_eq!(load("").unwrap().advisor.value, Advisor::Polyvirt);
        assert_eq!(load("advisor = { static = '0-1' }").unwrap().advisor.value.to_string(), "static 0-1");
        assert_eq!(load("advisor = 'numad'").unwrap().advisor.value.to_string(), "numad");
        assert!(load("advisor = 'nuimad'").unwrap_err().to_string().contains("is no advisor"));
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_refused() {
        assert!(load("wiat = 9").unwrap_err().to_string().contains("'wiat'"));
        assert!(load("wait = 'x'").unwrap_err().to_string().contains("'wait' cannot be"));
        assert!(load("wait = ").unwrap_err().to_string().contains("line 1"));
    }
}
