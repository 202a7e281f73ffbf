//! How a verb ends, and what the shell is told of it.

use std::io;
use std::process::ExitCode;

use banger_api::{Code, Error};
use clap::error::ContextKind;

use crate::cli::WrongUsage;
use crate::guess;
use crate::output::{self, Output};

/// Why a verb did not reach its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong; it is printed as it is.
    Said(Box<Error>),
    /// Whoever read our output has what they wanted and went away: `banger vm list | head -1`.
    ReaderGone,
    /// A program that was run for the user has said why; this is its status.
    Status(u8),
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
        Err(Failure::Status(status)) => ExitCode::from(status),
        Err(Failure::Said(error)) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Tells the user what is wrong with the command line, or shows the help that was asked for.
pub(crate) fn report_usage(wrong: WrongUsage) -> ExitCode {
    let WrongUsage { mut usage, words } = wrong;
    let hint = guess::hint(&usage, &words);
    if hint.is_some() {
        // What is spelled alike is not what was meant.
        usage.remove(ContextKind::SuggestedSubcommand);
        if usage.remove(ContextKind::SuggestedArg).is_some() {
            // It shows the suggestion.
            usage.remove(ContextKind::Usage);
        }
        usage.remove(ContextKind::Suggested);
    }
    let status = ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
    let wants_json = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    if usage.use_stderr() && wants_json {
        let text = usage.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        let mut error = Error::new(Code::Invalid, message);
        error.hints.extend(hint);
        output::error_as_json(&error);
    } else {
        // A reader that went away is no reason to complain.
        let _ = usage.print();
        if let Some(hint) = hint {
            output::say(format!("hint: {hint}"));
        }
    }
    status
}
