//! The outcome of a verb, and its exit status.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use banger_api::{API_VERSION, Code, Error, VersionView};
use clap::error::{ContextKind, ErrorKind};

use crate::commands::vm::NOT_OF_THE_COMMAND;
use crate::guess;
use crate::output::{self, Output};

/// An invalid command line, or a request for help or the version.
#[derive(Debug)]
pub(crate) struct WrongUsage {
    /// clap's error.
    pub(crate) usage: clap::Error,
    /// The words of the command line.
    pub(crate) words: Vec<OsString>,
}

/// The reason that a verb failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error to print.
    Error(Box<Error>),
    /// The reader of standard output has closed it: `banger vm list | head -1`.
    ReaderGone,
    /// A program has failed and printed the reason; its exit status.
    Status(u8),
}

/// A verb's exit status, or the reason that it failed.
pub(crate) type Outcome = Result<ExitCode, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
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

/// Prints the outcome, and returns the exit status.
pub(crate) fn report(outcome: Outcome, output: Output) -> ExitCode {
    match outcome {
        Ok(status) => status,
        Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Status(status)) => ExitCode::from(status),
        Err(Failure::Error(error)) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether the command line is one of `vm ssh` or of another verb with the status of a command.
fn has_the_status_of_a_command(words: &[OsString]) -> bool {
    let mut pairs = words.windows(2);
    let verbs = ["ssh", "shell", "exec", "run", "attach"];
    pairs.any(|pair| pair[0] == "vm" && verbs.iter().any(|verb| pair[1] == *verb))
}

/// clap's error, with its tips and the usage as hints.
fn usage_error(usage: &clap::Error) -> Error {
    let text = usage.render().to_string();
    let mut parts = text.trim().split("\n\n");
    let message = parts
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    let message = match usage.kind() {
        // What is rendered is the help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing",
        _ => message,
    };
    let lines = parts.flat_map(str::lines).map(str::trim);
    let hints = lines.filter_map(|line| match line.strip_prefix("tip: ") {
        Some(tip) => Some(tip.to_owned()),
        None => line
            .strip_prefix("Usage: ")
            .map(|form| format!("usage: {form}")),
    });
    hints.fold(Error::new(Code::Invalid, message), Error::hint)
}

/// Prints what is wrong with the command line, or the requested help or version.
pub(crate) fn report_usage(wrong: WrongUsage) -> ExitCode {
    let WrongUsage { mut usage, words } = wrong;
    let hint = guess::hint(&usage, &words);
    if hint.is_some() {
        // clap suggests words of similar spelling; the hint is better.
        usage.remove(ContextKind::SuggestedSubcommand);
        if usage.remove(ContextKind::SuggestedArg).is_some() {
            // The usage contains the suggestion.
            usage.remove(ContextKind::Usage);
        }
        usage.remove(ContextKind::Suggested);
    }
    let own = words.split(|word| word == "--").next();
    let wants_json = own.unwrap_or_default().iter().any(|word| word == "--json");
    // Errors of closed output are ignored.
    if wants_json && usage.use_stderr() {
        output::error_as_json(&hint.into_iter().fold(usage_error(&usage), Error::hint));
    } else if wants_json && usage.kind() == ErrorKind::DisplayVersion {
        let version = VersionView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: API_VERSION,
        };
        let _ = serde_json::to_writer(io::stdout(), &version);
        let _ = io::stdout().write_all(b"\n");
    } else {
        let _ = usage.print();
        if let Some(hint) = hint {
            output::say(format!("hint: {hint}"));
        }
    }
    if usage.use_stderr() && has_the_status_of_a_command(&words) {
        return ExitCode::from(NOT_OF_THE_COMMAND);
    }
    ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
}
