//! Images that hold snapshots: which of a guest's they are, and what `qemu-img` does with them while nobody runs it.
//!
//! `qemu-img` takes the locks that a QEMU takes, so an image that somebody uses is refused. It is told the format, looks at no image below, and
//! reads no configuration.

use std::{path::PathBuf, process::Stdio, time::Duration};

use polyvirt_core::{
    Error, ErrorKind, JobContext, JobStep, OfflineSnapshots, Result, SnapshotRef, async_trait,
    model::{
        DomainConfig,
        disk::Disk,
        os::{FirmwareFormat, LoaderType},
        storage::{ImageFormat, SourceKind},
    },
};
use polyvirt_qmp::NodeImage;
use tokio::{io::AsyncReadExt as _, process::Command};

use crate::{command::firmware, driver::Qemu, program};

/// How long reading an image's tables may take.
const LOOK: Duration = Duration::from_secs(60);
/// Most of what is read of an answer.
const ANSWER: u64 = 16 << 20;
/// What the variables of firmware are called among the disks.
const NVRAM: &str = "nvram";

/// An image that takes part in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Whose it is: a disk's `<target dev>`, or the firmware's.
    pub(crate) owner: String,
    /// Its node in a running QEMU.
    pub(crate) node: String,
    /// Where it is, and whether that is a block device.
    path: String,
    block: bool,
}

/// The images of a snapshot, that of the memory first.
///
/// # Errors
/// `NotFound` for a disk that the guest does not have; `Unsupported` for an image that holds no snapshots, with what to do.
pub(crate) fn images(config: &DomainConfig, snapshot: &SnapshotRef, nvram: Option<PathBuf>) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for name in &snapshot.disks {
        let named = |disk: &&Disk| disk.target.as_ref().is_some_and(|target| target.dev == *name);
        let disk = config.devices.disks.iter().find(named);
        images.push(of_disk(
            name,
            disk.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("the guest '{}' has no disk '{name}'", config.name))
            })?,
        )?);
    }
    if images.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "a snapshot stands in the image of at least one disk"));
    }
    let os = config.os.as_ref();
    let flash = os.and_then(|os| os.loader.as_ref()).is_some_and(|loader| loader.kind == Some(LoaderType::Pflash));
    if let Some(variables) = os.and_then(|os| os.nvram.as_ref()).filter(|_| flash) {
        match nvram.filter(|_| variables.format == Some(FirmwareFormat::Qcow2)) {
            Some(path) => images.push(Image {
                owner: NVRAM.to_owned(),
                node: "libvirt-pflash1-format".to_owned(),
                path: path.to_string_lossy().into_owned(),
                block: false,
            }),
            // What is in memory and what is in the file would not be of the same moment.
            None if snapshot.memory => {
                let message =
                    "the firmware's variables are no qcow2 file, so a snapshot of the running guest cannot hold them";
                return Err(Error::new(ErrorKind::Unsupported, message).hint(
                    "shut the guest off, convert the file with `qemu-img convert -O qcow2`, and write <nvram format='qcow2'>; or take the snapshot while it is shut off",
                ));
            }
            None => {}
        }
    }
    Ok(images)
}

fn of_disk(name: &str, disk: &Disk) -> Result<Image> {
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::Unsupported, format!("the image of disk '{name}' {why}")).hint(format!(
            "leave it out with snapshot='no' (--diskspec {name},snapshot=no), or convert it with `qemu-img convert -O qcow2` while the guest is shut off"
        )))
    };
    let format = disk.driver.as_ref().and_then(|driver| driver.kind).unwrap_or(ImageFormat::Raw);
    if format != ImageFormat::Qcow2 {
        return refuse(&format!("is {format}, which holds no snapshots; qcow2 does"));
    }
    if disk.readonly {
        return refuse("may not be written");
    }
    let source = disk.source.as_ref();
    if source.is_some_and(|source| source.encryption.is_some()) || disk.encryption.is_some() {
        return refuse("is encrypted, and snapshots in such images are not made");
    }
    let kind = disk.kind.unwrap_or(SourceKind::File);
    let (path, block) = match kind {
        SourceKind::File => (source.and_then(|it| it.file.clone()), false),
        SourceKind::Block => (source.and_then(|it| it.dev.clone()), true),
        other => return refuse(&format!("is on storage of type '{other}', where no snapshots are made")),
    };
    let Some(path) = path else { return refuse("is not there: the drive is empty") };
    let node = source.and_then(|it| it.index).map(|index| format!("libvirt-{index}-format")).unwrap_or_default();
    Ok(Image { owner: name.to_owned(), node, path, block })
}

impl Image {
    /// How `qemu-img` finds it: with its format, and without what it is based on.
    fn address(&self) -> String {
        let driver = if self.block { "host_device" } else { "file" };
        let file = serde_json::json!({ "driver": driver, "filename": self.path });
        format!("json:{}", serde_json::json!({ "driver": "qcow2", "file": file, "backing": null }))
    }
}

/// The program beside the emulators.
struct QemuImg {
    program: PathBuf,
}

impl QemuImg {
    fn find(driver: &Qemu) -> Result<Self> {
        let program = driver.search.iter().map(|it| it.join("qemu-img")).find(|it| it.is_file());
        program.map(|program| Self { program }).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no qemu-img in PATH").hint("install it (Debian: qemu-utils)")
        })
    }

    /// Runs it to its end; what it prints, or its last words as an error.
    async fn run(&self, image: &Image, args: &[&str], within: Option<Duration>) -> Result<Vec<u8>> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Hypervisor, format!("{} cannot be run: {error}", self.program.display()))
                .source(error)
        };
        let mut command = Command::new(&self.program);
        command.args(args).arg(image.address()).env_clear().envs(program::environment());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(within.is_some());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(output), Some(words)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::new(ErrorKind::Internal, "a child without its pipes"));
        };
        let ended = async {
            let (mut printed, mut said) = (Vec::new(), Vec::new());
            let (mut output, mut words) = (output.take(ANSWER), words.take(1 << 16));
            tokio::try_join!(output.read_to_end(&mut printed), words.read_to_end(&mut said))?;
            Ok((child.wait().await?, printed, said))
        };
        let ended = match within {
            Some(within) => tokio::time::timeout(within, ended).await.map_err(|_| {
                let message = format!("qemu-img does not answer about {} within {within:?}", image.path);
                Error::new(ErrorKind::Timeout, message).hint("see whether the storage answers")
            })?,
            None => ended.await,
        };
        let (status, printed, said) = ended.map_err(failed)?;
        if status.success() {
            return Ok(printed);
        }
        let words = program::last_lines(&said, 2);
        let error =
            Error::new(ErrorKind::Storage, format!("disk '{}': {words}", image.owner)).with("image", &image.path);
        Err(if words.contains("lock") {
            error.hint("somebody uses the image: another guest, or a qemu-img")
        } else {
            error
        })
    }

    /// What snapshots an image has.
    async fn look(&self, image: &Image) -> Result<NodeImage> {
        let printed = self.run(image, &["info", "--output=json"], Some(LOOK)).await?;
        serde_json::from_slice(&printed).map_err(|error| {
            Error::new(ErrorKind::Hypervisor, format!("qemu-img says of {} what cannot be read: {error}", image.path))
        })
    }

    /// The number of a snapshot, by its tag.
    async fn number(&self, image: &Image, tag: &str) -> Result<Option<String>> {
        let found = self.look(image).await?.snapshots.into_iter().find(|it| it.name == tag);
        Ok(found.map(|it| it.id))
    }
}

impl Qemu {
    fn images_of(&self, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<Vec<Image>> {
        let places = self.places(&polyvirt_core::GuestRef::of(config, None));
        let nvram = firmware::variables(config, &places.folders);
        images(config, snapshot, nvram)
    }
}

/// A snapshot that is not where it should be.
pub(crate) fn missing(owner: &str, tag: &str) -> Error {
    let message = format!("the image of disk '{owner}' has no snapshot '{tag}'");
    Error::new(ErrorKind::NotFound, message)
        .hint("see `qemu-img snapshot -l`; snapshot-delete --metadata forgets one that is gone")
}

/// A tag that is another snapshot's.
pub(crate) fn taken(owner: &str, tag: &str) -> Error {
    let message = format!("the image of disk '{owner}' has a snapshot '{tag}' already");
    Error::new(ErrorKind::AlreadyExists, message)
        .hint("take another name; `qemu-img snapshot -d` removes what nobody knows")
}

#[async_trait]
impl OfflineSnapshots for Qemu {
    async fn find(&self, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<Vec<String>> {
        let tool = QemuImg::find(self)?;
        let mut found = Vec::new();
        for image in self.images_of(config, snapshot)? {
            if tool.number(&image, &snapshot.tag).await?.is_some() {
                found.push(image.owner);
            }
        }
        Ok(found)
    }

    async fn create(&self, job: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()> {
        let tool = QemuImg::find(self)?;
        let images = self.images_of(config, snapshot)?;
        for image in &images {
            if tool.number(image, &snapshot.tag).await?.is_some() {
                return Err(taken(&image.owner, &snapshot.tag));
            }
        }
        let mut done = 0;
        let made = async {
            job.reached(JobStep::Streaming).await?;
            for image in &images {
                job.cancel.check()?;
                tool.run(image, &["snapshot", "-c", &snapshot.tag], None).await?;
                done += 1;
            }
            Ok(())
        };
        let made: Result<()> = made.await;
        let Err(mut error) = made else { return Ok(()) };
        // All or none.
        for image in &images[..done] {
            if let Err(left) = tool.run(image, &["snapshot", "-d", &snapshot.tag], None).await {
                error = error.with("not undone", left);
            }
        }
        Err(error)
    }

    async fn revert(&self, job: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()> {
        let tool = QemuImg::find(self)?;
        let mut numbered = Vec::new();
        for image in self.images_of(config, snapshot)? {
            match tool.number(&image, &snapshot.tag).await? {
                // A number comes before a name that looks like one.
                Some(number) => numbered.push((image, number)),
                None => return Err(missing(&image.owner, &snapshot.tag)),
            }
        }
        job.cancel.check()?;
        for (image, number) in &numbered {
            tool.run(image, &["snapshot", "-a", number], None).await?;
        }
        job.reached(JobStep::Loaded).await
    }

    async fn delete(&self, _: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()> {
        let tool = QemuImg::find(self)?;
        for image in self.images_of(config, snapshot)? {
            if tool.number(&image, &snapshot.tag).await?.is_some() {
                tool.run(&image, &["snapshot", "-d", &snapshot.tag], None).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use polyvirt_core::model::ParseOptions;

    use super::*;

    fn guest(disks: &str, os: &str) -> DomainConfig {
        let text = format!("<domain type='qemu'><name>g</name><os>{os}</os><devices>{disks}</devices></domain>");
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config
    }

    fn snapshot(disks: &[&str], memory: bool) -> SnapshotRef {
        SnapshotRef::new("s", disks.iter().map(|it| (*it).to_owned()).collect(), memory)
    }

    const QCOW2: &str =
        "<disk type='file'><driver type='qcow2'/><source file='/i/a\"b' index='3'/><target dev='vda'/></disk>";

    #[test]
    fn images_have_nodes_and_addresses_that_nobody_can_break_out_of() {
        let found = images(&guest(QCOW2, ""), &snapshot(&["vda"], true), None).unwrap();
        assert_eq!(found[0].node, "libvirt-3-format");
        let address = found[0].address();
        let value: serde_json::Value = serde_json::from_str(address.strip_prefix("json:").unwrap()).unwrap();
        assert_eq!(value["file"]["filename"], "/i/a\"b");
        assert_eq!((&value["driver"], &value["backing"]), (&"qcow2".into(), &serde_json::Value::Null));
    }

    #[test]
    fn what_holds_no_snapshot_is_refused_with_what_to_do() {
        let disk = |inner: &str| format!("<disk type='file'>{inner}<target dev='vda'/></disk>");
        for (inner, part) in [
            ("<driver type='raw'/><source file='/a'/>", "is raw"),
            ("<driver type='qcow2'/><source file='/a'/><readonly/>", "may not be written"),
            ("<driver type='qcow2'/>", "empty"),
            ("<driver type='qcow2'/><source file='/a'><encryption format='luks'/></source>", "encrypted"),
        ] {
            let error = images(&guest(&disk(inner), ""), &snapshot(&["vda"], false), None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(part) && error.remedy().unwrap().contains("vda,snapshot=no"), "{error}");
        }
        let absent = images(&guest(QCOW2, ""), &snapshot(&["vdb"], false), None).unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn variables_of_firmware_go_with_memory_or_refuse_it() {
        let os = |format: &str| format!("<loader type='pflash'>/fw</loader><nvram format='{format}'>/v</nvram>");
        let with = |format: &str, memory: bool| {
            images(&guest(QCOW2, &os(format)), &snapshot(&["vda"], memory), Some("/v".into()))
        };
        assert_eq!(with("qcow2", true).unwrap()[1].node, "libvirt-pflash1-format");
        assert_eq!(with("raw", false).unwrap().len(), 1);
        let refused = with("raw", true).unwrap_err();
        assert!(refused.remedy().unwrap().contains("qcow2"), "{refused}");
    }
}
