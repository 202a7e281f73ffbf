//! The scope of each verb when the host is another machine (`--host`).
//!
//! Most verbs are requests to a daemon, wherever it runs. Some are about a machine itself, such as
//! its services and its configuration: those run banger on that machine, by ssh, on the user's
//! terminal.
//!
//! A path on a command line always means the machine that the line is typed on. No verb silently
//! reads the same path on another machine: a verb that would do so is rejected, with the commands
//! to type instead.

use std::ffi::OsString;

use banger_api::{Code, Error, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::remote::Remote;

/// Where a verb runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Through the daemon, wherever that is.
    Daemon,
    /// On the daemon's machine: banger runs there, if that is another one.
    There,
    /// Here, whichever host is selected.
    Here,
}

use Scope::{Daemon, Here, There};

/// Every verb, its scope, and its arguments that are paths. A verb that works through the daemon
/// reads and writes them itself, so they are paths of this machine.
const VERBS: &[(&str, Scope, &[&str])] = &[
    ("vm create", Daemon, &[]),
    ("vm list", Daemon, &[]),
    ("vm show", Daemon, &[]),
    ("vm start", Daemon, &[]),
    ("vm stop", Daemon, &[]),
    ("vm restart", Daemon, &[]),
    ("vm kill", Daemon, &[]),
    ("vm set", Daemon, &[]),
    ("vm rename", Daemon, &[]),
    ("vm clone", Daemon, &[]),
    ("vm export", Daemon, &["file"]),
    ("vm import", Daemon, &["file"]),
    ("vm delete", Daemon, &[]),
    ("vm undelete", Daemon, &[]),
    ("vm purge", Daemon, &[]),
    ("vm prune", Daemon, &[]),
    ("vm run", Daemon, &[]),
    ("vm exec", Daemon, &[]),
    ("vm cp", Daemon, &[]),
    // `source` is read here, and its contents pass to the VM.
    ("vm sync", Daemon, &["source"]),
    ("vm shell", Daemon, &[]),
    ("vm jobs", Daemon, &[]),
    ("vm attach", Daemon, &[]),
    ("vm console", Daemon, &[]),
    ("vm job logs", Daemon, &[]),
    ("vm job kill", Daemon, &[]),
    ("vm job remove", Daemon, &[]),
    ("vm forward", Daemon, &[]),
    // `path` is a part of a URL.
    ("vm open", Daemon, &[]),
    ("vm ports", Daemon, &[]),
    ("vm stats", Daemon, &[]),
    ("vm wait", Daemon, &[]),
    ("vm ssh", Daemon, &[]),
    ("vm proxy", Daemon, &[]),
    ("vm authorize", Daemon, &[]),
    ("vm logs", Daemon, &[]),
    ("vm events", Daemon, &[]),
    ("image list", Daemon, &[]),
    ("image show", Daemon, &[]),
    ("image build", There, &["packages", "recipe"]),
    ("image shell", Daemon, &[]),
    ("image import", Daemon, &["source"]),
    ("image export", Daemon, &["file"]),
    ("image rename", Daemon, &[]),
    ("image delete", Daemon, &[]),
    ("image prune", Daemon, &[]),
    ("volume create", Daemon, &[]),
    ("volume list", Daemon, &[]),
    ("volume show", Daemon, &[]),
    ("volume delete", Daemon, &[]),
    ("host show", Daemon, &[]),
    ("host add", Here, &[]),
    ("host list", Here, &[]),
    ("host use", Here, &[]),
    ("host remove", Here, &[]),
    ("ssh-config", Daemon, &[]),
    ("doctor", There, &[]),
    ("verify", There, &[]),
    ("daemon status", There, &[]),
    ("daemon socket", There, &[]),
    ("daemon start", There, &[]),
    ("daemon logs", There, &[]),
    ("daemon log-level", There, &[]),
    ("daemon reload", There, &[]),
    ("daemon restart", There, &[]),
    ("daemon stop", There, &[]),
    ("metrics", Daemon, &["write"]),
    ("config show", There, &[]),
    ("config path", There, &[]),
    ("config set", There, &[]),
    ("config unset", There, &[]),
    ("config edit", There, &[]),
    ("system install", There, &["firecracker", "jailer"]),
    ("system uninstall", There, &[]),
    ("system status", There, &[]),
    ("bundle build", There, &["dir"]),
    ("bundle fetch", There, &["dir", "manifest"]),
    ("bundle package", There, &["dir", "out"]),
    ("tui", Daemon, &[]),
    ("completion", Here, &[]),
    ("version", Here, &[]),
    ("integration", Here, &["into", "programs"]),
    ("dial-stdio", Here, &[]),
];

/// The verb of a command line, and its scope.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerbScope {
    /// The words that name it, such as `vm create`.
    verb: String,
    /// The first argument that is a path, as the user wrote it.
    path: Option<(&'static str, String)>,
    /// Whether it selects its hosts itself.
    chooses: bool,
    /// Whether its path is the name of an image in a registry, which the daemon's machine asks.
    is_in_registry: bool,
}

impl VerbScope {
    /// The verb that clap has found.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let mut words = Vec::new();
        let mut last = matches;
        while let Some((word, below)) = last.subcommand() {
            words.push(word);
            last = below;
        }
        let verb = words.join(" ");
        let paths = find(&verb).map_or(&[][..], |it| it.2);
        let given = paths.iter().find_map(|id| {
            let is_given = last.value_source(id) == Some(ValueSource::CommandLine);
            let value = last.get_raw(id).filter(|_| is_given)?.next()?;
            Some((*id, value.to_string_lossy().into_owned()))
        });
        let is_given = |id: &str| {
            let known = last.try_contains_id(id).unwrap_or(false);
            known && last.value_source(id) == Some(ValueSource::CommandLine)
        };
        let is_in_registry = given
            .as_ref()
            .is_some_and(|(id, path)| *id == "source" && path.starts_with("docker://"));
        Self {
            verb,
            path: given.filter(|_| !is_in_registry),
            chooses: ["all_hosts", "on"].into_iter().any(is_given),
            is_in_registry,
        }
    }

    /// Its scope.
    pub(crate) fn scope(&self) -> Scope {
        if self.chooses {
            return Here;
        }
        if self.is_in_registry {
            return There;
        }
        // A test checks that every verb is in the table.
        find(&self.verb).map_or(Daemon, |it| it.1)
    }

    /// Rejects a path of this machine that another one would read.
    ///
    /// # Errors
    /// `invalid`, with the commands to type.
    pub(crate) fn require_no_paths(&self, remote: &Remote) -> Result<()> {
        let Some((_, path)) = &self.path else {
            return Ok(());
        };
        let (name, verb) = (remote.name(), &self.verb);
        let ssh = remote.ssh_command();
        let error = Error::new(
            Code::Invalid,
            format!(
                "`{path}` is a path of this machine, and `{verb}` works with files of `{name}`"
            ),
        );
        Err(error
            .hint("copy it there: scp or rsync")
            .hint(format!("then use it there: {ssh} banger {verb} …")))
    }
}

fn find(verb: &str) -> Option<&'static (&'static str, Scope, &'static [&'static str])> {
    VERBS.iter().find(|it| it.0 == verb)
}

/// The arguments of a command line, without the program and without options that select a host or a
/// configuration here.
pub(crate) fn words_for_there(words: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--" {
            kept.push(word.clone());
            kept.extend(words.cloned());
            break;
        }
        let text = word.to_string_lossy();
        if text == "--host" || text == "--config" {
            words.next();
        } else if !text.starts_with("--host=") && !text.starts_with("--config=") {
            kept.push(word.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use clap::{Command, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;

    /// Each verb, with the ids of its arguments that are paths.
    fn verbs(command: &Command, before: &str, found: &mut Vec<(String, BTreeSet<String>)>) {
        for below in command.get_subcommands() {
            let verb = format!("{before} {}", below.get_name()).trim().to_owned();
            if below.has_subcommands() {
                verbs(below, &verb, found);
                continue;
            }
            let arguments = below.get_arguments().filter(|it| {
                !it.is_global_set() && it.get_value_parser().type_id() == TypeId::of::<PathBuf>()
            });
            found.push((verb, arguments.map(|it| it.get_id().to_string()).collect()));
        }
    }

    #[test]
    fn every_verb_says_where_it_works_and_which_arguments_are_paths() {
        let mut found = Vec::new();
        verbs(&Cli::command(), "", &mut found);
        let table = VERBS.iter().map(|(verb, _, paths)| {
            let paths = paths.iter().map(ToString::to_string).collect();
            ((*verb).to_owned(), paths)
        });
        let mut table: Vec<(String, BTreeSet<String>)> = table.collect();
        table.sort();
        found.sort();
        assert_eq!(found, table);
    }

    #[test]
    fn no_verb_sends_a_path_to_a_daemon() {
        for (verb, scope, paths) in VERBS {
            // These send and fetch the files themselves, or write them here.
            let themselves = [
                "metrics",
                "vm sync",
                "vm export",
                "vm import",
                "image export",
                "image import",
            ];
            assert!(
                *scope != Daemon || paths.is_empty() || themselves.contains(verb),
                "{verb}"
            );
        }
    }

    #[test]
    fn a_registry_is_asked_by_the_machine_that_the_image_is_for() {
        for (source, scope) in [("docker://debian", There), ("docker.tar", Daemon)] {
            let words = ["banger", "image", "import", source, "--name", "x"];
            let matches = Cli::command().try_get_matches_from(words).unwrap();
            let found = VerbScope::of(&matches);
            assert_eq!(
                (found.scope(), found.path.is_none()),
                (scope, scope == There)
            );
        }
    }

    #[test]
    fn what_selects_a_host_stays_here() {
        let words = |line: &str| -> Vec<OsString> { line.split(' ').map(OsString::from).collect() };
        for (line, expected) in [
            ("banger --host lab config show", "config show"),
            (
                "banger config --host=lab set --config x vcpu 2",
                "config set vcpu 2",
            ),
            ("banger daemon logs -- --host x", "daemon logs -- --host x"),
        ] {
            assert_eq!(words_for_there(&words(line)), words(expected));
        }
    }
}
