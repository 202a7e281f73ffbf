//! The command line as a whole. Each verb's own options stand in the verb's own file.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{bundle, completion, daemon, doctor, system, vm};

/// Persistent Linux VMs for development.
///
/// banger gives you Linux VMs that feel like local machines: made with one command, reached by name, and kept, with every file in them, until you delete them.
#[derive(Debug, Parser)]
#[command(
    name = "banger",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Begin here:
  banger bundle build          Make what VMs boot from, once
  banger doctor                See what this machine can do, and what it lacks
  banger vm create --nat       Make a VM with a name like calm-otter, and start it
  banger vm ssh calm-otter     Get a shell in it
  banger vm stop calm-otter    Stop it; its files stay
  banger vm rm calm-otter      Remove it and its files

The daemon, bangerd, is started when it is needed, and VMs run on without it."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print JSON instead of text: results to standard output, an error to standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print results and errors only.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Where VMs, images and keys are kept [env: BANGER_STATE] [default: ~/.local/state/banger].
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub(crate) state: Option<PathBuf>,

    /// The daemon's socket [env: BANGER_SOCKET] [default: $XDG_RUNTIME_DIR/banger/bangerd.sock, or run/bangerd.sock in a state directory of your own].
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    pub(crate) socket: Option<PathBuf>,

    /// The daemon's configuration [env: BANGER_CONFIG] [default: ~/.config/banger/config.toml].
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,

    /// The bundle that VMs boot from [env: BANGER_BUNDLE] [default: ~/.local/share/banger/bundle].
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub(crate) bundle: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make, use and remove VMs.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Vm {
        #[command(subcommand)]
        verb: Box<vm::Verb>,
    },
    Doctor(doctor::Doctor),
    /// Look after the daemon. It is started when needed; you rarely have to.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Daemon {
        #[command(subcommand)]
        verb: daemon::Verb,
    },
    /// Set banger up as a service of this machine, for VMs with a network of their own without root.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    System {
        #[command(subcommand)]
        verb: system::Verb,
    },
    /// Make what VMs boot from.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Bundle {
        #[command(subcommand)]
        verb: bundle::Verb,
    },
    Completion(completion::Completion),
}

/// Reads the command line.
///
/// # Errors
/// When it is wrong, or asks for help or the version.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn exit_code(words: &[&str]) -> i32 {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        parse(&words).map_or_else(|usage| usage.exit_code(), |_| 0)
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for words in [
            &["banger"][..],
            &["banger", "vm"],
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
    fn global_options_stand_anywhere() {
        for words in [
            &["banger", "--json", "vm", "list"][..],
            &["banger", "vm", "--json", "list"],
            &["banger", "vm", "ls", "--json", "--state", "/srv/x"],
        ] {
            assert_eq!(exit_code(words), 0, "{words:?}");
        }
    }
}
