//! `banger vm`.

mod create;
mod delete;
mod description;
mod kill;
mod list;
mod logs;
mod rename;
mod restart;
mod set;
mod settings;
mod show;
mod ssh;
mod start;
mod stop;

use std::process::ExitCode;

pub(crate) use ssh::{NOT_OF_THE_COMMAND, connection};

use banger_api::VmRef;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::completion;
use crate::failure::{Failure, Outcome};
use crate::session::Session;

/// What to do with VMs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Create(create::Create),
    #[command(visible_alias = "ls", alias = "ps")]
    List(list::List),
    Show(show::Show),
    Start(start::Start),
    Stop(stop::Stop),
    Restart(restart::Restart),
    Kill(kill::Kill),
    Set(set::Set),
    #[command(alias = "mv")]
    Rename(rename::Rename),
    #[command(visible_alias = "rm")]
    Delete(delete::Delete),
    #[command(alias = "shell")]
    Ssh(ssh::Ssh),
    Logs(logs::Logs),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Create(verb) => verb.run(session),
            Self::List(verb) => verb.run(session),
            Self::Show(verb) => verb.run(session),
            Self::Start(verb) => verb.run(session),
            Self::Stop(verb) => verb.run(session),
            Self::Restart(verb) => verb.run(session),
            Self::Kill(verb) => verb.run(session),
            Self::Set(verb) => verb.run(session),
            Self::Rename(verb) => verb.run(session),
            Self::Delete(verb) => verb.run(session),
            Self::Ssh(verb) => verb.run(session),
            Self::Logs(verb) => verb.run(session),
        }
    }
}

/// The one VM that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct VmArgument {
    /// The VM: its name, its id, or the first digits of its id.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::vms))]
    pub(crate) name: VmRef,
}

/// The VMs that a verb is about, in order.
#[derive(Debug, Args)]
pub(crate) struct VmArguments {
    /// The VMs: names, ids, or the first digits of ids.
    #[arg(value_name = "NAME", required = true, add = ArgValueCandidates::new(completion::vms))]
    pub(crate) names: Vec<VmRef>,
}

impl VmArguments {
    /// Does `work` for each VM. One failure does not stop the others; each is printed, and the exit
    /// status is 1.
    pub(crate) fn each(
        &self,
        session: &Session,
        mut work: impl FnMut(&VmRef) -> Result<(), Failure>,
    ) -> Outcome {
        // Without a daemon none of them has a turn, and that is told once.
        session.daemon()?;
        let mut status = ExitCode::SUCCESS;
        for (position, name) in self.names.iter().enumerate() {
            if self.names[..position].contains(name) {
                continue;
            }
            match work(name) {
                Err(Failure::Said(error)) if self.names.len() > 1 => {
                    session.output.error(&error);
                    status = ExitCode::FAILURE;
                }
                outcome => outcome?,
            }
        }
        Ok(status)
    }
}
