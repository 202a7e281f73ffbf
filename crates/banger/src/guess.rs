//! Commands of similar tools: unambiguous ones work, and the others get a hint with the right
//! command.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;

/// The command lines with `vm` inserted before an unknown word that is a verb of a VM. The value of
/// an option may be the same word, so there may be several.
pub(crate) fn with_vm(usage: &clap::Error, words: &[OsString]) -> Vec<Vec<OsString>> {
    let command = Cli::command();
    let vm = command.find_subcommand("vm");
    let is_of_a_vm = |word: &&str| {
        vm.is_some_and(|vm| vm.find_subcommand(word).is_some()) || instead_of_verb(word).is_some()
    };
    let Some(verb) = unknown_verb(usage).filter(is_of_a_vm) else {
        return Vec::new();
    };
    // After a verb, that verb rejects it.
    let is_verb = |word: &OsString| command.find_subcommand(word).is_some();
    let first = words.iter().enumerate().skip(1);
    first
        .take_while(|(_, word)| !is_verb(word))
        .filter(|(_, word)| *word == verb)
        .map(|(position, _)| {
            let (before, after) = words.split_at(position);
            [before, &["vm".into()], after].concat()
        })
        .collect()
}

/// The sentence about what to type instead.
pub(crate) fn hint(usage: &clap::Error, words: &[OsString]) -> Option<String> {
    let vm = words.iter().position(|it| it == "vm")?;
    let verb = words.get(vm + 1)?.to_str()?;
    if let Some(unknown) = unknown_verb(usage) {
        return instead_of_verb(unknown).map(str::to_owned);
    }
    if usage.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(word)) = usage.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_before_the_verb = words[..vm].iter().any(|it| it == word.as_str());
    if is_before_the_verb {
        return None;
    }
    if verb == "ssh" {
        return Some(instead_for_ssh(word));
    }
    if verb == "run" && !word.starts_with('-') {
        return Some(
            "put the command after two hyphens, and the image after --image: banger vm run --rm --image IMAGE -- COMMAND"
                .to_owned(),
        );
    }
    if verb == "exec" && !word.starts_with('-') {
        return Some(
            "put the command after two hyphens: banger vm exec NAME -- COMMAND".to_owned(),
        );
    }
    instead_of_option(verb, word).map(str::to_owned)
}

fn unknown_verb(usage: &clap::Error) -> Option<&str> {
    match usage.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if usage.kind() == ErrorKind::InvalidSubcommand => {
            Some(word)
        }
        _ => None,
    }
}

fn instead_of_verb(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "launch" | "new" | "up" => "make a VM and start it: banger vm create NAME",
        "connect" | "login" | "enter" => "get a shell: banger vm ssh NAME",
        "info" | "inspect" | "status" => "see one VM: banger vm show NAME",
        "down" | "halt" | "shutdown" | "poweroff" => "shut it down: banger vm stop NAME",
        "reboot" | "reset" => "stop it and start it again: banger vm restart NAME",
        "destroy" | "remove" => "remove it with its files: banger vm delete NAME",
        "console" | "log" => "see its console: banger vm logs -f NAME",
        "edit" | "update" | "resize" | "configure" => {
            "change its settings, such as its memory: banger vm set NAME --memory 4G"
        }
        "scp" | "copy" | "push" | "pull" => {
            "copy files into a VM or out of one: banger vm cp FILE NAME:DIR"
        }
        _ => return None,
    })
}

fn instead_of_option(verb: &str, word: &str) -> Option<&'static str> {
    Some(match (verb, word) {
        ("start" | "restart" | "stop", "--force" | "-f") => {
            "end a VM that hangs at once, and then start it: banger vm kill NAME"
        }
        ("create", "--cpus" | "--cpu" | "-c") => "the number of CPUs: --vcpu 4",
        ("create" | "set", "--mem" | "--ram" | "-m") => "the memory: --memory 4G",
        ("create" | "set", "--disk" | "-d") => "the disk at /root: --disk-size 50G",
        ("create", "-i") => "the image: --image NAME",
        _ => return None,
    })
}

/// The hint for options of ssh(1) that `vm ssh` does not take, and for words that look like a
/// command.
fn instead_for_ssh(word: &str) -> String {
    if !word.starts_with('-') {
        return "put the command after two hyphens: banger vm ssh NAME -- COMMAND".to_owned();
    }
    let option = match word {
        "-C" => "Compression=yes",
        "-D" => "DynamicForward=PORT",
        "-J" => "ProxyJump=HOST",
        "-K" => "GSSAPIAuthentication=yes",
        "-v" => "LogLevel=DEBUG",
        "-X" => "ForwardX11=yes",
        "-Y" => "ForwardX11Trusted=yes",
        "-F" | "-i" | "-p" => {
            return "banger knows the VM's key, address and port; for an ssh of your own see: \
                    banger vm show NAME"
                .to_owned();
        }
        _ => {
            return "pass other options of ssh with -o, as in ssh_config(5): -o KEY=VALUE"
                .to_owned();
        }
    };
    format!("for ssh's {word}: banger vm ssh NAME -o {option}")
}
