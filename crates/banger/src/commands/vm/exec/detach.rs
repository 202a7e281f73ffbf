//! `banger vm exec --detach`: a command that continues without banger.

use std::process::ExitCode;

use banger_api::exec::ExecStart;
use banger_api::{Code, Error, JobRef};

use super::conversation::{self, ConversationOptions, End, Input};
use super::{Request, with_own_status};
use crate::escape::Escape;
use crate::failure::{Failure, Outcome};
use crate::output::clean;
use crate::session::Session;

impl Request<'_> {
    /// Starts it as a job, and prints the job's id.
    pub(super) fn detach(&self, name: Option<&JobRef>, session: &Session) -> Outcome {
        with_own_status(self.begin(name, session), session)
    }

    fn begin(&self, name: Option<&JobRef>, session: &Session) -> Outcome {
        if let Some(name) = name.filter(|name| name.is_id()) {
            let what = format!("a job cannot have the name `{name}`: ids look so");
            return Err(Error::new(Code::Invalid, what).into());
        }
        let start = ExecStart {
            name: name.map(ToString::to_string),
            input: self.interactive,
            ..self.start()
        };
        let frames = self.frames(&start, session)?;
        let daemon = session.daemon()?;
        let stream = daemon.detach(self.vm)?;
        let options = ConversationOptions {
            input: Input::Untouched,
            tty: false,
            escape: Escape::NONE,
            jobs: 1,
        };
        match conversation::hold(stream, &frames, &options)? {
            End::Job(json) => {
                let job = read(&json, self.vm, daemon)?;
                session.output.result(&job, || id(&job))?;
                Ok(ExitCode::SUCCESS)
            }
            End::Refusal(status, reason) => {
                session.output.error(&Error::new(Code::Guest, reason));
                Err(Failure::Status(status))
            }
            End::ReaderGone => Err(Failure::ReaderGone),
            End::Exit(..) | End::Detached(_) | End::Lost => {
                let vm = self.vm;
                Err(Error::new(Code::Guest, "the connection was lost")
                    .hint(format!("see whether the job runs: banger vm jobs {vm}"))
                    .into())
            }
        }
    }
}

/// The job in the API's form; if it has been removed already, as the guest described it.
fn read(
    json: &[u8],
    vm: &banger_api::VmRef,
    daemon: &banger_api::client::Client,
) -> Result<serde_json::Value, Error> {
    let not_understood = |cause: serde_json::Error| {
        Error::new(Code::Guest, "read the guest's answer").cause(cause.to_string())
    };
    let said: serde_json::Value = serde_json::from_slice(json).map_err(not_understood)?;
    let jobs = daemon.jobs(vm)?;
    match jobs.iter().find(|job| said["id"] == job.id.as_str()) {
        Some(job) => serde_json::to_value(job).map_err(not_understood),
        None => Ok(said),
    }
}

fn id(job: &serde_json::Value) -> String {
    clean(job["id"].as_str().unwrap_or_default())
}
