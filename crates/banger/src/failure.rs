//! How a verb ends, and what the shell is told of it.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use banger_api::{Code, Error};
use clap::error::{ContextKind, ContextValue, ErrorKind};

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

/// What to type instead, where it is `vm ssh` that is wanted: options of ssh(1) that it does not
/// take, and words that are easily taken for a command.
fn ssh_hint(usage: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let is_ssh = arguments
        .windows(2)
        .any(|words| words[0] == "vm" && words[1] == "ssh");
    let Some(ContextValue::String(word)) = usage.get(ContextKind::InvalidArg) else {
        return None;
    };
    if !is_ssh || usage.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    if !word.starts_with('-') {
        let text = "a command stands after two hyphens: banger vm ssh NAME -- COMMAND";
        return Some(text.to_owned());
    }
    let option = match word.as_str() {
        "-C" => "Compression=yes",
        "-D" => "DynamicForward=PORT",
        "-J" => "ProxyJump=HOST",
        "-K" => "GSSAPIAuthentication=yes",
        "-v" => "LogLevel=DEBUG",
        "-X" => "ForwardX11=yes",
        "-Y" => "ForwardX11Trusted=yes",
        "-F" | "-i" | "-p" => {
            let text = "banger knows the VM's key, address and port; for an ssh of your own see: \
                        banger vm show NAME";
            return Some(text.to_owned());
        }
        _ => {
            let text = "other options of ssh are given with -o, as ssh_config(5) has them: \
                        -o KEY=VALUE";
            return Some(text.to_owned());
        }
    };
    Some(format!("for ssh's {word}: banger vm ssh NAME -o {option}"))
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
        if let Some(hint) = ssh_hint(usage, arguments) {
            output::say(format!("hint: {hint}"));
        }
    }
    status
}
