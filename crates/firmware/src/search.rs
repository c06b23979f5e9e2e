//! Where descriptions lie.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::descriptor::{Descriptor, DescriptorError, LIMIT};

/// Directories below the root, the later ones before the earlier: the distribution's, the administrator's.
const DIRECTORIES: [&str; 2] = ["usr/share/qemu/firmware", "etc/qemu/firmware"];
/// The user's own, below the home directory; only guests of a session look there.
const OF_USER: &str = ".config/qemu/firmware";

/// A file that describes nothing.
#[derive(Debug, thiserror::Error)]
#[error("'{path}' is left out: {reason}", path = path.display())]
#[non_exhaustive]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub reason: ProblemReason,
}

/// Why a file describes nothing.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum ProblemReason {
    /// It cannot be read.
    Io(#[from] io::Error),
    /// It is no description.
    Descriptor(#[from] DescriptorError),
}

/// The firmware of a host, the preferred first.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Firmwares {
    /// Descriptions in order of preference.
    pub descriptors: Vec<Descriptor>,
    /// What was left out.
    pub problems: Vec<Problem>,
}

impl Firmwares {
    /// Reads all descriptions of the host below `root`, and those of a user's home directory if one is given.
    #[must_use]
    pub fn read(root: &Path, home: Option<&Path>) -> Self {
        let mut found = Self::default();
        let places = DIRECTORIES.iter().map(|it| root.join(it)).chain(home.map(|it| it.join(OF_USER)));
        let mut files = BTreeMap::new();
        for place in places {
            match names(&place) {
                Ok(names) => files.extend(names.into_iter().map(|name| (name.clone(), place.join(name)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.problems.push(Problem { path: place, reason: error.into() }),
            }
        }
        for path in files.into_values() {
            match one(&path) {
                Ok(descriptor) => found.descriptors.extend(descriptor),
                Err(reason) => found.problems.push(Problem { path, reason }),
            }
        }
        found
    }

    /// Those for a machine type, in order of preference; a pair of code and template that was there already is not repeated.
    pub fn of_machine<'a>(&'a self, architecture: &'a str, machine: &'a str) -> impl Iterator<Item = &'a Descriptor> {
        let mut seen = Vec::new();
        self.descriptors.iter().filter(|it| it.serves(architecture, machine)).filter(move |it| {
            let pair = (it.executable(), it.nvram_template().map(|template| template.filename.as_str()));
            let new = !seen.contains(&pair);
            seen.push(pair);
            new
        })
    }
}

/// Names of descriptions in a directory.
fn names(place: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(place)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.ends_with(".json")
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// A description; `None` for an empty file, which only hides others.
fn one(path: &Path) -> Result<Option<Descriptor>, ProblemReason> {
    let mut text = String::new();
    let room = u64::try_from(LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)?.take(room).read_to_string(&mut text)?;
    if text.is_empty() { Ok(None) } else { Ok(Some(Descriptor::parse(&text)?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: &str) -> String {
        format!(
            r#"{{"interface-types": ["bios"], "mapping": {{"device": "memory", "filename": "{file}"}},
                "targets": [{{"architecture": "x86_64", "machines": ["pc"]}}], "features": []}}"#
        )
    }

    #[test]
    fn names_order_and_hide() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("usr/share/qemu/firmware/50-a.json", &text("/distribution"));
        write("usr/share/qemu/firmware/60-b.json", &text("/hidden"));
        write("usr/share/qemu/firmware/70-c.json", &text("/changed"));
        write("usr/share/qemu/firmware/80-d.json", "{");
        write("usr/share/qemu/firmware/README", "not one");
        write("etc/qemu/firmware/60-b.json", "");
        write("etc/qemu/firmware/70-c.json", &text("/administrator"));
        write("home/.config/qemu/firmware/10-mine.json", &text("/user"));
        write("home/.config/qemu/firmware/11-again.json", &text("/user"));
        let executables = |found: &Firmwares| {
            found.of_machine("x86_64", "pc").map(|it| it.executable().to_owned()).collect::<Vec<_>>()
        };
        let system = Firmwares::read(root.path(), None);
        assert_eq!(executables(&system), ["/distribution", "/administrator"]);
        assert_eq!(system.problems.len(), 1);
        assert!(system.problems[0].to_string().contains("80-d.json' is left out: not a firmware description"));
        let session = Firmwares::read(root.path(), Some(&root.path().join("home")));
        assert_eq!(executables(&session), ["/user", "/distribution", "/administrator"]);
        assert!(Firmwares::read(&root.path().join("none"), None).problems.is_empty());
    }
}
