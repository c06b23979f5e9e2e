//! Positional arguments by name: `--domain guest` where a command has `DOMAIN`, as virsh takes them.
//!
//! The command line is not rewritten: where it names a positional argument, that argument becomes an option for this once.

use std::{collections::BTreeSet, ffi::OsString};

use clap::{Arg, Command};

/// The commands for this command line: positional arguments of the command that it calls are options if it names them so.
pub(crate) fn for_line(mut root: Command, line: &[OsString]) -> Command {
    let words: Vec<&str> =
        line.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let path = called(&root, &words);
    let names: BTreeSet<&str> = words
        .iter()
        .filter_map(|word| word.strip_prefix("--")?.split('=').next())
        .filter(|it| !it.is_empty())
        .collect();
    if !names.is_empty() && !path.is_empty() {
        root = within(root, &path, &|command| name_arguments(command, &names));
    }
    root
}

/// The names of the command and its subcommands that these words call.
fn called(root: &Command, words: &[&str]) -> Vec<String> {
    let mut path = Vec::new();
    let mut at = root;
    for word in words {
        if let Some(next) = at.find_subcommand(word) {
            path.push(next.get_name().to_owned());
            at = next;
        }
    }
    path
}

fn within(command: Command, path: &[String], change: &dyn Fn(Command) -> Command) -> Command {
    match path.split_first() {
        None => change(command),
        Some((first, rest)) => command.mut_subcommand(first, |it| within(it, rest, change)),
    }
}

fn name_arguments(mut command: Command, names: &BTreeSet<&str>) -> Command {
    for name in names {
        let taken = command.get_opts().any(|it| it.get_long() == Some(name));
        let named = command.get_positionals().find(|it| name_of(it) == *name).map(|it| it.get_id().clone());
        if let (false, Some(id)) = (taken, named) {
            let name = (*name).to_owned();
            command = command.mut_arg(id, |it| it.long(name));
        }
    }
    command
}

/// The name of a positional argument: as it stands in the help, in lower case.
pub(crate) fn name_of(positional: &Arg) -> String {
    let shown = positional.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    shown.unwrap_or_else(|| positional.get_id().to_string()).to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::for_line;
    use crate::args::{Cli, Command};

    fn parsed(line: &[&str]) -> Result<Cli, clap::Error> {
        let line: Vec<_> = line.iter().map(Into::into).collect();
        let matches = for_line(Cli::command(), &line).try_get_matches_from(line)?;
        Cli::from_arg_matches(&matches)
    }

    #[test]
    fn named_or_in_their_places() {
        for line in [
            &["polyvirt", "attach-disk", "guest", "/a.img", "vdb"][..],
            &["polyvirt", "attach-disk", "--domain", "guest", "--source", "/a.img", "--target", "vdb"],
            &["polyvirt", "attach-disk", "--target=vdb", "guest", "/a.img"],
            &["polyvirt", "-c", "mock:///default", "attach-disk", "/a.img", "vdb", "--domain=guest"],
        ] {
            let Command::AttachDisk(args) = parsed(line).unwrap_or_else(|error| panic!("{line:?}: {error}")).command
            else {
                panic!("{line:?} is another command")
            };
            assert_eq!(
                (args.domain.as_str(), args.source.as_str(), args.target.as_str()),
                ("guest", "/a.img", "vdb"),
                "{line:?}"
            );
        }
    }

    #[test]
    fn what_no_argument_is_named_is_refused() {
        for line in [
            &["polyvirt", "dominfo", "--guest", "a"][..],
            &["polyvirt", "dominfo", "a", "--domain", "b"],
            &["polyvirt", "dominfo"],
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn after_two_hyphens_nothing_is_a_name() {
        assert!(parsed(&["polyvirt", "dominfo", "--", "--domain"]).is_ok());
    }
}
