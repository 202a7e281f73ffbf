//! The program inside each guest.
//!
//! One static file has eight roles, selected by the name that it is called with:
//!
//! - `/init`, the first process of the initramfs, which prepares the guest and starts the image's
//!   own init ([`init`]);
//! - the agent, which answers the daemon while the guest runs ([`agent`]);
//! - the session of each command of `banger vm exec` ([`exec`]);
//! - the supervisor of each job, a command that outlives its stream ([`job`]);
//! - the carrier of connections of `banger vm forward` ([`connections`]);
//! - the session of each copy of `banger vm cp` ([`copy`]);
//! - `banger-session`, beside each command of `banger vm ssh` ([`session`]);
//! - `/shutdown`, where the image's init returns at the very end ([`shutdown`]).

mod agent;
#[cfg(test)]
mod bare_kernel;
mod boot_record;
mod connections;
mod copy;
mod exec;
mod failure;
mod init;
mod job;
mod session;
mod shutdown;
mod system;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use system::enter;

/// The daemon searches this file for the mark before it gives the file to a guest.
#[used]
static BUILD: &str = banger_guest::BUILD;

fn main() -> ExitCode {
    let mut given = std::env::args_os();
    let called = given.next().unwrap_or_default();
    if Path::new(&called).file_name() == Some(session::NAME.as_ref()) {
        return session::run(&given.collect::<Vec<_>>());
    }
    run_in_guest(Path::new(&called), given)
}

fn run_in_guest(called: &Path, given: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = given
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let name = called.file_name().unwrap_or_default();
    if std::process::id() == 1 {
        if name == "shutdown" {
            shutdown::run(&arguments);
        }
        init::run(&arguments);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["agent"] => agent::run(),
        ["streams", root] => enter::streams(root),
        [exec::ROLE] => exec::run(),
        [copy::ROLE] => copy::run(),
        [job::ROLE] => job::run(),
        [connections::ROLE] => connections::run(),
        ["booted"] => agent::mark_booted(),
        ["enter", root, program, rest @ ..] => enter::enter(root, program, rest),
        ["shell", root] => enter::shell(root),
        ["--version"] => {
            let line = format!("banger-guest {}\n{BUILD}\n", env!("CARGO_PKG_VERSION"));
            match std::io::stdout().write_all(line.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        _ => {
            let usage = "usage: banger-guest --version | agent\nas the first process of a guest: /init, /shutdown\n";
            let _ = std::io::stderr().write_all(usage.as_bytes());
            ExitCode::from(2)
        }
    }
}
