//! `banger vm create`.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use banger_api::client::Client;
use banger_api::{CreateVm, Progress, Result, VmName, VmRef, VmView};
use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::early::{self, StartProgress};
use super::placement::Wish;
use super::settings::Settings;
use super::wait::{self, Condition, DEFAULT_TIMEOUT, TIMED_OUT};
use super::{description, first_choice, placement};
use crate::all_hosts;
use crate::completion;
use crate::failure::{Failure, Outcome};
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
  banger vm create web --early && banger vm exec web -- uname -a
  banger vm create web --image docker --wait=command:'docker info'
  name=$(banger vm create --quiet)")]
pub(crate) struct Create {
    #[command(flatten)]
    new: NewVm,

    /// Create the VM without starting it.
    #[arg(long)]
    no_start: bool,

    /// Return as soon as `vm exec` works, seconds before the system is up: no service runs then. The start continues; `vm wait` waits for its end.
    #[arg(long, conflicts_with = "no_start")]
    early: bool,

    /// Wait for a condition of `vm wait`, too, such as --wait=port:80; the exit status is 124 at the timeout. Without a condition it is `ready`, which create waits for anyway, but not with --early.
    #[arg(long, value_name = "CONDITION", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "ready", conflicts_with = "no_start")]
    wait: Option<Condition>,

    /// Give up --wait after so many seconds [default: 300].
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    wait_timeout: Option<u64>,

    /// Create it on this named host (see `banger host add`); `auto` chooses the one with the most free memory, this machine included.
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
            let (vm, holds) = self.create(session)?;
            description::report(&vm, session.output)?;
            return self.status(&vm, holds, session);
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
        let (vm, holds) = self.create(&there)?;
        if session.output.json {
            session.output.value(&VmOnHost {
                host: &host,
                vm: &vm,
            })?;
            return self.status(&vm, holds, session);
        }
        description::report(&vm, session.output)?;
        self.status(&vm, holds, session)
    }

    /// Creates the VM, and waits for the condition, if any; also returns whether that holds.
    fn create(&self, session: &Session) -> Result<(VmView, bool)> {
        let vm = if self.early {
            self.new.create_early(session)?
        } else {
            self.new.create(session, self.no_start)?
        };
        let Some(condition) = &self.wait else {
            return Ok((vm, true));
        };
        let id = VmRef::from(vm.id);
        let timeout = Duration::from_secs(self.wait_timeout.unwrap_or(DEFAULT_TIMEOUT));
        let state = wait::until(condition, &id, Instant::now() + timeout, session)?;
        let mut now = session.daemon()?.show(&id)?;
        // Some notes are only for the user who creates a VM.
        now.notes = vm.notes;
        Ok((now, state.holds))
    }

    fn status(&self, vm: &VmView, holds: bool, session: &Session) -> Outcome {
        let (false, Some(condition)) = (holds, &self.wait) else {
            return Ok(ExitCode::SUCCESS);
        };
        let seconds = self.wait_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let name = &vm.name;
        session
            .output
            .warning(&format!("{name}: not {condition} within {seconds} s"));
        Err(Failure::Status(TIMED_OUT))
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
    /// The daemon's error.
    pub(super) fn create(&self, session: &Session, no_start: bool) -> Result<VmView> {
        let request = self.request(session, no_start)?;
        session.work(|daemon, progress| daemon.create(&request, progress))
    }

    /// Creates a VM that lives as long as the lifeline that is returned with it.
    ///
    /// # Errors
    /// The daemon's error; the VM is gone then, or goes within 30 seconds.
    pub(super) fn create_temporary(&self, session: &Session) -> Result<(VmView, UnixStream)> {
        let request = CreateVm {
            temporary: true,
            ..self.request(session, false)?
        };
        let vm = session.work(|daemon, progress| daemon.create(&request, progress))?;
        let lifeline = session.daemon()?.lifeline(&vm.id.into())?;
        Ok((vm, lifeline))
    }

    /// Creates the VM, and waits until its guest runs commands.
    fn create_early(&self, session: &Session) -> Result<VmView> {
        let request = self.request(session, false)?;
        let begin = move |client: &Client, progress: &mut dyn FnMut(Progress)| {
            client.create(&request, progress)
        };
        let early = session
            .work(|daemon, progress| early::until_it_answers(daemon, None, progress, begin))?;
        Ok(match early {
            StartProgress::Done(vm) => vm,
            StartProgress::Answers(vm) => *vm,
        })
    }

    fn request(&self, session: &Session, no_start: bool) -> Result<CreateVm> {
        let mut spec = self.settings.patch();
        if spec.nat.is_none() {
            spec.nat = first_choice::of_nat(session)?;
        }
        Ok(CreateVm {
            name: self
                .name
                .as_ref()
                .or(self.named.as_ref())
                .map(ToString::to_string),
            image: self.image.clone(),
            spec,
            no_start,
            temporary: false,
        })
    }
}
