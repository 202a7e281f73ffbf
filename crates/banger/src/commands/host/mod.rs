//! `banger host`.

mod add;
mod list;
mod remove;
mod select;
mod show;

use clap::Subcommand;
use serde::Serialize;

use crate::failure::Outcome;
use crate::remote::Context;
use crate::session::Session;

/// What to do with hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Show(show::Show),
    Add(add::Add),
    #[command(visible_alias = "ls")]
    List(list::List),
    Use(select::Use),
    #[command(visible_alias = "rm")]
    Remove(remove::Remove),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Show(verb) => verb.run(session),
            Self::Add(verb) => verb.run(session),
            Self::List(verb) => verb.run(session),
            Self::Use(verb) => verb.run(session),
            Self::Remove(verb) => verb.run(session),
        }
    }
}

/// A host in JSON.
#[derive(Debug, Serialize)]
struct Answer {
    /// Its name.
    name: String,
    /// Its destination for ssh; `None` for this machine.
    destination: Option<String>,
    /// Whether it is the host of commands that name none.
    current: bool,
}

impl Answer {
    fn of(name: &str, context: Option<&Context>, current: bool) -> Self {
        Self {
            name: name.to_owned(),
            destination: context.map(|it| it.destination.clone()),
            current,
        }
    }
}
