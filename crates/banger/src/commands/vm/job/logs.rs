//! `banger vm job logs`.

use std::process::ExitCode;

use banger_api::{AttachStart, Code, Error};
use clap::Args;

use super::super::exec::conversation::{ConversationOptions, End, Input};
use super::JobArgument;
use crate::escape::Escape;
use crate::failure::{Failure, Outcome};
use crate::session::Session;

/// Print the output of a job that was kept: the latest MiB.
///
/// Standard output and standard error of the job stay apart.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm job logs calm-otter j3
  banger vm job logs calm-otter build --follow")]
pub(crate) struct Logs {
    #[command(flatten)]
    which: JobArgument,

    /// Follow the output until the job ends.
    #[arg(long, short)]
    follow: bool,
}

impl Logs {
    /// Prints it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if self.follow {
            crate::reader::leave_with_it();
        }
        let start = AttachStart {
            follow: self.follow,
            ..AttachStart::default()
        };
        let options = ConversationOptions {
            input: Input::Untouched,
            tty: false,
            escape: Escape::NONE,
            jobs: if self.follow { 0 } else { 2 },
        };
        match self.which.converse(session, &start, &options)? {
            End::Exit(..) | End::Job(_) => Ok(ExitCode::SUCCESS),
            End::Refusal(_, reason) => Err(Error::new(Code::Guest, reason).into()),
            End::ReaderGone => Err(Failure::ReaderGone),
            End::Detached(signal) => Err(Failure::Status(128 + signal.unwrap_or(2))),
            End::Lost => Err(self.which.lost().into()),
        }
    }
}
