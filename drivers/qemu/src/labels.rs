//! What `<seclabel model='dac'>` says: whom a guest runs as, and whether its files are lent to it (manual: Security label).

use nix::unistd::Group;
use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig,
        security::{DeviceLabel, LabelType, SecLabel},
    },
};
use polyvirt_process::Credentials;

const MODEL: &str = "dac";

fn of(config: &DomainConfig) -> Option<(usize, &SecLabel)> {
    config.seclabel.iter().enumerate().find(|(_, it)| it.model.as_deref() == Some(MODEL))
}

/// Whom the guest runs as: of a static label its user and group, else whom the settings name. Looks names up in the system's
/// databases.
///
/// # Errors
/// `InvalidConfig` for a label that is no `user:group` of this host.
pub(crate) fn user(config: &DomainConfig, usual: Option<&Credentials>) -> Result<Option<Credentials>> {
    let label = of(config).filter(|(_, it)| it.kind == Some(LabelType::Static));
    let Some((at, text)) = label.and_then(|(at, it)| Some((at, it.label.as_deref()?))) else {
        return Ok(usual.cloned());
    };
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let refused = |what: &str, name: &str| {
        Error::new(
            ErrorKind::InvalidConfig,
            format!("this host has no {what} '{name}'; a label is 'user:group', ids with a '+'"),
        )
        .with("path", format!("/domain/seclabel[{}]/label", at + 1))
    };
    let number = |text: &str| text.strip_prefix('+').unwrap_or(text).parse::<u32>().ok();
    let mut found = match number(user) {
        Some(uid) => Credentials::new(uid, uid, Vec::new()),
        None => Credentials::of_user(user).ok().flatten().ok_or_else(|| refused("user", user))?,
    };
    if !group.is_empty() {
        let known = || Group::from_name(group).ok().flatten().map(|it| it.gid.as_raw());
        found.gid = number(group).or_else(known).ok_or_else(|| refused("group", group))?;
    }
    Ok(Some(found))
}

/// Whether files may be lent to the guest at all.
pub(crate) fn relabels(config: &DomainConfig) -> bool {
    of(config).is_none_or(|(_, it)| it.relabel != Some(false) && it.kind != Some(LabelType::None))
}

/// Whether one source may be.
pub(crate) fn relabels_source(labels: &[DeviceLabel]) -> bool {
    let ours = |it: &&DeviceLabel| it.model.as_deref().is_none_or(|model| model == MODEL);
    !labels.iter().filter(ours).any(|it| it.relabel == Some(false))
}

#[cfg(test)]
mod tests {
    use polyvirt_core::model::ParseOptions;

    use super::*;

    fn config(label: &str) -> DomainConfig {
        let text = format!("<domain type='qemu'><name>a</name>{label}</domain>");
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config
    }

    #[test]
    fn a_static_label_is_a_user_and_a_group() {
        let label = |text: &str| format!("<seclabel type='static' model='dac'><label>{text}</label></seclabel>");
        let usual = Credentials::new(7, 8, vec![9]);
        let user = |text: &str| user(&config(text), Some(&usual));
        assert_eq!(user("").unwrap(), Some(usual.clone()));
        assert_eq!(user("<seclabel type='dynamic' model='dac'/>").unwrap(), Some(usual.clone()));
        assert_eq!(user(&label("+10:+20")).unwrap(), Some(Credentials::new(10, 20, vec![])));
        assert_eq!(user(&label("10")).unwrap(), Some(Credentials::new(10, 10, vec![])));
        assert_eq!(user(&label("root:root")).unwrap().map(|it| (it.uid, it.gid)), Some((0, 0)));
        for wrong in ["no-such-user:root", "+0:no-such-group", "-1:0"] {
            let error = user(&label(wrong)).unwrap_err();
            assert_eq!(
                (error.kind(), error.fact("path")),
                (ErrorKind::InvalidConfig, Some("/domain/seclabel[1]/label"))
            );
        }
    }

    #[test]
    fn files_stay_whose_they_are_if_a_label_says_so() {
        assert!(relabels(&config("")) && relabels(&config("<seclabel type='static' model='selinux' relabel='no'/>")));
        assert!(!relabels(&config("<seclabel type='dynamic' model='dac' relabel='no'/>")));
        assert!(!relabels(&config("<seclabel type='none' model='dac'/>")));
        let mut label = DeviceLabel::default();
        assert!(relabels_source(&[]) && relabels_source(&[label.clone()]));
        label.relabel = Some(false);
        assert!(!relabels_source(&[label.clone()]));
        label.model = Some("selinux".into());
        assert!(relabels_source(&[label]));
    }
}
