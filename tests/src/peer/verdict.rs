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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator;

    fn verdict(libvirt: &str, ours: &str) -> Verdict {
        compare(&generator::guest(0), &Answer::Taken(libvirt.to_owned()), &Answer::Taken(ours.to_owned()))
    }

    #[test]
    fn the_same_in_other_words_is_the_same() {
        let verdict =
            verdict("A=b q -m 64 -device e1000,id=a", r#"q -device '{"id":"a","driver":"e1000"}' -m size=64M"#);
        assert!(verdict.untouched() && !verdict.both_refused, "{verdict:?}");
    }

    #[test]
    fn what_nobody_explained_is_told_with_its_kind() {
        for (libvirt, ours, kind) in [
            ("q -device e1000,id=a,bus=x", "q -device e1000,id=a,bus=y", "-device e1000 {bus}"),
            ("q -device e1000,id=a", "q", "-device e1000 only libvirt's"),
            ("q", "q -S", "-S  only ours"),
            ("q -S", "q -S -S", "-S  only ours"),
            ("q -global a.b=1 -global a.c=1", "q -global a.c=1 -global a.b=1", "order of -global"),
            ("q -S", "r -S", "program"),
            ("q 'a", "q", "unreadable"),
        ] {
            let found: Vec<_> = verdict(libvirt, ours).unexplained.into_iter().map(|it| it.0).collect();
            assert_eq!(found, [kind], "{libvirt} and {ours}");
        }
    }

    #[test]
    fn a_known_difference_is_counted_and_hides_nothing_else() {
        let verdict = verdict("q -smp 2,cores=1", "q -smp 2,clusters=1,cores=2");
        assert_eq!(verdict.explained, BTreeSet::from(["clusters"]));
        assert_eq!(verdict.unexplained[0].0, "-smp  {cores}");
    }

    #[test]
    fn one_that_refuses_alone_has_to_have_a_reason() {
        let (taken, refused) = (Answer::Taken("q".to_owned()), Answer::Refused("error: no such thing".to_owned()));
        let guest = generator::guest(0);
        assert!(compare(&guest, &refused, &refused).both_refused);
        for (libvirt, ours, who) in [(&refused, &taken, "libvirt"), (&taken, &refused, "polyvirt")] {
            let verdict = compare(&guest, libvirt, ours);
            assert_eq!(verdict.unexplained[0].0, format!("only {who} refuses: error: no such thing"));
        }
    }

    #[test]
    fn each_known_difference_has_a_name_of_its_own() {
        let names = DIFFERENCES.iter().map(|it| it.name).chain(REFUSALS.iter().map(|it| it.name));
        let all: Vec<_> = names.collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
