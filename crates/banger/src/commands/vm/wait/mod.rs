//! `banger vm wait`.

mod condition;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use banger_api::{JobView, Phase, VmName, VmRef};
use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::job;
use crate::completion;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::poll;
use crate::session::Session;
pub(super) use condition::Condition;
use condition::State;

/// The exit status at the timeout, that of timeout(1).
pub(super) const TIMED_OUT: u8 = 124;

/// The default timeout, in seconds.
pub(super) const DEFAULT_TIMEOUT: u64 = 300;

/// The pause between two checks: the first, and the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Wait until VMs are ready, or until a condition holds in them.
///
/// A VM that does not run is waited for, too: somebody may start it. The exit status is 0 when the condition holds for all of them, and 124 at the timeout.
#[derive(Debug, Args)]
#[command(after_help = "\
Conditions:
  running          its guest boots, or is ready
  ready            its guest is ready
  stopped          it is stopped
  ssh              something listens on TCP port 22
  port:PORT        something listens on this TCP port
  file:/PATH       this path exists in the guest
  command:COMMAND  this command of sh ends with status 0
  job:JOB          this job has ended, however it ended

Examples:
  banger vm wait calm-otter
  banger vm wait web-1 web-2 --for port:80 --timeout 60
  banger vm wait calm-otter --for 'command:docker info'
  banger vm wait calm-otter --for job:build")]
pub(crate) struct Wait {
    /// The VMs: names, ids, or the first digits of ids.
    #[arg(value_name = "NAME", required = true, add = ArgValueCandidates::new(completion::vms))]
    names: Vec<VmRef>,

    /// What to wait for.
    #[arg(long = "for", value_name = "CONDITION", default_value = "ready")]
    condition: Condition,

    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    timeout: u64,
}

/// The outcome for one VM.
#[derive(Debug, Serialize)]
struct WaitOutcome<'a> {
    name: VmName,
    condition: &'a Condition,
    holds: bool,
    phase: Phase,
    /// The job that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobView>,
}

impl Wait {
    /// Waits for the VMs.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(self.timeout);
        let mut all = Vec::new();
        for name in &self.names {
            let state = until(&self.condition, name, deadline, session)?;
            if !session.output.json {
                self.tell(&state, session)?;
            }
            all.push(WaitOutcome {
                name: state.name,
                condition: &self.condition,
                holds: state.holds,
                phase: state.phase,
                job: state.job,
            });
        }
        if session.output.json {
            session.output.value(&all)?;
        }
        if all.iter().all(|it| it.holds) {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(Failure::Status(TIMED_OUT))
        }
    }

    fn tell(&self, state: &State, session: &Session) -> std::io::Result<()> {
        let (name, condition) = (&state.name, &self.condition);
        if let Some(ended) = &state.job {
            let how = job::state(ended);
            return session.output.text(&format!("{name}: {condition} {how}"));
        }
        if state.holds {
            return session.output.text(&format!("{name}: {condition}"));
        }
        let seconds = self.timeout;
        session.output.warning(&format!(
            "{name}: not {condition} within {seconds} s; the VM is {}",
            state.phase
        ));
        Ok(())
    }
}

/// Checks the condition until it holds, at least once.
///
/// # Errors
/// The daemon's error.
pub(super) fn until(
    condition: &Condition,
    vm: &VmRef,
    deadline: Instant,
    session: &Session,
) -> banger_api::Result<State> {
    let daemon = session.daemon()?;
    let mut pause = SHORTEST_PAUSE;
    let mut phase = None;
    let mut is_lost = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let state = match condition.examine(daemon, vm) {
            Ok(state) => state,
            Err(error) if !left.is_zero() && session.can_ask_again(&error) => {
                if !is_lost {
                    let warning = format!("{vm}: {error}; asking again");
                    session.output.warning(&warning);
                    is_lost = true;
                }
                poll::pause(LONGEST_PAUSE.min(left));
                continue;
            }
            Err(error) => return Err(error),
        };
        is_lost = false;
        if state.holds || left.is_zero() {
            return Ok(state);
        }
        if session.output.terminal && phase != Some(state.phase) {
            say(format_args!("  {} is {} …", state.name, state.phase));
            phase = Some(state.phase);
        }
        poll::pause(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
