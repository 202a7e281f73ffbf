//! `banger vm attach`.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use banger_api::{AttachStart, Code, Error, JobView};
use clap::Args;

use super::super::exec::conversation::{ConversationOptions, End, Input};
use super::super::exec::terminal::{self, Terminal};
use super::super::out_of_memory;
use super::super::ssh::NOT_OF_THE_COMMAND;
use super::JobArgument;
use crate::escape::Escape;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::session::Session;

/// Attach to a job: show the output that was kept, follow it, and type to it.
///
/// The job's exit status becomes that of banger when it ends, as with `vm exec`. With a terminal, all keys are the job's, Ctrl-C too, and Ctrl-] detaches. Without one, Ctrl-C detaches. A job whose client detaches or is killed continues.
///
/// Several clients may be attached; one of them types.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm attach calm-otter j3
  banger vm attach calm-otter build --no-input
  banger vm attach calm-otter shell --escape ctrl-p")]
pub(crate) struct Attach {
    #[command(flatten)]
    which: JobArgument,

    /// Only show output.
    #[arg(long)]
    no_input: bool,

    /// The key that detaches from a job with a terminal: `ctrl-` and a letter, or `none`.
    #[arg(long, value_name = "KEY", default_value = "ctrl-]")]
    escape: Escape,
}

impl Attach {
    /// Attaches.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        self.attach(session).map_err(|failure| match failure {
            Failure::Error(error) => {
                session.output.error(&error);
                Failure::Status(NOT_OF_THE_COMMAND)
            }
            Failure::ReaderGone | Failure::Status(_) => failure,
        })
    }

    fn attach(&self, session: &Session) -> Outcome {
        let job = self.which.find(session)?;
        // A terminal passes keys, but no end of file.
        let typed = !job.terminal || std::io::stdin().is_terminal();
        let input = job.input && typed && !self.no_input;
        let tty = input && job.terminal;
        if tty && self.escape.is_some() {
            let key = self.escape;
            session
                .output
                .note(&format!("attached to {}; {key} detaches", job.id));
        }
        let start = AttachStart {
            input,
            follow: true,
            terminal: tty.then(terminal::size),
        };
        let options = ConversationOptions {
            input: if input {
                Input::Attached
            } else {
                Input::Untouched
            },
            tty,
            escape: if tty { self.escape } else { Escape::NONE },
            jobs: 0,
        };
        let raw = Terminal::raw_if(tty);
        let end = self.which.converse(session, &start, &options);
        // The terminal is restored before any message.
        drop(raw);
        self.report(&job, end?, session)
    }

    fn report(&self, job: &JobView, end: End, session: &Session) -> Outcome {
        match end {
            End::Exit(status, _) => {
                let killed = || self.which.find(session).ok()?.oom_killed;
                let killed = (status != 0).then(killed).flatten();
                out_of_memory::tell(&self.which.one.name, status, killed, session);
                Ok(ExitCode::from(status))
            }
            End::Refusal(_, reason) => {
                let (name, id) = (&self.which.one.name, &job.id);
                Err(Error::new(Code::Guest, reason)
                    .hint(format!(
                        "read its output: banger vm attach {name} {id} --no-input"
                    ))
                    .into())
            }
            End::ReaderGone => Err(Failure::ReaderGone),
            End::Detached(signal) => {
                let (name, id) = (&self.which.one.name, &job.id);
                if job.terminal && session.output.terminal {
                    // The job's own line is kept.
                    say("");
                }
                session.output.note(&format!(
                    "detached; the job continues: banger vm attach {name} {id}"
                ));
                Ok(ExitCode::from(signal.map_or(0, |number| 128 + number)))
            }
            End::Job(_) | End::Lost => Err(self.which.lost().into()),
        }
    }
}
