//! Completion: the candidates for a shell when the user presses Tab.
//!
//! The shell runs this program with its own name in `COMPLETE`, and the words so far after `--`;
//! the script of `banger completion` sets that up. Names of VMs and images come from a running
//! daemon; completion never starts one, and does not wait for a slow one. Errors yield no
//! candidates and no message, because a message would disturb the line that the user is typing.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use banger_api::client::Client;
use banger_api::configuration::KEYS;
use banger_api::{ForwardView, ImageView, JobView, VmView, VolumeView};
use clap::CommandFactory as _;
use clap_complete::CompletionCandidate;
use clap_complete::engine::{PathCompleter, ValueCompleter as _};
use clap_complete::env::{Bash, CompleteEnv, Fish, Shells, Zsh};

use crate::cli::Cli;
use crate::environment::Environment;
use crate::global::Global;
use crate::output::clean;
use crate::paths::Paths;
use crate::remote::{Contexts, LOCAL, contexts_file};
use crate::{agreement, connect};

/// The longest time that a Tab waits for the daemon.
const PATIENCE: Duration = Duration::from_millis(200);

/// The variable that names the shell.
const ASKED_BY: &str = "COMPLETE";

/// Answers a shell that requests completions; returns whether one did.
pub(crate) fn answer(environment: &Environment, arguments: &[OsString]) -> bool {
    // Other programs use the variable, too: only the names of supported shells count.
    let is_asked = environment
        .get(ASKED_BY)
        .is_some_and(|shell| ["bash", "fish", "zsh"].iter().any(|known| shell == known));
    is_asked && {
        let here = std::env::current_dir().ok();
        let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
        let engine = CompleteEnv::with_factory(|| {
            let mut command = Cli::command();
            command.build();
            if arguments.last().is_some_and(is_option) {
                command
            } else {
                without_options(command)
            }
        });
        let engine = engine.var(ASKED_BY).shells(Shells(&[&Bash, &Fish, &Zsh]));
        engine
            .try_complete(arguments, here.as_deref())
            .unwrap_or(true)
    }
}

/// The command with its options hidden, so that they are offered only if nothing else fits.
/// Otherwise a shell would not complete the only name beside ten options.
fn without_options(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let is_option = !argument.is_positional();
            argument.hide(is_option)
        })
        .mut_subcommands(without_options)
}

/// The names of the VMs, each with its phase.
pub(crate) fn vms() -> Vec<CompletionCandidate> {
    let described = |vm: VmView| {
        let address = vm.address.map(|it| format!(" at {it}"));
        let stands = format!("{}{}", vm.phase, address.unwrap_or_default());
        CompletionCandidate::new(vm.name.to_string()).help(Some(stands.into()))
    };
    // A name that is on the command line already is not offered again.
    let mut words: Vec<_> = std::env::args_os().skip_while(|it| it != "--").collect();
    words.pop();
    let is_new = |vm: &VmView| !words.iter().any(|word| word == vm.name.as_str());
    let all = asked(Client::list).into_iter();
    all.filter(is_new).map(described).collect()
}

/// The files of this machine that fit, and the VMs, each as the beginning of `NAME:PATH`.
pub(crate) fn places(begun: &OsStr) -> Vec<CompletionCandidate> {
    let described = |vm: VmView| {
        let help = format!("the VM, {}", vm.phase);
        CompletionCandidate::new(format!("{}:", vm.name)).help(Some(help.into()))
    };
    let fits = |vm: &VmView| {
        let place = format!("{}:", vm.name);
        place.as_bytes().starts_with(begun.as_encoded_bytes())
    };
    // A path that begins so is no VM's.
    let is_path = begun.as_encoded_bytes().contains(&b'/');
    let vms = if is_path {
        Vec::new()
    } else {
        asked(Client::list)
    };
    let vms = vms.into_iter().filter(fits).map(described);
    vms.chain(PathCompleter::any().complete(begun)).collect()
}

/// The jobs of the VM that the words so far name, each with its command.
pub(crate) fn jobs() -> Vec<CompletionCandidate> {
    let described = |job: JobView| {
        let command = job.command.join(" ");
        let shown = job.name.unwrap_or(job.id);
        CompletionCandidate::new(shown.to_string()).help(Some(clean(&command).into()))
    };
    asked(jobs_of_named).into_iter().map(described).collect()
}

fn jobs_of_named(client: &Client) -> banger_api::Result<Vec<JobView>> {
    match named(client)? {
        Some(vm) => client.jobs(&vm.id.into()),
        None => Ok(Vec::new()),
    }
}

/// Where the forwards of the VM that the words so far name listen, each with what it reaches, and
/// `all`.
pub(crate) fn forwards() -> Vec<CompletionCandidate> {
    let described = |forward: ForwardView| {
        let reaches = format!("reaches {}", forward.target);
        CompletionCandidate::new(forward.listen.to_string()).help(Some(reaches.into()))
    };
    let held = asked(|client| Ok(named(client)?.map(|vm| vm.forwards).unwrap_or_default()));
    let all = CompletionCandidate::new("all").help(Some("all of them".into()));
    held.into_iter().map(described).chain([all]).collect()
}

/// The VM that the words so far name.
fn named(client: &Client) -> banger_api::Result<Option<VmView>> {
    let words: Vec<_> = std::env::args_os().skip_while(|it| it != "--").collect();
    let is_named = |vm: &VmView| words.iter().any(|word| word == vm.name.as_str());
    Ok(client.list()?.into_iter().find(is_named))
}

/// The names of the volumes, each with the VM that has it.
pub(crate) fn volumes() -> Vec<CompletionCandidate> {
    let described = |volume: VolumeView| {
        let user = volume.users.first().map(|it| format!("used by {it}"));
        CompletionCandidate::new(volume.name.to_string()).help(user.map(Into::into))
    };
    asked(Client::volumes).into_iter().map(described).collect()
}

/// The names of the VMs in the trash, each with its time of deletion.
pub(crate) fn trash() -> Vec<CompletionCandidate> {
    let described = |vm: VmView| {
        let deleted = vm.deleted.map(|at| format!("deleted {at:.0}"));
        CompletionCandidate::new(vm.name.to_string()).help(deleted.map(Into::into))
    };
    asked(Client::trash).into_iter().map(described).collect()
}

/// The labels of the VMs, each as `key=value`.
pub(crate) fn labels() -> Vec<CompletionCandidate> {
    let labels = asked(Client::list).into_iter();
    let labels = labels.flat_map(|vm| vm.spec.label_texts());
    let labels: std::collections::BTreeSet<_> = labels.collect();
    labels.into_iter().map(CompletionCandidate::new).collect()
}

/// The names of other machines, each with its destination, and that of this machine.
pub(crate) fn hosts() -> Vec<CompletionCandidate> {
    let global = Global::default();
    let places = Paths::find(&global, &Environment::read()).ok();
    let file = places.map(|it| contexts_file(&it.location.config));
    let contexts = file.and_then(|file| Contexts::read(&file).ok());
    let named = contexts.unwrap_or_default().hosts.into_iter();
    let named = named
        .map(|(name, host)| CompletionCandidate::new(name).help(Some(host.destination.into())));
    let here = CompletionCandidate::new(LOCAL).help(Some("this machine".into()));
    std::iter::once(here).chain(named).collect()
}

/// The keys of the configuration.
pub(crate) fn keys() -> Vec<CompletionCandidate> {
    KEYS.into_iter().map(CompletionCandidate::new).collect()
}

/// The names of the images, each with its origin.
pub(crate) fn images() -> Vec<CompletionCandidate> {
    let described = |image: ImageView| {
        CompletionCandidate::new(image.name.to_string()).help(Some(image.origin.into()))
    };
    asked(Client::images).into_iter().map(described).collect()
}

/// The answer of the daemon that the words so far select; empty if it takes too long.
fn asked<T: Send + 'static>(list: fn(&Client) -> banger_api::Result<Vec<T>>) -> Vec<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let words: Vec<_> = std::env::args_os().skip_while(|it| it != "--").collect();
        // The receiver is dropped if this took too long.
        let _ = sender.send(ask(&words, list).unwrap_or_default());
    });
    receiver.recv_timeout(PATIENCE).unwrap_or_default()
}

fn ask<T>(words: &[OsString], list: fn(&Client) -> banger_api::Result<Vec<T>>) -> Option<Vec<T>> {
    let global = Global {
        state: typed(words, "--state"),
        socket: typed(words, "--socket"),
        host: typed(words, "--host").map(|it| it.to_string_lossy().into_owned()),
        ..Global::default()
    };
    let places = Paths::find(&global, &Environment::read()).ok()?;
    let client = match &places.remote {
        Some(remote) => Client::new(remote.forwarded_socket()).ok()?,
        None => connect::if_there(&places).ok()??,
    };
    agreement::is_meant(&client.daemon().ok()?, &places).ok()?;
    list(&client).ok()
}

/// The value of an option among the words, in any form: bash makes three words of `--state=DIR`.
fn typed(words: &[OsString], option: &str) -> Option<PathBuf> {
    let position = words.iter().position(|word| {
        let rest = word.to_str().and_then(|word| word.strip_prefix(option));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })?;
    let word = words[position].to_str()?;
    match word.split_once('=') {
        Some((_, value)) => Some(value.into()),
        None => {
            let mut after = words[position + 1..].iter().filter(|word| *word != "=");
            after.next().map(PathBuf::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_however_it_is_attached() {
        for line in [
            "vm --state /srv/x stop",
            "vm --state=/srv/x stop",
            "vm --state = /srv/x stop",
        ] {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert_eq!(typed(&words, "--state"), Some("/srv/x".into()), "{line}");
            assert_eq!(typed(&words, "--socket"), None, "{line}");
        }
        assert_eq!(typed(&["--state".into()], "--state"), None);
    }
}
