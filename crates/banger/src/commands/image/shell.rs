//! `banger image shell`: a build with one step, in which the user has a shell.
//!
//! ```text
//! this command ── build, with a step that waits ──► daemon ──► VM
//!      └────────── shell, as `vm exec` ─────────────────────────┘ its end ends the step
//! ```
//!
//! The daemon owns the build. If this process is killed, its shell ends, and so does the build.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};

use banger_api::{BuildImage, BuildStep, Code, Error, ImageName, ImageView, Mib, Progress, VmRef};
use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::ask::{somebody_is_there, text};
use crate::commands::vm;
use crate::completion;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output::say;
use crate::progress::Steps;
use crate::session::Session;

/// The script of the user's shell, and of the step that waits for it.
const SHELL: &str = include_str!("shell.sh");
const STEP: &str = include_str!("shell_step.sh");

/// The name of that step.
const STEP_NAME: &str = "your shell";

/// The longest session, in seconds.
const LONGEST: u64 = 86_400;

/// Change an image in a shell, and save the result as another one.
///
/// A VM is created from the image, with NAT, and you get a root shell in it. When the shell ends, its system disk becomes the new image, without host keys, machine-id, logs, caches and shell history. The image itself stays as it is. If the shell ends with a status other than 0, banger asks on a terminal whether to keep the changes; elsewhere, and if the connection ends, nothing is kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image shell default --name mine
  banger image shell docker-dev --discard      # look around
  echo 'apt-get update && apt-get install -y jq' | banger image shell default --name with-jq")]
pub(crate) struct Shell {
    /// The image to start from.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::images))]
    base: ImageName,

    /// The new image's name. Asked for on a terminal.
    #[arg(long, short, value_name = "NEW")]
    name: Option<ImageName>,

    /// Keep nothing.
    #[arg(long, conflicts_with = "name")]
    discard: bool,

    /// The size of its root file system, and the least system disk of its VMs [default: 4G, or the image's].
    #[arg(long)]
    size: Option<Mib>,
}

impl Shell {
    /// Opens the shell, and waits for the image.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let number = RandomState::new().hash_one(std::process::id()) >> 32;
        let vm = format!("shell-{number:08x}");
        let name = match (self.discard, &self.name) {
            (true, _) => format!("discarded-{number:08x}"),
            (false, Some(name)) => name.to_string(),
            (false, None) => ask_name(session)?,
        };
        let request = self.request(name, vm.clone());
        let client = session.daemon()?;
        interrupt::note_that_the_daemon_continues();
        let (sender, progress) = channel();
        std::thread::scope(|scope| {
            let build = scope.spawn(move || {
                client.build_image(&request, |step| {
                    // The receiver goes when the shell has failed.
                    let _ = sender.send(step);
                })
            });
            let shell = self.shell(&vm, &progress, session);
            let mut steps = Steps::new(session.output);
            progress.iter().for_each(|step| steps.hear(&step));
            let is_over = shell
                .as_ref()
                .is_none_or(|it| *it == Ok(()) && !self.discard);
            if is_over {
                steps.end();
            }
            let built = build
                .join()
                .map_err(|_| Error::new(Code::Internal, "the build has panicked"))?;
            self.report(shell, built, session)
        })
    }

    fn request(&self, name: String, vm: String) -> BuildImage {
        let discard = if self.discard { "yes" } else { "no" };
        BuildImage {
            name,
            base: Some(self.base.to_string()),
            size: self.size,
            steps: vec![BuildStep {
                name: STEP_NAME.to_owned(),
                script: format!("DISCARD={discard}\n{STEP}"),
                timeout_seconds: Some(LONGEST),
                ..BuildStep::default()
            }],
            origin: Some(format!("{}, changed by hand", self.base)),
            vm: Some(vm),
            ..BuildImage::default()
        }
    }

    /// Shows the steps up to the shell, and opens it; `None` if the build has ended before.
    fn shell(
        &self,
        vm: &str,
        progress: &Receiver<Progress>,
        session: &Session,
    ) -> Option<Result<(), u8>> {
        let mut steps = Steps::new(session.output);
        loop {
            // It ends with the build.
            let step = progress.recv().ok()?;
            if step.step == STEP_NAME {
                break;
            }
            steps.hear(&step);
        }
        steps.end();
        if !session.output.quiet && !session.output.json {
            say(match self.discard {
                true => "nothing of this shell is kept",
                false => "the image is made when this shell ends; `exit 1` keeps nothing",
            });
        }
        let keep = if self.discard { "discard" } else { "keep" };
        let words = ["sh", "-c", SHELL, "sh", keep].map(OsString::from);
        let vm: VmRef = vm.parse().ok()?;
        Some(match vm::run_in_terminal(&vm, &words, session) {
            Ok(status) if status == ExitCode::SUCCESS => Ok(()),
            Ok(_) | Err(Failure::ReaderGone) => Err(1),
            Err(Failure::Status(status)) => Err(status),
            Err(Failure::Error(error)) => {
                session.output.error(&error);
                Err(vm::NOT_OF_THE_COMMAND)
            }
        })
    }

    fn report(
        &self,
        shell: Option<Result<(), u8>>,
        built: Result<ImageView, Error>,
        session: &Session,
    ) -> Outcome {
        match (shell, built) {
            (_, Ok(image)) => {
                session.output.result(&image, || {
                    let name = &image.name;
                    format!("{name} is ready; use it: banger vm create --image {name}")
                })?;
                Ok(ExitCode::SUCCESS)
            }
            (Some(_), Err(_)) if self.discard => Ok(ExitCode::SUCCESS),
            (Some(Err(_)), Err(error)) if error.code == Code::Guest => {
                Err(Error::new(Code::Guest, "nothing is kept")
                    .cause("the shell has ended with a status other than 0")
                    .into())
            }
            (_, Err(error)) => Err(error.into()),
        }
    }
}

/// The name of the new image, from the user.
fn ask_name(session: &Session) -> Result<String, Error> {
    let lacks = || {
        Error::new(Code::Invalid, "the new image needs a name")
            .hint("name it: --name NEW   (or keep nothing: --discard)")
    };
    if !somebody_is_there(session.output) {
        return Err(lacks());
    }
    let name = text("The name of the new image:").ok_or_else(lacks)?;
    let name: ImageName = name
        .parse()
        .map_err(|cause: banger_api::InvalidName| Error::new(Code::Invalid, cause.to_string()))?;
    Ok(name.to_string())
}
