//! `banger-root`: the only program of banger that runs as root.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use banger_host::root::{self, HelperStatus, Input, InstallRequest};
use banger_host::{Error, Kind, Subnet};
use clap::{Args, Parser, Subcommand};

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
    /// Makes the jail that the standard input tells of; the `serve` has systemd start it
    #[command(hide = true)]
    Jail,
    /// Keeps the user's DNS port, which systemd hands over, while no daemon has it
    #[command(hide = true)]
    KeepPort,
    /// Puts root's side of banger in place for one user; `banger system install` calls it
    Install(Install),
    /// Restores the firewall of all VMs, after the rules of the host were flushed
    Restore,
    /// Shows how root's side of banger stands for one user; exit status 1 if it is not whole
    Status(Status),
    /// Takes it away again
    Uninstall {
        /// The user's number
        #[arg(long, value_name = "UID")]
        uid: u32,
    },
}

#[derive(Debug, Args)]
struct Install {
    /// The user's number
    #[arg(long, value_name = "UID")]
    uid: u32,
    /// The user's state directory
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The network of the user's guests; one that is free otherwise
    #[arg(long, value_name = "CIDR")]
    subnet: Option<Subnet>,
    /// The port on 127.0.0.1 where names are answered; one that is free otherwise
    #[arg(long, value_name = "PORT")]
    dns_port: Option<u16>,
    /// The program `banger`
    #[arg(long, value_name = "PATH")]
    cli: PathBuf,
    /// A static `firecracker`, to be copied beside this program
    #[arg(long, value_name = "PATH")]
    firecracker: Option<PathBuf>,
    /// A static `jailer`, to be copied beside this program
    #[arg(long, value_name = "PATH")]
    jailer: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Status {
    /// The user's number
    #[arg(long, value_name = "UID")]
    uid: u32,
    /// A folder of programs, to compare with those that root runs
    #[arg(long, value_name = "DIR")]
    beside: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// In colours
    #[arg(long, conflicts_with = "json")]
    colour: bool,
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
        Command::Jail => root::jail(),
        Command::Restore => root::restore(),
        Command::KeepPort => root::keep_port(),
        Command::Install(install) => put(install),
        Command::Uninstall { uid } => root::uninstall(uid, &mut say),
        Command::Status(status) => match show(&status) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Installs, and prints the installation as one JSON object.
fn put(install: Install) -> banger_host::Result<()> {
    let request = InstallRequest {
        uid: install.uid,
        state: install.state,
        subnet: install.subnet,
        dns_port: install.dns_port,
        cli: install.cli,
        firecracker: install.firecracker,
        jailer: install.jailer,
    };
    let placed = root::install(&request, &mut say)?;
    print(&json(&placed)?)
}

/// Prints the status, and returns whether the installation is complete.
fn show(status: &Status) -> banger_host::Result<bool> {
    let found = HelperStatus::look(status.uid, status.beside.as_deref())?;
    let text = if status.json {
        json(&found)?
    } else {
        found.text(status.colour)
    };
    print(text.trim_end()).map(|()| found.is_whole())
}

fn json(value: &impl serde::Serialize) -> banger_host::Result<String> {
    serde_json::to_string(value).map_err(|cause| Error::new(Kind::Other, cause.to_string()))
}

fn print(text: &str) -> banger_host::Result<()> {
    writeln!(std::io::stdout(), "{text}")
        .map_err(|cause| Error::io("write to the standard output", cause))
}

fn say(line: &str) {
    // If nobody reads the output, the exit status still has the outcome.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Prints an error in the format of the CLI.
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
    // If nobody reads the output, the exit status still has the outcome.
    drop(std::io::stderr().write_all(text.as_bytes()));
}
