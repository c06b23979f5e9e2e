//! Completion of a backup against the disks of its guest, and its rules.

use std::collections::{HashMap, HashSet};

use polyvirt_xml::{Positions, Problems};

use super::{
    BackupDisk, BackupDisks, BackupMode, BackupServer, BackupStore, BackupStoreKind, DiskBackupMode, DomainBackup,
};
use crate::disk::Disk;
use crate::domain::DomainConfig;
use crate::storage::StorageTransport;

/// More problems are not listed.
const MAX_PROBLEMS: usize = 200;

impl DomainBackup {
    /// Says for every disk of `domain` whether it takes part, how much of it is copied and where to: files that are not named
    /// are the disk's with `suffix` behind a dot.
    ///
    /// # Errors
    /// Every broken rule, at its place in `positions`. The backup is then partly completed and of no use.
    pub fn complete(&mut self, domain: &DomainConfig, suffix: &str, positions: &Positions) -> Result<(), Problems> {
        let mode = *self.mode.get_or_insert(BackupMode::Push);
        let sources: HashMap<&str, &Disk> =
            domain.devices.disks.iter().filter_map(|disk| Some((disk.target.as_ref()?.dev.as_str(), disk))).collect();
        let mut rules = Rules { mode, positions, problems: Problems::new() };
        rules.server(&mut self.server);
        let all = self.disks.is_none();
        let disks = &mut self.disks.get_or_insert_with(BackupDisks::default).disk;
        let mut seen: HashSet<String> = HashSet::new();
        let count = disks.len();
        for (at, disk) in disks.iter_mut().enumerate() {
            let path = if count == 1 { String::new() } else { format!("[{}]", at + 1) };
            let path = format!("/domainbackup/disks/disk{path}");
            if !seen.insert(disk.name.clone()) {
                rules.error(&format!("{path}/@name"), format!("disk '{}' is given twice", disk.name));
            }
            match sources.get(disk.name.as_str()) {
                Some(source) => rules.disk(&path, disk, source, self.incremental.as_deref(), suffix),
                None => rules.error(&format!("{path}/@name"), format!("the guest has no disk '{}'", disk.name)),
            }
        }
        let names = domain.devices.disks.iter().filter_map(|disk| Some(&disk.target.as_ref()?.dev));
        for name in names.filter(|name| !seen.contains(*name)) {
            let mut disk = BackupDisk::new(name.as_str()).with_backup(all);
            // A drive without a medium is no part of "all disks".
            let source = sources.get(name.as_str()).filter(|disk| !disk.is_empty());
            match source {
                Some(source) if all => {
                    rules.disk("/domainbackup", &mut disk, source, self.incremental.as_deref(), suffix);
                }
                _ => disk.backup = Some(false),
            }
            disks.push(disk);
        }
        if rules.problems.is_empty() && !disks.iter().any(|disk| disk.backup == Some(true)) {
            rules.error("/domainbackup", "no disk takes part, name one with backup='yes'");
        }
        rules.problems.into_result(()).map(drop)
    }

    /// Takes out what describes a running backup alone.
    pub fn make_stored(&mut self) {
        self.private_data = None;
        for disk in self.disks.iter_mut().flat_map(|disks| &mut disks.disk) {
            disk.state = None;
            disk.index = None;
        }
    }
}

struct Rules<'a> {
    mode: BackupMode,
    positions: &'a Positions,
    problems: Problems,
}

impl Rules<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(self.positions.error(path, message));
        }
    }

    fn server(&mut self, server: &mut Option<BackupServer>) {
        const PATH: &str = "/domainbackup/server";
        if self.mode == BackupMode::Push {
            if server.is_some() {
                self.error(PATH, "a server is for mode='pull' only");
            }
            return;
        }
        let server = server.get_or_insert_with(BackupServer::default);
        match *server.transport.get_or_insert(StorageTransport::Tcp) {
            StorageTransport::Unix => match &server.socket {
                None if server.fdgroup.is_none() => self.error(PATH, "transport 'unix' needs socket='…'"),
                Some(socket) if !socket.starts_with('/') => {
                    self.error(&format!("{PATH}/@socket"), format!("'{socket}' is no absolute path"));
                }
                _ => {}
            },
            StorageTransport::Tcp => {
                server.name.get_or_insert_with(|| "localhost".to_owned());
                if server.socket.is_some() {
                    self.error(&format!("{PATH}/@socket"), "a socket is for transport='unix' only");
                }
            }
            other => self.error(
                &format!("{PATH}/@transport"),
                format!("transport '{other}' is not possible here, use 'tcp' or 'unix'"),
            ),
        }
    }

    fn disk(&mut self, path: &str, disk: &mut BackupDisk, source: &Disk, incremental: Option<&str>, suffix: &str) {
        if !*disk.backup.get_or_insert(true) {
            return;
        }
        let name = disk.name.clone();
        if source.is_empty() {
            self.error(path, format!("disk '{name}' has no medium, there is nothing to back up"));
            return;
        }
        let (wrong, wrong_name) = match self.mode {
            BackupMode::Push => (&disk.scratch, "scratch"),
            BackupMode::Pull => (&disk.target, "target"),
        };
        if wrong.is_some() {
            let right = if wrong_name == "scratch" { "<target>" } else { "<scratch>" };
            self.error(&format!("{path}/{wrong_name}"), format!("mode '{}' takes {right}", self.mode));
        }
        if self.mode == BackupMode::Push {
            let exports = [("exportname", &disk.export_name), ("exportbitmap", &disk.export_bitmap)];
            for (attribute, _) in exports.into_iter().filter(|(_, value)| value.is_some()) {
                self.error(&format!("{path}/@{attribute}"), "exports are for mode='pull' only");
            }
        }
        self.amount(path, disk, incremental);
        self.store(path, disk, source, suffix);
    }

    /// How much is copied.
    fn amount(&mut self, path: &str, disk: &mut BackupDisk, incremental: Option<&str>) {
        let since = disk.incremental.take().or_else(|| incremental.map(str::to_owned));
        let usual = if since.is_some() { DiskBackupMode::Incremental } else { DiskBackupMode::Full };
        match *disk.backup_mode.get_or_insert(usual) {
            DiskBackupMode::Full => {}
            _ if since.is_some() => disk.incremental = since,
            _ => self.error(
                &format!("{path}/@backupmode"),
                format!("an incremental backup of '{}' needs a checkpoint: incremental='…'", disk.name),
            ),
        }
    }

    /// Where it goes.
    fn store(&mut self, path: &str, disk: &mut BackupDisk, source: &Disk, suffix: &str) {
        let kind = *disk.kind.get_or_insert(BackupStoreKind::File);
        let (slot, element) = match self.mode {
            BackupMode::Push => (&mut disk.target, "target"),
            BackupMode::Pull => (&mut disk.scratch, "scratch"),
        };
        if let Some(store) = slot {
            let (given, attribute) = match kind {
                BackupStoreKind::File => (&store.file, "file"),
                BackupStoreKind::Block => (&store.dev, "dev"),
            };
            if given.as_ref().is_none_or(String::is_empty) {
                self.error(&format!("{path}/{element}"), format!("type '{kind}' needs {attribute}='…'"));
            }
            return;
        }
        match source.image_file().filter(|_| kind == BackupStoreKind::File) {
            Some(file) => *slot = Some(BackupStore::default().with_file(format!("{file}.{suffix}"))),
            None => self.error(
                path,
                format!("no file name follows from what disk '{}' is: name one with <{element}>", disk.name),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use polyvirt_xml::{FormatOptions, ParseOptions};

    use super::*;

    const DOMAIN: &str = "<domain type='kvm'><name>a</name><devices>
        <disk type='file'><source file='/i/a.img'/><target dev='vda'/></disk>
        <disk type='block'><source dev='/dev/b'/><target dev='vdb'/></disk>
        <disk type='file' device='cdrom'><target dev='sda'/></disk></devices></domain>";

    fn completed(text: &str) -> Result<String, String> {
        let domain = DomainConfig::parse(DOMAIN, &ParseOptions::default()).unwrap().config;
        let parsed = DomainBackup::from_xml(text, &ParseOptions::default()).map_err(|e| e.to_string())?;
        let mut backup = parsed.config;
        backup.complete(&domain, "9", &parsed.positions).map_err(|e| e.to_string())?;
        let once = backup.to_xml_with(FormatOptions::new());
        backup.complete(&domain, "other", &parsed.positions).unwrap();
        assert_eq!(backup.to_xml_with(FormatOptions::new()), once);
        Ok(once)
    }

    #[test]
    fn files_are_named_and_other_disks_stay_out() {
        let text = "<domainbackup><disks><disk name='vda'/></disks></domainbackup>";
        let expected = "<domainbackup mode='push'>
  <disks>
    <disk name='vda' backup='yes' type='file' backupmode='full'>
      <target file='/i/a.img.9'/>
    </disk>
    <disk name='vdb' backup='no'/>
    <disk name='sda' backup='no'/>
  </disks>
</domainbackup>
";
        assert_eq!(completed(text).unwrap(), expected);
    }

    #[test]
    fn a_pull_has_a_server_and_scratch_files() {
        let text = "<domainbackup mode='pull'><incremental>c</incremental><disks><disk name='vda'/>
            <disk name='vdb' type='block' backupmode='full' exportname='x'><scratch dev='/dev/s'/></disk></disks></domainbackup>";
        let xml = completed(text).unwrap();
        for expected in [
            "<server transport='tcp' name='localhost'/>",
            "backupmode='incremental' incremental='c'>",
            "<scratch file='/i/a.img.9'/>",
            "backupmode='full' exportname='x'",
        ] {
            assert!(xml.contains(expected), "{expected} not in\n{xml}");
        }
    }

    #[test]
    fn broken_rules_are_all_told_at_their_places() {
        let push = |disk: &str| format!("<domainbackup><disks>{disk}</disks></domainbackup>");
        for (text, path, part) in [
            (push("<disk name='vdz'/>"), "/domainbackup/disks/disk/@name", "no disk 'vdz'"),
            (push("<disk name='vda'/><disk name='vda'/>"), "/domainbackup/disks/disk[2]/@name", "twice"),
            (push("<disk name='sda'/>"), "/domainbackup/disks/disk", "no medium"),
            (push("<disk name='vdb'/>"), "/domainbackup/disks/disk", "<target>"),
            (push("<disk name='vda' type='block'/>"), "/domainbackup/disks/disk", "<target>"),
            (push("<disk name='vda' type='network'/>"), "/domainbackup/disks/disk/@type", "file"),
            (push("<disk name='vda'><scratch file='/s'/></disk>"), "/domainbackup/disks/disk/scratch", "<target>"),
            (push("<disk name='vda'><target dev='/s'/></disk>"), "/domainbackup/disks/disk/target", "file='…'"),
            (push("<disk name='vda' exportname='x'/>"), "/domainbackup/disks/disk/@exportname", "pull"),
            (push("<disk name='vda' backupmode='incremental'/>"), "/domainbackup/disks/disk/@backupmode", "checkpoint"),
            (push("<disk name='vda' backup='no'/>"), "/domainbackup", "no disk takes part"),
            ("<domainbackup><server name='h'/></domainbackup>".into(), "/domainbackup/server", "pull"),
            (
                "<domainbackup mode='pull'><server transport='unix'/></domainbackup>".into(),
                "/domainbackup/server",
                "socket",
            ),
            (
                "<domainbackup mode='pull'><server transport='unix' socket='s'/></domainbackup>".into(),
                "/domainbackup/server/@socket",
                "absolute",
            ),
            (
                "<domainbackup mode='pull'><server transport='rdma'/></domainbackup>".into(),
                "/domainbackup/server/@transport",
                "'tcp' or 'unix'",
            ),
        ] {
            let problems = completed(&text).unwrap_err();
            assert!(problems.starts_with(path) && problems.contains(part), "{text}: {problems}");
        }
    }
}
