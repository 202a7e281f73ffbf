//! `banger vm`.

mod authorize;
mod clone;
mod confirmation;
mod console;
mod cp;
mod create;
mod delete;
mod description;
mod early;
mod events;
mod exec;
mod export;
mod first_choice;
mod forward;
mod import;
mod job;
mod kill;
mod list;
mod logs;
mod open;
mod out_of_memory;
mod outcomes;
mod placement;
mod ports;
mod proxy;
mod prune;
mod purge;
mod rename;
mod restart;
mod run;
mod selection;
mod set;
mod settings;
mod several;
mod show;
mod space;
mod ssh;
mod start;
mod stats;
mod stop;
mod sync;
mod undelete;
mod wait;

#[cfg(test)]
pub(crate) use description::tests::calm_otter;
pub(crate) use exec::run_in_terminal;
pub(crate) use forward::arrow;
pub(crate) use settings::disk as disk_size;
pub(crate) use ssh::{NOT_OF_THE_COMMAND, connection};

use banger_api::VmRef;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::completion;
use crate::failure::Outcome;
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
    Clone(clone::Clone),
    Export(export::Export),
    Import(import::Import),
    #[command(visible_alias = "rm")]
    Delete(delete::Delete),
    Undelete(undelete::Undelete),
    Purge(purge::Purge),
    Prune(prune::Prune),
    Run(run::Run),
    Exec(exec::Exec),
    Cp(cp::Cp),
    Sync(sync::Sync),
    Shell(exec::Shell),
    Jobs(job::Jobs),
    Attach(job::Attach),
    Console(console::Console),
    /// Read the output of a job, signal it, remove it.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Job {
        #[command(subcommand)]
        verb: job::Verb,
    },
    Ssh(ssh::Ssh),
    Proxy(proxy::Proxy),
    #[command(hide = true)]
    Authorize(authorize::Authorize),
    Forward(forward::Forward),
    Open(open::Open),
    Ports(ports::Ports),
    Stats(stats::Stats),
    Wait(wait::Wait),
    Logs(logs::Logs),
    Events(events::Events),
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
            Self::Clone(verb) => verb.run(session),
            Self::Export(verb) => verb.run(session),
            Self::Import(verb) => verb.run(session),
            Self::Delete(verb) => verb.run(session),
            Self::Undelete(verb) => verb.run(session),
            Self::Purge(verb) => verb.run(session),
            Self::Prune(verb) => verb.run(session),
            Self::Run(verb) => verb.run(session),
            Self::Exec(verb) => verb.run(session),
            Self::Cp(verb) => verb.run(session),
            Self::Sync(verb) => verb.run(session),
            Self::Shell(verb) => verb.run(session),
            Self::Jobs(verb) => verb.run(session),
            Self::Attach(verb) => verb.run(session),
            Self::Console(verb) => verb.run(session),
            Self::Job { verb } => verb.run(session),
            Self::Forward(verb) => verb.run(session),
            Self::Open(verb) => verb.run(session),
            Self::Ports(verb) => verb.run(session),
            Self::Stats(verb) => verb.run(session),
            Self::Ssh(verb) => verb.run(session),
            Self::Proxy(verb) => verb.run(session),
            Self::Authorize(verb) => verb.run(session),
            Self::Wait(verb) => verb.run(session),
            Self::Logs(verb) => verb.run(session),
            Self::Events(verb) => verb.run(session),
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
