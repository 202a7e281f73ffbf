//! `banger host list`.

use std::process::ExitCode;

use clap::Args;

use super::Answer;
use crate::columns::columns;
use crate::failure::Outcome;
use crate::output::clean;
use crate::remote::{Contexts, LOCAL, contexts_file};
use crate::session::Session;

/// List the named hosts, and this machine, which is `local`.
///
/// The one with a star is the host of commands that name none.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger host list
  banger host list --json | jq -r .[].name")]
pub(crate) struct List {}

impl List {
    /// Lists them.
    #[expect(clippy::unused_self, reason = "as the other verbs")]
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let contexts = Contexts::read(&contexts_file(&session.places.location.config))?;
        let current = contexts.current.as_deref().unwrap_or(LOCAL);
        let named = contexts.hosts.iter();
        let named = named.map(|(name, it)| Answer::of(name, Some(it), name == current));
        let hosts: Vec<Answer> = std::iter::once(Answer::of(LOCAL, None, current == LOCAL))
            .chain(named)
            .collect();
        session.output.result(&hosts, || {
            let head = ["", "NAME", "DESTINATION"].map(str::to_owned).to_vec();
            let row = |host: &Answer| {
                vec![
                    if host.current { "*" } else { "" }.to_owned(),
                    clean(&host.name),
                    clean(host.destination.as_deref().unwrap_or("this machine")),
                ]
            };
            let rows: Vec<_> = std::iter::once(head).chain(hosts.iter().map(row)).collect();
            columns(&rows, |_, _, _| None)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
