//! `banger host add`.

use std::process::ExitCode;

use banger_api::{Code, Error};
use clap::Args;

use crate::failure::Outcome;
use crate::remote::{Context, Contexts, Destination, check_name, contexts_file};
use crate::session::Session;

/// Name another machine, which ssh reaches.
///
/// The name stands for it in `--host NAME`, BANGER_HOST and `banger host use NAME`. Nothing is connected yet: to see that it works, `banger --host NAME host show`. Users, keys, jump hosts and host keys are ssh's own, by ~/.ssh/config.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger host add lab ada@server
  banger host add lab ssh://ada@server:2222
  banger host add lab ada@server --program /opt/banger/bin/banger")]
pub(crate) struct Add {
    /// The name, of lower-case letters, digits and hyphens.
    name: String,

    /// The machine: user@server, server:PORT, ssh://user@server:PORT, or a Host of ~/.ssh/config.
    destination: Destination,

    /// The path of the program `banger` there, if ssh commands do not find it.
    #[arg(long, value_name = "PROGRAM")]
    program: Option<String>,

    /// Replace a host of this name.
    #[arg(long, short)]
    force: bool,
}

impl Add {
    /// Adds it to the file.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let name = &self.name;
        check_name(name)?;
        let context = Context {
            destination: self.destination.to_string(),
            program: self.program.clone(),
        };
        Contexts::change(
            &contexts_file(&session.places.location.config),
            |contexts| {
                let old = contexts.hosts.get(name);
                if let Some(old) = old.filter(|old| **old != context && !self.force) {
                    return Err(Error::new(
                        Code::Conflict,
                        format!("`{name}` is {} already", old.destination),
                    )
                    .hint(format!("to replace it: banger host add --force {name} …"))
                    .hint("or choose another name"));
                }
                contexts.hosts.insert(name.clone(), context.clone());
                Ok(())
            },
        )?;
        session
            .output
            .result(&super::Answer::of(name, Some(&context), false), || {
                format!(
                    "{name} is {}\ntry it: banger --host {name} host show",
                    context.destination
                )
            })?;
        Ok(ExitCode::SUCCESS)
    }
}
