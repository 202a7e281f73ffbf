//! `banger vm create`.

use std::process::ExitCode;

use banger_api::{CreateVm, Result, VmName, VmView};
use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::placement::Wish;
use super::settings::Settings;
use super::{description, first_choice, placement};
use crate::all_hosts;
use crate::completion;
use crate::failure::Outcome;
use crate::output;
use crate::session::Session;

/// Create a VM and start it.
///
/// The VM and its files are kept until you delete it. Anything you omit comes from config.toml.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm create --nat
  banger vm create web --vcpu 4 --memory 8G --disk-size 50G --nat
  banger vm create later --no-start
  banger vm create --on auto --memory 8G
  name=$(banger vm create --quiet)")]
pub(crate) struct Create {
    #[command(flatten)]
    new: NewVm,

    /// Create the VM without starting it.
    #[arg(long)]
    no_start: bool,

    /// Create it on this host of `banger host add`, or with `auto` on the one of them, and this machine, that has the most free memory.
    #[arg(long, value_name = "HOST", add = ArgValueCandidates::new(completion::hosts))]
    on: Option<String>,
}

/// What a new VM is to be.
#[derive(Debug, Args)]
pub(super) struct NewVm {
    /// The name, of lower-case letters, digits and hyphens [default: two random words].
    name: Option<VmName>,

    /// The name, as an option.
    #[arg(
        long = "name",
        short = 'n',
        value_name = "NAME",
        allow_hyphen_values = true
    )]
    #[arg(conflicts_with = "name")]
    named: Option<VmName>,

    /// The image to create it from.
    #[arg(long, add = ArgValueCandidates::new(completion::images))]
    image: Option<String>,

    #[command(flatten)]
    settings: Settings,
}

/// A new VM and its host, in JSON.
#[derive(Debug, Serialize)]
struct VmOnHost<'v> {
    host: &'v str,
    #[serde(flatten)]
    vm: &'v VmView,
}

impl Create {
    /// Makes it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let Some(on) = &self.on else {
            let vm = self.new.create(session, self.no_start)?;
            return description::report(&vm, session.output);
        };
        let host = if on == placement::AUTO {
            placement::choose(session, &self.wish())?
        } else {
            on.clone()
        };
        let there = all_hosts::session_with(session, &host)?;
        if let Some(remote) = &there.places.remote {
            output::speak_of(remote.name(), true);
        }
        let vm = self.new.create(&there, self.no_start)?;
        if session.output.json {
            session.output.value(&VmOnHost {
                host: &host,
                vm: &vm,
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        description::report(&vm, session.output)
    }

    fn wish(&self) -> Wish {
        Wish {
            image: self.new.image.clone(),
            memory: self.new.settings.patch().memory,
            starts: !self.no_start,
        }
    }
}

impl NewVm {
    /// Creates it, and starts it unless `no_start`.
    ///
    /// # Errors
    /// The daemon's.
    pub(super) fn create(&self, session: &Session, no_start: bool) -> Result<VmView> {
        let mut spec = self.settings.patch();
        if spec.nat.is_none() {
            spec.nat = first_choice::of_nat(session)?;
        }
        let request = CreateVm {
            name: self
                .name
                .as_ref()
                .or(self.named.as_ref())
                .map(ToString::to_string),
            image: self.image.clone(),
            spec,
            no_start,
        };
        session.work(|daemon, progress| daemon.create(&request, progress))
    }
}
