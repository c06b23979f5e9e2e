//! Two answers beside each other.

use std::collections::{BTreeMap, BTreeSet};

use polyvirt::model::DomainConfig;

use super::{CommandLine, DIFFERENCES, Opt, REFUSALS, Sides, argv::ORDERED, differences::own_places};

/// What somebody makes of a definition.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The command line.
    Taken(String),
    /// What was said.
    Refused(String),
}

impl Answer {
    /// The command line, or what was said instead.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Taken(text) | Self::Refused(text) => text,
        }
    }
}

/// How two answers compare.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Both refused it.
    pub both_refused: bool,
    /// Names of the known differences that were found.
    pub explained: BTreeSet<&'static str>,
    /// What nobody explained, as the kind of the difference and what it is here.
    pub unexplained: Vec<(String, String)>,
}

impl Verdict {
    /// Whether the answers mean the same without any explanation.
    #[must_use]
    pub fn untouched(&self) -> bool {
        self.explained.is_empty() && self.unexplained.is_empty()
    }

    fn unexplained(kind: impl Into<String>, what: impl Into<String>) -> Self {
        Self { unexplained: vec![(kind.into(), what.into())], ..Self::default() }
    }
}

/// Compares what libvirt and we make of a guest.
#[must_use]
pub fn compare(guest: &DomainConfig, libvirt: &Answer, ours: &Answer) -> Verdict {
    let (theirs, ours) = match (libvirt, ours) {
        (Answer::Refused(_), Answer::Refused(_)) => return Verdict { both_refused: true, ..Verdict::default() },
        (Answer::Taken(theirs), Answer::Taken(ours)) => (theirs, ours),
        (Answer::Refused(said), Answer::Taken(_)) => return refusal("libvirt", said, guest),
        (Answer::Taken(_), Answer::Refused(said)) => return refusal("polyvirt", said, guest),
    };
    match (CommandLine::read(theirs), CommandLine::read(ours)) {
        (Ok(libvirt), Ok(ours)) => compare_lines(guest, libvirt, ours),
        (Err(error), _) | (_, Err(error)) => Verdict::unexplained("unreadable", error.to_string()),
    }
}

/// Only one of the two refuses the guest.
fn refusal(who: &'static str, said: &str, guest: &DomainConfig) -> Verdict {
    match REFUSALS.iter().find(|it| it.who == who && said.contains(it.says) && (it.applies)(guest)) {
        Some(known) => Verdict { explained: BTreeSet::from([known.name]), ..Verdict::default() },
        None => {
            let kind: String =
                said.lines().last().unwrap_or_default().chars().filter(|it| !it.is_ascii_digit()).collect();
            Verdict::unexplained(format!("only {who} refuses: {kind}"), said)
        }
    }
}

fn compare_lines(guest: &DomainConfig, libvirt: CommandLine, ours: CommandLine) -> Verdict {
    let mut verdict = Verdict::default();
    if libvirt.program != ours.program {
        verdict.unexplained.push(("program".to_owned(), format!("{} and {}", libvirt.program, ours.program)));
    }
    let mut sides = Sides { guest, libvirt: libvirt.options, ours: ours.options };
    own_places(&mut sides);
    if !sides.agree() {
        for known in DIFFERENCES {
            if (known.settle)(&mut sides) {
                verdict.explained.insert(known.name);
            }
        }
    }
    let (theirs, ours) = (counted(&sides.libvirt), counted(&sides.ours));
    let left = |one: &BTreeMap<Opt, usize>, other: &BTreeMap<Opt, usize>| -> Vec<Opt> {
        let more =
            |(opt, count): (&Opt, &usize)| vec![opt.clone(); count.saturating_sub(*other.get(opt).unwrap_or(&0))];
        one.iter().flat_map(more).collect()
    };
    let (missing, mut extra) = (left(&theirs, &ours), left(&ours, &theirs));
    for theirs in missing {
        match extra.iter().position(|it| resembles(it, &theirs)) {
            Some(at) => verdict.unexplained.push(changed(&theirs, &extra.remove(at))),
            None => verdict.unexplained.push((format!("{} only libvirt's", kind(&theirs)), theirs.to_string())),
        }
    }
    verdict.unexplained.extend(extra.iter().map(|it| (format!("{} only ours", kind(it)), it.to_string())));
    for option in ORDERED {
        let order = |of: &[Opt]| of.iter().filter(|it| it.name == *option).cloned().collect::<Vec<_>>();
        if verdict.unexplained.is_empty() && order(&sides.libvirt) != order(&sides.ours) {
            verdict.unexplained.push((format!("order of {option}"), String::new()));
        }
    }
    verdict
}

fn counted(options: &[Opt]) -> BTreeMap<Opt, usize> {
    options.iter().fold(BTreeMap::new(), |mut all, it| {
        *all.entry(it.clone()).or_insert(0) += 1;
        all
    })
}

impl Sides<'_> {
    /// Whether both say the same.
    #[must_use]
    pub fn agree(&self) -> bool {
        counted(&self.libvirt) == counted(&self.ours)
    }
}

/// Whether two options are about the same thing.
fn resembles(one: &Opt, other: &Opt) -> bool {
    let names = ["id", "node-name", "type", "driver"];
    let name = |of: &Opt| names.iter().find_map(|key| of.get(key).map(str::to_owned));
    one.name == other.name
        && (name(one) == name(other)
            || !matches!(one.name.as_str(), "-device" | "-object" | "-blockdev" | "-netdev" | "-chardev"))
}

fn kind(opt: &Opt) -> String {
    let what = ["driver", "qom-type", "backend", "type"].iter().find_map(|key| opt.get(key)).unwrap_or_default();
    format!("{} {what}", opt.name)
}

fn changed(theirs: &Opt, ours: &Opt) -> (String, String) {
    let keys: BTreeSet<&String> = theirs.says.keys().chain(ours.says.keys()).collect();
    let changed: Vec<&String> = keys.into_iter().filter(|key| theirs.says.get(*key) != ours.says.get(*key)).collect();
    let show = |of: &Opt| {
        let said = changed.iter().filter_map(|key| Some(format!("{key}={}", of.says.get(*key)?)));
        said.collect::<Vec<_>>().join(",")
    };
    let keys = changed.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(",");
    let id = theirs.get("id").unwrap_or_default();
    (format!("{} {{{keys}}}", kind(theirs)), format!("{id}: libvirt {{{}}}, ours {{{}}}", show(theirs), show(ours)))
}
