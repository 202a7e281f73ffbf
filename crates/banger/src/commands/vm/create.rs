//! `banger vm create`.

use banger_api::{CreateVm, VmName};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::settings::Settings;
use super::{description, first_choice};
use crate::completion;
use crate::failure::Outcome;
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
  name=$(banger vm create --quiet)")]
pub(crate) struct Create {
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

    /// Create the VM without starting it.
    #[arg(long)]
    no_start: bool,
}

impl Create {
    /// Makes it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
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
            no_start: self.no_start,
        };
        let vm = session.work(|daemon, progress| daemon.create(&request, progress))?;
        description::report(&vm, session.output)
    }
}
