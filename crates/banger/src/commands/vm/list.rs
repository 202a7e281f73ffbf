//! `banger vm list`.

use std::fmt::Display;
use std::process::ExitCode;

use banger_api::{Phase, VmView};
use clap::Args;
use jiff::Timestamp;

use crate::age;
use crate::columns::columns;
use crate::failure::Outcome;
use crate::output::{Colour, Output, clean, say};
use crate::session::Session;

/// List all VMs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm list
  banger vm list --quiet               # the names alone
  banger vm list --json | jq -r '.[] | select(.phase == \"running\") | .name'")]
pub(crate) struct List {
    /// All are listed anyway; users of other tools type it.
    #[arg(long, short, hide = true)]
    all: bool,
}

impl List {
    /// Prints the list.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let vms = session.daemon()?.list()?;
        let output = session.output;
        if output.json {
            output.value(&vms)?;
        } else if vms.is_empty() {
            if !output.quiet {
                say("there are no VMs yet; create one: banger vm create");
            }
        } else if output.quiet {
            let names: Vec<_> = vms.iter().map(|vm| vm.name.as_str()).collect();
            output.text(&names.join("\n"))?;
        } else {
            output.text(&table(&vms, Timestamp::now(), output))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(vms: &[VmView], at: Timestamp, output: Output) -> String {
    let header = [
        "NAME", "PHASE", "ADDRESS", "VCPU", "MEMORY", "DISK", "IMAGE", "AGE",
    ];
    let mut rows = Vec::with_capacity(vms.len() + 1);
    rows.push(header.map(str::to_owned));
    rows.extend(vms.iter().map(|vm| {
        let (now, next) = (&vm.spec, vm.next());
        [
            vm.name.to_string(),
            phase(vm),
            address(vm),
            now_and_next(now.vcpu, next.vcpu),
            now_and_next(now.memory, next.memory),
            now_and_next(now.disk_size, next.disk_size),
            clean(&vm.image),
            age::since(vm.created, at),
        ]
    }));
    let text = columns(&rows);
    if output.colour {
        coloured(&text, vms, output)
    } else {
        text
    }
}

/// A setting, and after an arrow its value from the next start on.
fn now_and_next<T: Copy + Display + PartialEq>(now: T, next: T) -> String {
    if now == next {
        return now.to_string();
    }
    format!("{now}→{next}")
}

/// The phases in colour. This comes after the columns are laid out, because colours have no width.
fn coloured(text: &str, vms: &[VmView], output: Output) -> String {
    let mut lines = text.lines();
    let mut painted = output.paint(Colour::Grey, lines.next().unwrap_or_default()) + "\n";
    for (line, vm) in lines.zip(vms) {
        let phase = phase(vm);
        // The name stands before the phase, and may hold the same word.
        let (name, rest) = line.split_at(vm.name.as_str().len());
        painted += name;
        painted += &rest.replacen(&phase, &output.paint(colour(vm), &phase), 1);
        painted.push('\n');
    }
    painted
}

/// The phase, or that the VM is paused in it.
fn phase(vm: &VmView) -> String {
    match vm.pause_reason {
        Some(reason) => format!("paused: {reason}"),
        None if vm.paused => "paused".to_owned(),
        None => vm.phase.to_string(),
    }
}

fn colour(vm: &VmView) -> Colour {
    if vm.paused {
        return Colour::Yellow;
    }
    match vm.phase {
        Phase::Running => Colour::Green,
        Phase::Stopped | Phase::Suspended => Colour::Grey,
        Phase::Creating
        | Phase::Starting
        | Phase::Suspending
        | Phase::Resuming
        | Phase::Stopping
        | Phase::Deleting => Colour::Yellow,
    }
}

/// The VM's address, or where its SSH is if it has no address of its own.
fn address(vm: &VmView) -> String {
    match (vm.address, &vm.ssh) {
        (Some(address), _) => address.to_string(),
        (None, Some(ssh)) => format!("{}:{}", clean(&ssh.host), ssh.port),
        (None, None) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::{calm_otter, without_address};
    use super::*;

    fn vms() -> Vec<VmView> {
        let mut stopped = without_address();
        stopped.name = "running-web".parse().unwrap();
        stopped.phase = Phase::Stopped;
        stopped.ssh = None;
        vec![calm_otter(), without_address(), stopped]
    }

    #[test]
    fn the_list_is_aligned() {
        let output = Output {
            json: false,
            quiet: false,
            terminal: false,
            colour: false,
        };
        let now = Timestamp::from_second(1_800_007_200).unwrap();
        insta::assert_snapshot!(table(&vms(), now, output), @r"
        NAME         PHASE    ADDRESS          VCPU  MEMORY  DISK  IMAGE    AGE
        calm-otter   running  10.215.0.2       2     2G      16G   default  2h
        calm-otter   running  127.0.0.1:40022  2     2G      16G   default  2h
        running-web  stopped  -                2     2G      16G   default  2h
        ");
    }

    #[test]
    fn only_the_phase_has_a_colour() {
        let output = Output {
            json: false,
            quiet: false,
            terminal: true,
            colour: true,
        };
        let text = table(
            &vms(),
            Timestamp::from_second(1_800_007_200).unwrap(),
            output,
        );
        assert!(
            text.contains("calm-otter   \u{1b}[32mrunning\u{1b}[0m  10.215.0.2"),
            "{text}"
        );
        assert!(
            text.contains("\nrunning-web  \u{1b}[90mstopped\u{1b}[0m  -"),
            "{text}"
        );
    }
}
