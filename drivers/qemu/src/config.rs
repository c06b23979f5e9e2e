//! Settings of the driver, and who its guests run as.

mod keys;

use std::time::Duration;

use nix::unistd::Group;
use polyvirt_core::{
    Error, ErrorKind, Result, Settings,
    model::{DomainConfig, DomainKind},
};
use polyvirt_process::Credentials;

pub(crate) use keys::{CgroupUse, Config, DOCS, KvmUse};

/// The user that Debian and others make for guests.
const USUAL_USER: &str = "libvirt-qemu";

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown key or a value of the wrong kind.
    pub(crate) fn read(settings: &Settings) -> Result<Self> {
        settings.typed("qemu")
    }

    /// Warns of settings that have no effect: who sets one counts on it.
    pub(crate) fn tell_without_effect(&self) {
        for key in self.without_effect() {
            tracing::warn!("the setting '{key}' of the qemu driver has no effect yet");
        }
    }

    /// Whether vCPUs of this guest may be taken out while it runs.
    pub(crate) fn unplugs(&self, config: &DomainConfig) -> bool {
        self.unplug_emulated || config.kind == DomainKind::Kvm
    }

    pub(crate) fn start_timeout(&self) -> Duration {
        Duration::from_secs(self.start_timeout)
    }
}

/// Who guests run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunAs {
    /// `None`: as ourselves.
    pub(crate) credentials: Option<Credentials>,
    /// Why that is less than it should be.
    pub(crate) warning: Option<String>,
}

impl RunAs {
    /// Decides it once, when the driver is opened. Blocks: the user database may be on the network.
    ///
    /// # Errors
    /// `InvalidArgument` if a user or group of the settings does not exist.
    pub(crate) fn decide(config: &Config, privileged: bool) -> Result<Self> {
        let ourselves = Self { credentials: None, warning: None };
        if !privileged || !nix::unistd::Uid::effective().is_root() {
            return Ok(ourselves);
        }
        let look_up = |name: &str| {
            Credentials::of_user(name).map_err(|error| {
                Error::new(ErrorKind::Internal, format!("cannot look up the user '{name}'")).source(error)
            })
        };
        let mut found = match config.user.as_deref() {
            Some("root") => return Ok(ourselves),
            Some(name) => look_up(name)?.ok_or_else(|| unknown("user", name))?,
            None => match look_up(USUAL_USER)? {
                Some(found) => found,
                None => {
                    let warning =
                        format!("there is no user '{USUAL_USER}', so QEMU runs as root; create it or set 'user'");
                    return Ok(Self { warning: Some(warning), ..ourselves });
                }
            },
        };
        if let Some(name) = config.group.as_deref() {
            let group = Group::from_name(name).ok().flatten().ok_or_else(|| unknown("group", name))?;
            found.gid = group.gid.as_raw();
        }
        Ok(Self { credentials: Some(found), warning: None })
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("there is no {what} '{name}' on this host"))
        .hint(format!("create it, or change '{what}' in the settings of the qemu driver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_settings_are_told() {
        let mut settings = Settings::default();
        assert_eq!(Config::read(&settings).unwrap(), Config::default());
        settings.set("kvm", "never");
        assert_eq!(Config::read(&settings).unwrap().kvm, KvmUse::Never);
        settings.set("sandbux", true);
        let error = Config::read(&settings).unwrap_err().to_string();
        assert!(error.contains("sandbux"), "{error}");
    }

    #[test]
    fn every_setting_is_documented() {
        for doc in DOCS {
            let mut settings = Settings::default();
            settings.set(doc.key, serde_json::json!({ "wrong": [] }));
            let error = Config::read(&settings).unwrap_err().to_string();
            assert!(!error.contains("unknown field"), "{}: {error}", doc.key);
        }
    }

    #[test]
    fn settings_without_effect_say_so() {
        let said: Vec<_> = DOCS.iter().filter(|it| it.doc.ends_with("read by nothing yet.")).map(|it| it.key).collect();
        let (mut said, mut unread) = (said, keys::UNREAD.to_vec());
        said.sort_unstable();
        unread.sort_unstable();
        assert_eq!(said, unread);
        let mut settings = Settings::default();
        settings.set("security_driver", "none");
        settings.set("vnc_tls", true);
        assert_eq!(Config::read(&settings).unwrap().without_effect(), [""; 0], "nothing is asked that does not happen");
        settings.set("security_driver", "selinux");
        settings.set("vxhs_tls", true);
        assert_eq!(Config::read(&settings).unwrap().without_effect(), ["vxhs_tls", "security_driver"]);
    }

    #[test]
    fn guests_of_a_session_run_as_its_owner() {
        let config = Config { user: Some("no-such-user".into()), ..Config::default() };
        assert_eq!(RunAs::decide(&config, false).unwrap(), RunAs { credentials: None, warning: None });
        if nix::unistd::Uid::effective().is_root() {
            let error = RunAs::decide(&config, true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            let root = Config { user: Some("root".into()), ..config };
            assert_eq!(RunAs::decide(&root, true).unwrap().warning, None);
        }
    }
}
