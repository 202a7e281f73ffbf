//! The command line as a whole. Each verb's file has the options of the verb.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands::{
    bundle, completion, config, daemon, dial_stdio, doctor, host, image, integration, metrics,
    ssh_config, system, tui, verify, version, vm, volume,
};
use crate::environment::Environment;
use crate::failure::{Outcome, WrongUsage};
use crate::global::Global;
use crate::guess;
use crate::output::{self, Output};
use crate::paths::Paths;
use crate::programs;
use crate::remote::{Prompts, Remote};
use crate::scope::{Scope, VerbScope, words_for_there};
use crate::session::Session;

/// Persistent Linux VMs for development.
///
/// banger gives you Linux VMs that feel like local machines. One command creates a VM, another opens a shell in it by name, and it keeps every file until you delete it.
#[derive(Debug, Parser)]
#[command(
    name = "banger",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Begin here:
  banger bundle build          Build what new VMs boot from, once
  banger doctor                Check what this machine supports
  banger                       See all VMs and work with them on one screen
  banger vm create web --nat   Create and start a VM
  banger vm ssh web            Open a shell in it
  banger vm stop web           Stop it; its files stay
  banger vm rm web             Delete it and its files

The verbs of `vm` work without that word: banger ssh web.

Commands start the daemon, bangerd, when it is needed. VMs keep running without it."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Where the verb works.
    #[arg(skip)]
    scope: VerbScope,
    /// The words of the command line.
    #[arg(skip)]
    words: Vec<OsString>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create, use and delete VMs.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Vm {
        #[command(subcommand)]
        verb: Box<vm::Verb>,
    },
    /// Manage the images that VMs are created from.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        alias = "images"
    )]
    Image {
        #[command(subcommand)]
        verb: image::Verb,
    },
    /// Manage volumes: disks that outlive the VMs that use them.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        alias = "volumes"
    )]
    Volume {
        #[command(subcommand)]
        verb: volume::Verb,
    },
    /// Show the machine that VMs run on, and name others.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        alias = "hosts"
    )]
    Host {
        #[command(subcommand)]
        verb: host::Verb,
    },
    SshConfig(ssh_config::SshConfig),
    Doctor(doctor::Doctor),
    Verify(verify::Verify),
    /// Manage the daemon, which commands start when it is needed.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Daemon {
        #[command(subcommand)]
        verb: daemon::Verb,
    },
    Metrics(metrics::Metrics),
    /// Show and change the configuration.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Config {
        #[command(subcommand)]
        verb: config::Verb,
    },
    /// Set up banger as a service of this machine: VMs with their own network, without root.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    System {
        #[command(subcommand)]
        verb: system::Verb,
    },
    /// Manage the bundle that new VMs boot from.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Bundle {
        #[command(subcommand)]
        verb: bundle::Verb,
    },
    Tui(tui::Tui),
    Completion(completion::Completion),
    Version(version::Version),
    #[command(hide = true)]
    DialStdio(dial_stdio::DialStdio),
    #[command(hide = true)]
    Integration(integration::Integration),
}

impl Cli {
    /// Runs the verb.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn run(self, environment: &Environment, output: Output) -> Outcome {
        let scope = self.scope.scope();
        let session = || {
            let mut places = Paths::find(&self.global, environment)?;
            if scope == Scope::Here {
                places.remote = None;
            }
            if let Some(remote) = &places.remote {
                if scope == Scope::There {
                    self.scope.require_no_paths(remote)?;
                    return Err(become_ssh(remote, &self.words));
                }
                places.location.socket = remote.connect(Prompts::Allowed)?;
                output::speak_of(remote.name(), self.global.host.is_some());
            }
            // If the variable has no effect there is nothing to report.
            let has_say = places.options.socket.is_none() && places.options.state.is_none();
            if let Some(why) = environment.passed_over().filter(|_| has_say) {
                output.warning(why);
            }
            Ok::<_, banger_api::Error>(Session::new(places, output))
        };
        match self.verb {
            Verb::Completion(verb) => verb.run(output),
            Verb::Version(verb) => verb.run(output),
            Verb::Integration(verb) => verb.run(Self::command()),
            Verb::Vm { verb } => verb.run(&session()?),
            Verb::Image { verb } => verb.run(&session()?),
            Verb::Volume { verb } => verb.run(&session()?),
            Verb::DialStdio(verb) => verb.run(&session()?),
            Verb::Host { verb } => verb.run(&session()?),
            Verb::SshConfig(verb) => verb.run(&session()?),
            Verb::Doctor(verb) => verb.run(&session()?),
            Verb::Verify(verb) => verb.run(&session()?),
            Verb::Daemon { verb } => verb.run(session()?),
            Verb::Metrics(verb) => verb.run(&session()?),
            Verb::Config { verb } => verb.run(&session()?),
            Verb::System { verb } => verb.run(&session()?),
            Verb::Tui(verb) => verb.run(&session()?, environment),
            Verb::Bundle { verb } => verb.run(&session()?),
        }
    }
}

/// Replaces this process by an ssh that runs the same verb on another machine. Returns only on
/// failure.
fn become_ssh(remote: &Remote, words: &[OsString]) -> banger_api::Error {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    match remote.run_there(&words_for_there(words), is_terminal) {
        Ok(arguments) => programs::become_ssh(&arguments),
        Err(error) => error,
    }
}

/// Parses these words with clap.
fn read(words: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(words)?;
    let cli = Cli::from_arg_matches(&matches);
    let mut cli = cli.map_err(|wrong| wrong.format(&mut Cli::command()))?;
    cli.scope = VerbScope::of(&matches);
    cli.words = words.to_vec();
    Ok(cli)
}

/// Parses the command line. Without words it means the screen on a terminal that fits, and the help
/// elsewhere. A verb of a VM needs no `vm`.
///
/// # Errors
/// If it is invalid, or asks for help or the version.
pub(crate) fn parse(words: &[OsString], screen: bool) -> Result<Cli, WrongUsage> {
    let words = match words {
        [] | [_] if screen => vec!["banger".into(), "tui".into()],
        [] | [_] => vec!["banger".into(), "-h".into()],
        words => words.to_vec(),
    };
    let usage = match read(&words) {
        Ok(cli) => return Ok(cli),
        Err(usage) => usage,
    };
    let is_without_verb = matches!(
        usage.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    );
    // Options alone, such as `--host lab`, mean the screen, too.
    if screen
        && is_without_verb
        && let Ok(cli) = read(&[&words[..], &["tui".into()]].concat())
    {
        return Ok(cli);
    }
    let mut wrong = WrongUsage { usage, words };
    for words in guess::with_vm(&wrong.usage, &wrong.words) {
        match read(&words) {
            Ok(cli) => return Ok(cli),
            Err(usage) => {
                let is_verb = usage.kind() != ErrorKind::InvalidSubcommand;
                wrong = WrongUsage { usage, words };
                if is_verb {
                    break;
                }
            }
        }
    }
    Err(wrong)
}

#[cfg(test)]
mod examples;

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_code(words: &[&str]) -> i32 {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        parse(&words, false).map_or_else(|wrong| wrong.usage.exit_code(), |_| 0)
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for words in [
            &["banger", "vm"][..],
            &["banger", "nonsense"],
            &["banger", "vm", "show"],
            &["banger", "vm", "show", "Not_A_Name"],
            &["banger", "vm", "create", "--name", "-x"],
            &["banger", "vm", "create", "--memory", "0"],
            &["banger", "vm", "create", "--memory", "-1"],
            &["banger", "vm", "create", "--vcpu", "0"],
            &["banger", "vm", "create", "--vcpu", "-2"],
            &["banger", "vm", "create", "--nat", "--no-nat"],
            &["banger", "vm", "set", "calm-otter"],
            &["banger", "vm", "stop", "calm-otter", "--timeout", "0"],
            &["banger", "vm", "kill", "calm-otter", "--signal", "WINCH"],
            &["banger", "vm", "ssh", "calm-otter", "ls"],
            &["banger", "completion", "powershell"],
        ] {
            assert_eq!(exit_code(words), 2, "{words:?}");
        }
    }

    #[test]
    fn options_alone_ask_for_the_screen_where_it_fits() {
        let words = ["banger", "--host", "lab"].map(OsString::from);
        let cli = parse(&words, true).unwrap();
        assert!(matches!(cli.verb, Verb::Tui(_)), "{:?}", cli.verb);
        assert!(parse(&words, false).is_err());
        assert!(parse(&["banger", "vm"].map(OsString::from), true).is_err());
    }

    #[test]
    fn global_options_stand_anywhere() {
        for words in [
            &["banger", "--json", "vm", "list"][..],
            &["banger", "vm", "--json", "list"],
            &["banger", "vm", "ls", "--json", "--state", "/srv/x"],
            &["banger", "--state", "list", "list", "--json"],
        ] {
            assert_eq!(exit_code(words), 0, "{words:?}");
        }
    }
}
