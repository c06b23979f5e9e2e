//! virsh's commands for guests beside ours, as a generated page.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use clap::{Command, CommandFactory as _};
use serde::Deserialize;

use crate::{args::Cli, named};

const THEIRS: &str = include_str!("commands.txt");
const WHY_NOT: &str = include_str!("why_not.toml");
const HEAD: &str = "\
# virsh's commands for guests

Every command of virsh 9.0 that is about guests, with what polyvirt's command of that name lacks; written from the two command
lines by `cargo xtask generate`, do not edit. An argument counts as there if it can be named (`--domain guest`), whatever place it has.

";

/// Reasons for what is not there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhyNot {
    /// By command.
    commands: BTreeMap<String, String>,
    /// By `command --argument`, or `--argument` for all commands.
    arguments: BTreeMap<String, String>,
}

/// What is missing of a command.
enum Lack<'a> {
    Command,
    Arguments(Vec<&'a str>),
}

fn lack<'a>(ours: &Command, name: &str, arguments: &[&'a str]) -> Lack<'a> {
    let Some(command) = ours.find_subcommand(name) else { return Lack::Command };
    let has = |wanted: &str| {
        command.get_arguments().any(|it| {
            it.get_long() == Some(wanted)
                || it.get_all_aliases().is_some_and(|all| all.contains(&wanted))
                || it.is_positional() && named::name_of(it) == wanted
        })
    };
    Lack::Arguments(arguments.iter().copied().filter(|it| !has(it)).collect())
}

fn page() -> String {
    let mut ours = Cli::command();
    ours.build();
    let why: WhyNot = toml::from_str(WHY_NOT).expect("TOML");
    let (mut commands, mut there, mut arguments, mut missing) = (0, 0, 0, 0);
    let mut tables = String::new();
    for line in THEIRS.lines().filter(|line| !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix('[') {
            writeln!(
                tables,
                "\n## {}\n\n| command | | what is not there |\n|---|---|---|",
                title.trim_end_matches(']')
            )
            .unwrap();
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let (name, theirs) = words.split_first().expect("a name");
        commands += 1;
        arguments += theirs.len();
        let (state, text) = match lack(&ours, name, theirs) {
            Lack::Command => {
                missing += theirs.len();
                why.commands.get(*name).map_or(("–", String::new()), |why| ("no", why.clone()))
            }
            Lack::Arguments(lacks) => {
                there += 1;
                missing += lacks.len();
                ("yes", told(name, &lacks, &why))
            }
        };
        writeln!(tables, "| `{name}` | {state} | {text} |").unwrap();
    }
    format!(
        "{HEAD}{there} of {commands} commands and {} of {arguments} arguments are there. *yes*: it is there; *no*: it is not meant to come; –: it is to come.\n{tables}",
        arguments - missing
    )
}

/// The arguments that a command lacks, those with a reason last.
fn told(name: &str, lacks: &[&str], why: &WhyNot) -> String {
    let reason =
        |it: &str| why.arguments.get(&format!("{name} --{it}")).or_else(|| why.arguments.get(&format!("--{it}")));
    let to_come: Vec<_> = lacks.iter().filter(|it| reason(it).is_none()).map(|it| format!("`--{it}`")).collect();
    let refused = lacks.iter().filter_map(|it| Some(format!("`--{it}`: {}", reason(it)?)));
    let to_come = (!to_come.is_empty()).then(|| to_come.join(" "));
    to_come.into_iter().chain(refused).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/generated/virsh-commands.md");
    let generated = page();
    if std::env::var_os("POLYVIRT_BLESS").is_some() {
        std::fs::write(&path, &generated).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(generated.lines()).find(|(old, new)| old != new);
    assert!(
        committed == generated,
        "docs/generated/virsh-commands.md is stale ({differs:?}): run cargo xtask generate"
    );
}

#[test]
fn reasons_are_for_what_is_not_there() {
    let mut ours = Cli::command();
    ours.build();
    let why: WhyNot = toml::from_str(WHY_NOT).expect("TOML");
    for name in why.commands.keys() {
        assert!(THEIRS.lines().any(|line| line.split(' ').next() == Some(name)), "virsh has no {name}");
        assert!(ours.find_subcommand(name).is_none(), "{name} is there: drop its reason");
    }
    for argument in why.arguments.keys() {
        let Some((command, name)) = argument.split_once(" --") else { continue };
        let Lack::Arguments(lacks) = lack(&ours, command, &[name]) else { panic!("{command} is not there") };
        assert!(!lacks.is_empty(), "{argument} is there: drop its reason");
    }
}
