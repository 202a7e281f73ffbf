//! The options that every verb takes.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::completion;

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

    /// Work with the VMs of another machine, which ssh reaches: user@server, ssh://user@server:PORT, a name of `banger host add`, or `local` [env: BANGER_HOST] [default: the host of `banger host use`, or this machine].
    #[arg(long, global = true, value_name = "HOST", add = ArgValueCandidates::new(completion::hosts))]
    pub(crate) host: Option<String>,

    /// Where VMs, images and keys are kept [env: BANGER_STATE] [default: ~/.local/state/banger].
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub(crate) state: Option<PathBuf>,

    /// The daemon's socket [env: BANGER_SOCKET] [default: $XDG_RUNTIME_DIR/banger/bangerd.sock, or run/bangerd.sock in a state directory of your own].
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    pub(crate) socket: Option<PathBuf>,

    /// The daemon's configuration [env: BANGER_CONFIG] [default: ~/.config/banger/config.toml].
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,

    /// The bundle that VMs boot from [env: BANGER_RUNTIME_DIR] [default: `runtime_dir` of the configuration, ../lib/banger or ./runtime beside the program, else ~/.local/share/banger/bundle].
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub(crate) bundle: Option<PathBuf>,
}
