//! Finds the guest's kernel: Debian's cloud flavour, downloaded and unpacked, or a kernel of this host.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{command, debian, progress::Progress};

/// What the guest needs from modules, besides what they depend on: the power button and the device files that tell of it, and virtio's
/// balloon, disks, network cards, consoles and memory.
const MODULES: &[&str] = &[
    "button",
    "evdev",
    "virtio_pci",
    "virtio_balloon",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
    "virtio_net",
    "virtio_console",
    "virtio_mem",
];

/// A kernel, and the modules that go with it.
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    pub(crate) modules: Vec<Module>,
    pub(crate) notice: Option<String>,
}

/// A kernel module, uncompressed.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
}

/// The package that stands for Debian's newest cloud kernel of this machine's kind.
fn flavour() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux-image-cloud-arm64" } else { "linux-image-cloud-amd64" }
}

/// Finds a kernel; downloads one when `dir` has none yet.
pub(crate) fn find(dir: &Path, progress: &Progress) -> Result<Kernel, String> {
    let unpacked = dir.join("kernel");
    if let Some(kernel) = in_tree(&unpacked, dir)? {
        return Ok(kernel);
    }
    if debian::find_program("apt-get").is_none() {
        return of_this_host(dir, "there is no apt-get to download Debian's cloud kernel with");
    }
    match download(dir, &unpacked, progress) {
        Ok(()) => in_tree(&unpacked, dir)?
            .ok_or_else(|| format!("the kernel package holds no boot/vmlinuz-* (see {})", unpacked.display())),
        Err(why) => of_this_host(dir, &why),
    }
}

/// The kernel of an unpacked package. It gets the stable name `vmlinuz`, from where readers take it.
fn in_tree(tree: &Path, dir: &Path) -> Result<Option<Kernel>, String> {
    let Some((image, version)) = newest(&tree.join("boot")) else { return Ok(None) };
    let modules = modules(&tree.join("lib/modules").join(&version))?;
    let stable = dir.join("vmlinuz");
    let bytes = fs::read(&image).map_err(|e| format!("cannot read {}: {e}", image.display()))?;
    super::write_if_new(&stable, &bytes)?;
    Ok(Some(Kernel { image: stable, modules, notice: None }))
}

fn of_this_host(dir: &Path, why: &str) -> Result<Kernel, String> {
    let help = "put an unpacked Debian cloud kernel package there by hand, or run this where apt-get works";
    let Some((image, version)) = newest(Path::new("/boot")) else {
        return Err(format!(
            "no kernel for the guest: {why}, and /boot has no vmlinuz-* that can be read; {help} ({})",
            dir.join("kernel").display()
        ));
    };
    let modules = modules(&Path::new("/lib/modules").join(&version))?;
    let notice =
        format!("{}: {why}. Which drivers it has built in is not known, so the guest may stay silent", image.display());
    Ok(Kernel { image, modules, notice: Some(notice) })
}

/// The kernel image with the highest name that we may read, and its version.
fn newest(boot: &Path) -> Option<(PathBuf, String)> {
    let mut found: Vec<(PathBuf, String)> = fs::read_dir(boot)
        .ok()?
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned())))
        .filter(|(path, _)| fs::File::open(path).is_ok())
        .collect();
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found.pop()
}

/// The modules, each after those that it depends on.
fn modules(tree: &Path) -> Result<Vec<Module>, String> {
    let mut files = Vec::new();
    list(&tree.join("kernel"), &mut files);
    let mut found = Vec::new();
    for name in MODULES {
        load(name, &files, &mut found)?;
    }
    Ok(found)
}

/// All files below a folder.
fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list(&entry.path(), files),
            _ => files.push(entry.path()),
        }
    }
}

/// Adds a module behind those that it depends on. One that is not there is built into the kernel, as far as can be told from here.
fn load(name: &str, files: &[PathBuf], found: &mut Vec<Module>) -> Result<(), String> {
    if found.iter().any(|it| it.name == name) {
        return Ok(());
    }
    let is_it = |path: &&PathBuf| {
        let file = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        let stem = file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko");
        stem.is_some_and(|it| it.replace('-', "_") == name)
    };
    let Some(path) = files.iter().find(is_it) else { return Ok(()) };
    let data = read(path)?;
    for other in depends(&data) {
        load(&other, files, found)?;
    }
    found.push(Module { name: name.to_owned(), data });
    Ok(())
}

/// A module, unpacked.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    if path.extension().is_none_or(|it| it != "xz") {
        return fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
    }
    let output = Command::new("xz").args(["-dc"]).arg(path).output();
    let output = output.map_err(|e| format!("cannot run xz: {e}; install xz-utils"))?;
    if !output.status.success() {
        return Err(format!("xz cannot unpack {}: {}", path.display(), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
}

/// What a module says that it depends on (kernel, include/linux/module.h: `MODULE_INFO(depends, …)`).
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|it| it == KEY) else { return Vec::new() };
    let text = module.get(at + KEY.len()..).unwrap_or_default();
    let text = text.split(|it| *it == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(text).into_owned();
    names.split(',').filter(|it| !it.is_empty()).map(|it| it.replace('-', "_")).collect()
}

/// Downloads the newest cloud kernel's package and unpacks it as `unpacked`.
fn download(dir: &Path, unpacked: &Path, progress: &Progress) -> Result<(), String> {
    let package = match package_name() {
        Some(package) => package,
        None if debian::may_install().is_ok() => {
            debian::apt(&["update"], progress)?;
            package_name().ok_or_else(|| format!("apt knows no package {}", flavour()))?
        }
        None => return Err(format!("apt knows no package {}; run apt-get update as root", flavour())),
    };
    let work = dir.join(format!("part{}", std::process::id()));
    fs::create_dir_all(&work).map_err(|e| format!("cannot create {}: {e}", work.display()))?;
    let done = download_into(&work, &package, progress).and_then(|()| {
        fs::rename(work.join("tree"), unpacked).map_err(|e| format!("cannot create {}: {e}", unpacked.display()))
    });
    // What is left in there is only of use to this attempt, and an error about it would hide the first one.
    drop(fs::remove_dir_all(&work));
    done
}

fn download_into(work: &Path, package: &str, progress: &Progress) -> Result<(), String> {
    let limit = Duration::from_secs(600);
    let mut fetch = Command::new("apt-get");
    // As root apt would download as a user who may not write here.
    fetch.current_dir(work).args(["-q", "-o", "APT::Sandbox::User=root", "download", package]);
    let fetched = command::run(&mut fetch, limit, progress)?;
    if let Some(why) = fetched.failure {
        return Err(format!("{package} cannot be downloaded ({why}): {}", fetched.output.trim()));
    }
    let deb = fs::read_dir(work)
        .map_err(|e| format!("cannot read {}: {e}", work.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| format!("apt-get download {package} left no file"))?;
    let unpacked = command::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(work.join("tree")), limit, progress)?;
    unpacked
        .failure
        .map_or(Ok(()), |why| Err(format!("{package} cannot be unpacked ({why}): {}", unpacked.output.trim())))
}

/// The real package behind [`flavour`], of its newest version.
fn package_name() -> Option<String> {
    let output = Command::new("apt-cache").args(["show", "--no-all-versions", flavour()]).output().ok()?;
    first_dependency(&String::from_utf8_lossy(&output.stdout))
}

fn first_dependency(record: &str) -> Option<String> {
    let depends = record.lines().find_map(|line| line.strip_prefix("Depends:"))?;
    depends.split_whitespace().next().map(|name| name.trim_end_matches(',').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_those_that_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("kernel/drivers");
        fs::create_dir_all(&tree).unwrap();
        for (name, needs) in
            [("virtio_blk", "virtio,virtio-ring"), ("virtio-ring", "virtio"), ("virtio", ""), ("other", "")]
        {
            fs::write(tree.join(format!("{name}.ko")), format!("ELF\0license=GPL\0depends={needs}\0name=x\0")).unwrap();
        }
        let names: Vec<_> = modules(dir.path()).unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["virtio", "virtio_ring", "virtio_blk"]);
    }

    #[test]
    fn the_real_package_is_the_first_dependency() {
        let record = "Package: linux-image-cloud-amd64\nDepends: linux-image-6.1.0-1-cloud-amd64 (= 6.1.1-1), other\nVersion: 6\n";
        assert_eq!(first_dependency(record).as_deref(), Some("linux-image-6.1.0-1-cloud-amd64"));
        assert_eq!(first_dependency("Depends: linux-image-7,\n").as_deref(), Some("linux-image-7"));
        assert_eq!(first_dependency(""), None);
    }
}
