//! `banger-root`: the only program of banger that runs as root.

use std::io::Write as _;
use std::process::ExitCode;

use banger_host::root::{self, Input};
use clap::{Parser, Subcommand};

/// What root does for banger's users, and nothing else
#[derive(Debug, Parser)]
#[command(name = "banger-root", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves one user by the socket that is the standard input
    Serve {
        /// The user's number
        #[arg(long, value_name = "UID")]
        uid: u32,
        /// The standard input is one connection, and does not listen
        #[arg(long)]
        stdin: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { uid, stdin } => {
            let input = if stdin {
                Input::Connection
            } else {
                Input::Listener
            };
            root::serve(uid, input)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says what went wrong, as the CLI does.
fn complain(error: &banger_host::Error) {
    let mut text = format!("error: {error}\n");
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        text.push_str(&format!("  caused by: {cause}\n"));
        below = cause.source();
    }
    for hint in error.hints() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    // Where nobody hears it, the exit status says it.
    drop(std::io::stderr().write_all(text.as_bytes()));
}
