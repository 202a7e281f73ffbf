//! `banger vm exec` and `banger vm shell`: a command in a guest, without SSH.

pub(super) mod conversation;
mod detach;
pub(super) mod terminal;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use banger_api::exec::{ExecFrame, ExecStart, LONGEST_EXEC_FRAME};
use banger_api::{Code, Error, JobRef, VmRef};
use clap::Args;

use super::ssh::NOT_OF_THE_COMMAND;
use super::{VmArgument, out_of_memory};
use crate::escape::Escape;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use conversation::{ConversationOptions, Input};
use terminal::Terminal;

/// Run one command in a VM, without SSH.
///
/// It works while the VM boots, in rescue, and without any network. The command gets its arguments exactly as typed; its standard output and standard error stay apart, and its exit status becomes that of banger: 128 plus the signal's number if a signal ended it, 124 at the timeout, 127 if there is no such command, 126 if it cannot be run, 255 if the connection failed.
///
/// Signals that banger gets are passed on. A command whose banger ends gets SIGHUP, then SIGTERM, then SIGKILL.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm exec calm-otter -- uname -a
  banger vm exec calm-otter -it -- htop
  tar c src | banger vm exec calm-otter -i -- tar x -C /srv
  banger vm exec calm-otter --user dev --cwd /srv --env DEBUG=1 -- make test
  banger vm exec calm-otter --timeout 60 -- apt-get update
  banger vm exec calm-otter --detach --name build -- make")]
pub(crate) struct Exec {
    #[command(flatten)]
    one: VmArgument,

    /// Start the command as a job, which continues without banger, and print the job's id. With --tty it has a terminal; with --interactive it takes input from `vm attach`.
    #[arg(long, short)]
    detach: bool,

    /// A name for the job.
    #[arg(long = "name", short = 'n', value_name = "JOB", requires = "detach")]
    label: Option<JobRef>,

    #[command(flatten)]
    command: CommandLine,
}

/// A command and what it gets.
#[derive(Debug, Args)]
pub(super) struct CommandLine {
    /// Pass standard input on to the command.
    #[arg(long, short)]
    interactive: bool,

    /// Give the command a terminal.
    #[arg(long, short)]
    tty: bool,

    #[command(flatten)]
    conditions: Conditions,

    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl CommandLine {
    /// Runs it in this VM.
    pub(super) fn run_in(&self, vm: &VmRef, session: &Session) -> Outcome {
        self.request(vm).run(session)
    }

    fn request<'a>(&'a self, vm: &'a VmRef) -> Request<'a> {
        Request {
            vm,
            command: &self.command,
            conditions: &self.conditions,
            interactive: self.interactive,
            tty: self.tty,
        }
    }
}

/// Open a shell in a VM, without SSH: the user's login shell, with a terminal.
///
/// It works while the VM boots, in rescue, and without any network.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm shell calm-otter
  banger vm shell calm-otter --user dev
  echo 'uname -a; uptime' | banger vm shell calm-otter")]
pub(crate) struct Shell {
    #[command(flatten)]
    one: VmArgument,

    #[command(flatten)]
    conditions: Conditions,
}

/// What a command finds when it starts.
#[derive(Debug, Default, Args)]
pub(super) struct Conditions {
    /// Run as this user of the VM, by name or number, instead of root.
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,

    /// The directory to run in [default: the user's home].
    #[arg(long, short = 'w', visible_alias = "workdir", value_name = "DIR")]
    cwd: Option<String>,

    /// A variable for the command. Can be repeated.
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<OsString>,

    /// End the command after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    timeout: Option<u64>,
}

impl Exec {
    /// Runs it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let vm = &self.one.name;
        if self.detach {
            let request = self.command.request(vm);
            return request.detach(self.label.as_ref(), session);
        }
        self.command.run_in(vm, session)
    }
}

impl Shell {
    /// Opens the shell.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = Request {
            vm: &self.one.name,
            command: &[],
            conditions: &self.conditions,
            interactive: true,
            // A shell that reads a script gets no terminal, so that its bytes arrive unchanged.
            tty: std::io::stdin().is_terminal(),
        };
        request.run(session)
    }
}

/// Runs a command in a VM as root, with the standard input and, if that is a terminal, with a terminal.
///
/// # Errors
/// As `vm exec`: the status of the command, or one of banger's own.
pub(crate) fn run_in_terminal(vm: &VmRef, command: &[OsString], session: &Session) -> Outcome {
    let request = Request {
        vm,
        command,
        conditions: &Conditions::default(),
        interactive: true,
        tty: std::io::stdin().is_terminal(),
    };
    request.run(session)
}

/// Gives a failure of banger a status that no command uses.
fn with_own_status(outcome: Outcome, session: &Session) -> Outcome {
    outcome.map_err(|failure| match failure {
        Failure::Error(error) => {
            session.output.error(&error);
            Failure::Status(NOT_OF_THE_COMMAND)
        }
        Failure::ReaderGone | Failure::Status(_) => failure,
    })
}

/// One command for one VM.
struct Request<'a> {
    vm: &'a VmRef,
    command: &'a [OsString],
    conditions: &'a Conditions,
    interactive: bool,
    tty: bool,
}

impl Request<'_> {
    fn run(&self, session: &Session) -> Outcome {
        with_own_status(self.converse(session), session)
    }

    fn converse(&self, session: &Session) -> Outcome {
        let start = self.frames(&self.start(), session)?;
        let stream = session.daemon()?.exec(self.vm)?;
        let terminal = Terminal::raw_if(self.tty && self.interactive);
        let options = ConversationOptions {
            input: if self.interactive {
                Input::Passed
            } else {
                Input::Closed
            },
            tty: self.tty,
            escape: Escape::NONE,
            jobs: 0,
        };
        let end = conversation::hold(stream, &start, &options);
        // The terminal is restored before any message.
        drop(terminal);
        match end? {
            conversation::End::Exit(status, end) => {
                out_of_memory::tell(self.vm, status, end.oom_killed, session);
                Ok(ExitCode::from(status))
            }
            conversation::End::Refusal(status, reason) => {
                session.output.error(&Error::new(Code::Guest, reason));
                Err(Failure::Status(status))
            }
            conversation::End::ReaderGone => Err(Failure::ReaderGone),
            conversation::End::Job(_)
            | conversation::End::Detached(_)
            | conversation::End::Lost => Err(Error::new(Code::Guest, "the connection was lost")
                .cause("the VM ended, its guest program restarted, or the daemon stopped")
                .hint(format!("see its state: banger vm show {}", self.vm))
                .into()),
        }
    }

    fn start(&self) -> ExecStart {
        ExecStart {
            user: self.conditions.user.clone(),
            directory: self.conditions.cwd.clone(),
            terminal: self.tty.then(terminal::size),
            timeout_millis: self.conditions.timeout.map(|seconds| seconds * 1000),
            tells_end: true,
            ..ExecStart::default()
        }
    }

    /// The frames up to the start.
    fn frames(&self, start: &ExecStart, session: &Session) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for word in self.command {
            let word = word.as_bytes();
            if word.len() > LONGEST_EXEC_FRAME {
                return Err(Error::new(
                    Code::Invalid,
                    "an argument is longer than the 128 KiB that Linux takes",
                ));
            }
            bytes.extend(ExecFrame::Word(word.to_vec()).encode());
        }
        for variable in self.variables(session)? {
            bytes.extend(ExecFrame::Variable(variable).encode());
        }
        let json = serde_json::to_vec(start).map_err(|cause| {
            Error::new(Code::Internal, "write the start").cause(cause.to_string())
        })?;
        bytes.extend(ExecFrame::Start(json).encode());
        Ok(bytes)
    }

    fn variables(&self, session: &Session) -> Result<Vec<Vec<u8>>, Error> {
        let mut all = Vec::new();
        if self.tty
            && let Some(term) = &session.places.term
        {
            all.push([b"TERM=", term.as_bytes()].concat());
        }
        for variable in &self.conditions.env {
            let bytes = variable.as_bytes();
            if !bytes.contains(&b'=') || bytes.starts_with(b"=") {
                return Err(Error::new(
                    Code::Invalid,
                    format!("`{}` is not NAME=VALUE", variable.display()),
                ));
            }
            all.push(bytes.to_vec());
        }
        Ok(all)
    }
}
