//! The settings, described once: name, type, default and what it means. Names are those of libvirt's `qemu.conf` where it has them.

use std::path::PathBuf;

use polyvirt_core::SettingDoc;
use serde::Deserialize;

macro_rules! settings {
    ($($key:ident: $type:ty = $default:expr, $shown:literal, $doc:literal;)*) => {
        /// Settings, as the settings file has them.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct Config {
            $(#[doc = $doc] pub(crate) $key: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        /// What the settings mean.
        pub(crate) const DOCS: &[SettingDoc] =
            &[$(SettingDoc { key: stringify!($key), default: $shown, doc: $doc },)*];
    };
}

settings! {
    emulator: Option<String> = None, "qemu-system-ARCH",
        "Path or name of the QEMU that definitions without <emulator> get.";
    user: Option<String> = None, "libvirt-qemu where it exists, else root",
        "User that QEMU runs as for qemu:///system; a session runs as its owner.";
    group: Option<String> = None, "the user's",
        "Group that QEMU runs as for qemu:///system.";
    sandbox: bool = true, "true",
        "Whether QEMU confines itself with seccomp (-sandbox on).";
    kvm: KvmUse = KvmUse::Auto, "auto",
        "'auto' uses KVM where a probe guest really ran on it, 'never' does not try it, 'trust' takes it for granted.";
    start_timeout: u64 = 30, "30",
        "Seconds after which a start that has not come to its end fails, and a QEMU that has not said what it can do is given up.";
    cgroups: CgroupUse = CgroupUse::Auto, "auto",
        "'auto' confines guests with cpuset cgroups where the host has them, 'never' does not.";
    unplug_emulated: bool = false, "false",
        "Whether vCPUs are taken out of guests that run without KVM; QEMU 7.2 corrupts its memory then.";
    log_max_bytes: u64 = 4 << 20, "4194304",
        "Size at which a guest's log is put aside at its next start.";

    lib_dir: PathBuf = "/var/lib/libvirt/qemu".into(), "/var/lib/libvirt/qemu",
        "Where guests have their folders, as command lines show them.";
    channel_target_dir: PathBuf = "/var/run/libvirt/qemu/channel".into(), "/var/run/libvirt/qemu/channel",
        "Sockets of <channel type=\"unix\"> without a path.";
    memory_backing_dir: PathBuf = "/var/lib/libvirt/qemu/ram".into(), "/var/lib/libvirt/qemu/ram",
        "Files that hold guest memory (<source type=\"file\"/>).";
    nvram_dir: PathBuf = "/var/lib/libvirt/qemu/nvram".into(), "/var/lib/libvirt/qemu/nvram",
        "Firmware variables of guests that name no file for them.";
    passt_state_dir: PathBuf = "/var/run/libvirt/qemu/passt".into(), "/var/run/libvirt/qemu/passt",
        "Sockets of passt.";
    dbus_state_dir: PathBuf = "/var/run/libvirt/qemu/dbus".into(), "/var/run/libvirt/qemu/dbus",
        "Buses of D-Bus displays.";
    rdp_state_dir: PathBuf = "/var/run/libvirt/qemu/rdp".into(), "/var/run/libvirt/qemu/rdp",
        "State of RDP servers; read by nothing yet.";

    vnc_tls: bool = false, "false",
        "Whether VNC displays speak TLS.";
    vnc_tls_x509_verify: bool = false, "false",
        "Whether VNC clients have to show a certificate.";
    vnc_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-vnc".into(), "/etc/pki/libvirt-vnc",
        "Certificates of VNC displays.";
    vnc_tls_x509_secret_uuid: Option<String> = None, "none",
        "Secret that unlocks the key of VNC displays.";
    vnc_sasl: bool = false, "false",
        "Whether VNC clients log in with SASL.";
    vnc_sasl_dir: Option<PathBuf> = None, "SASL's own",
        "Configuration of SASL for VNC.";
    vnc_listen: String = "127.0.0.1".into(), "127.0.0.1",
        "Address where VNC displays listen that name none.";
    vnc_password: Option<String> = None, "none",
        "Password of VNC displays that have none of their own.";
    vnc_auto_unix_socket: bool = false, "false",
        "Whether VNC displays that name no address listen on a socket of the guest.";
    spice_tls: bool = false, "false",
        "Whether SPICE displays speak TLS.";
    spice_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-spice".into(), "/etc/pki/libvirt-spice",
        "Certificates of SPICE displays.";
    spice_sasl: bool = false, "false",
        "Whether SPICE clients log in with SASL.";
    spice_sasl_dir: Option<PathBuf> = None, "SASL's own",
        "Configuration of SASL for SPICE.";
    spice_listen: String = "127.0.0.1".into(), "127.0.0.1",
        "Address where SPICE displays listen that name none.";
    spice_password: Option<String> = None, "none",
        "Password of SPICE displays that have none of their own.";
    spice_auto_unix_socket: bool = false, "false",
        "Whether SPICE displays that name no address listen on a socket of the guest.";
    rdp_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-rdp".into(), "/etc/pki/libvirt-rdp",
        "Certificates of RDP servers; read by nothing yet.";
    chardev_tls: bool = false, "false",
        "Whether TCP character devices speak TLS that do not say.";
    chardev_tls_x509_verify: bool = false, "false",
        "Whether both ends of a character device have to show a certificate.";
    chardev_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-chardev".into(), "/etc/pki/libvirt-chardev",
        "Certificates of TCP character devices.";
    chardev_tls_x509_secret_uuid: Option<String> = None, "none",
        "Secret that unlocks the key of character devices.";
    vxhs_tls: bool = false, "false",
        "Whether VxHS disks speak TLS that do not say; read by nothing yet.";
    vxhs_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-vxhs".into(), "/etc/pki/libvirt-vxhs",
        "Certificates of VxHS disks; read by nothing yet.";
    vxhs_tls_x509_secret_uuid: Option<String> = None, "none",
        "Secret that unlocks the key of VxHS disks; read by nothing yet.";
    nbd_tls: bool = false, "false",
        "Whether NBD disks speak TLS that do not say.";
    nbd_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-nbd".into(), "/etc/pki/libvirt-nbd",
        "Certificates of NBD disks.";
    nbd_tls_x509_secret_uuid: Option<String> = None, "none",
        "Secret that unlocks the key of NBD disks.";
    migrate_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-migrate".into(), "/etc/pki/libvirt-migrate",
        "Certificates of migrations; read by nothing yet.";
    backup_tls_x509_cert_dir: PathBuf = "/etc/pki/libvirt-backup".into(), "/etc/pki/libvirt-backup",
        "Certificates of backups; read by nothing yet.";

    nographics_allow_host_audio: bool = false, "false",
        "Whether guests without a display may use the host's sound.";
    security_driver: String = "none".into(), "none",
        "Who labels files and processes; read by nothing yet.";
    dump_guest_core: Option<bool> = None, "QEMU's own",
        "Whether a core dump of QEMU has the guest's memory in it.";
    hugetlbfs: Vec<HugetlbMount> = Vec::new(), "the host's mounts",
        "Where huge pages are mounted, for command lines that are shown and not run.";
    storage_use_nbdkit: bool = false, "false",
        "Whether network disks are reached through nbdkit.";
    swtpm_versions: Option<String> = None, "swtpm's own",
        "Versions of TPM that swtpm emulates, 1.2 and 2.0, with commas.";
}

macro_rules! unread {
    ($($key:ident),*) => {
        impl Config {
            /// Settings that nothing reads yet and that are set to something else than what happens anyway.
            pub(super) fn without_effect(&self) -> Vec<&'static str> {
                let usual = Self::default();
                let all = [$((stringify!($key), self.$key != usual.$key),)*];
                all.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect()
            }
        }

        /// Settings that libvirt has and nothing here reads yet.
        #[cfg(test)]
        pub(super) const UNREAD: &[&str] = &[$(stringify!($key),)*];
    };
}

unread! {
    rdp_state_dir,
    rdp_tls_x509_cert_dir,
    vxhs_tls,
    vxhs_tls_x509_cert_dir,
    vxhs_tls_x509_secret_uuid,
    migrate_tls_x509_cert_dir,
    backup_tls_x509_cert_dir,
    security_driver
}

/// A mount of hugetlbfs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HugetlbMount {
    /// Where it is.
    pub(crate) mount: PathBuf,
    /// Size of its pages, in KiB.
    pub(crate) size_kib: u64,
    /// Whether it has the host's default size.
    #[serde(default)]
    pub(crate) default: bool,
}

/// Whether KVM is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KvmUse {
    /// Where a probe guest ran on it.
    Auto,
    /// Not even tried.
    Never,
    /// Taken for granted.
    Trust,
}

/// Whether guests get cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CgroupUse {
    /// Where the host lets us.
    Auto,
    /// None.
    Never,
}
