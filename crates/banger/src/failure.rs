//! How a verb ends, and what the shell is told of it.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use banger_api::{Code, Error};
use clap::error::ErrorKind;

use crate::output::{self, Output};

/// Why a verb did not reach its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong; it is printed as it is.
    Said(Box<Error>),
    /// Whoever read our output has what they wanted and went away: `banger vm list | head -1`.
    ReaderGone,
}

/// The status that a verb ends with, or why it did not end.
pub(crate) type Outcome = Result<ExitCode, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Said(Box::new(error))
    }
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Error::new(Code::Host, "write to standard output")
            .cause(cause.to_string())
            .into()
    }
}

/// Tells the user how it went, and gives the program's exit status.
pub(crate) fn report(outcome: Outcome, output: Output) -> ExitCode {
    match outcome {
        Ok(status) => status,
        Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Said(error)) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether it is `vm ssh` that is wanted, where words after the name are easily taken for a command.
fn is_ssh(arguments: &[OsString]) -> bool {
    arguments
        .windows(2)
        .any(|words| words[0] == "vm" && words[1] == "ssh")
}

/// Tells the user what is wrong with the command line, or shows the help that was asked for.
pub(crate) fn report_usage(usage: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let status = ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
    let wants_json = arguments
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    if usage.use_stderr() && wants_json {
        let text = usage.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        output::error_as_json(&Error::new(Code::Invalid, message));
    } else {
        // A reader that went away is no reason to complain.
        let _ = usage.print();
        if usage.kind() == ErrorKind::UnknownArgument && is_ssh(arguments) {
            output::say("hint: a command stands after two hyphens: banger vm ssh NAME -- COMMAND");
        }
    }
    status
}
