//! `banger vm stop`.

use std::process::ExitCode;

use banger_api::{Phase, Progress, StopAllVms, StopReport, StopVm};
use clap::Args;

use super::description;
use super::outcomes::{Description, Outcomes};
use super::selection::Scope;
use super::several::Several;
use crate::failure::Outcome;
use crate::interrupt;
use crate::progress::VmSteps;
use crate::session::Session;
use crate::systemd::Systemd;

/// Stop VMs cleanly; their files stay.
///
/// The guest writes everything to its disks and shuts down. A guest that does not finish in time is ended by force, with a warning. With --all the timeout is for all of them together [default: shutdown_timeout_seconds of the configuration].
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm stop calm-otter
  banger vm stop web db --timeout 120
  banger vm stop -l team=web
  banger vm stop --all")]
pub(crate) struct Stop {
    #[command(flatten)]
    several: Several,

    /// Stop only if the host is shutting down, and record that reason: for the unit that stops VMs with their host.
    #[arg(long, hide = true, requires = "all")]
    host_shutdown: bool,

    #[command(flatten)]
    time: Time,
}

/// Those that can be ended.
pub(crate) const RUNNING: Scope = Scope {
    takes: |vm| {
        matches!(
            vm.phase,
            Phase::Starting | Phase::Running | Phase::Stopping | Phase::Resuming
        )
    },
    or_none: "is running",
};

/// The timeout of a clean stop.
#[derive(Debug, Args)]
pub(crate) struct Time {
    /// Seconds to wait before ending each VM by force, 1 to 3600.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: Option<u64>,
}

impl Stop {
    /// Stops them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if self.several.which.is_all() {
            return self.run_for_all(session);
        }
        let request = StopVm {
            timeout_seconds: self.time.timeout,
        };
        self.several.each(
            session,
            RUNNING,
            |daemon, name, progress| daemon.stop(name, &request, progress),
            |stopped, _| describe(stopped),
        )
    }

    /// Sends one request: the daemon stops all VMs, even if this program is ended.
    fn run_for_all(&self, session: &Session) -> Outcome {
        if self.host_shutdown && !Systemd::new(&session.places).host_goes_down() {
            session
                .output
                .note("the host is not shutting down: VMs keep running");
            return Ok(ExitCode::SUCCESS);
        }
        let request = StopAllVms {
            timeout_seconds: self.time.timeout,
            parallel: self.several.parallel.count,
            host_shutdown: self.host_shutdown,
        };
        let daemon = session.daemon()?;
        interrupt::note_that_the_daemon_continues();
        let mut steps = VmSteps::new(session.output, std::iter::empty());
        let all = daemon.stop_all(&request, |Progress { step, seconds, .. }| match seconds {
            None => steps.begin(&step),
            Some(_) => steps.end(&step),
        });
        drop(steps);
        let all = all?.vms;
        let mut outcomes = Outcomes::new(session.output, |it, _| describe(it), all.len());
        if all.is_empty() && !session.output.json {
            session.output.text(&self.several.which.none(RUNNING))?;
        }
        for (number, outcome) in all.into_iter().enumerate() {
            let stopped = match (outcome.stopped, outcome.error) {
                (Some(stopped), _) => Ok(stopped),
                (None, Some(error)) => Err(error),
                (None, None) => continue,
            };
            outcomes.add(number, outcome.name.as_str(), stopped);
        }
        outcomes.end()
    }
}

fn describe(stopped: &StopReport) -> Description {
    Description {
        text: text(stopped),
        warning: loss(stopped),
        notes: Vec::new(),
        ..description::plainly(&stopped.vm)
    }
}

fn text(stopped: &StopReport) -> String {
    let name = &stopped.vm.name;
    match stopped.by.as_str() {
        "gone" => format!("{name} is stopped already"),
        _ => format!("{name} is stopped"),
    }
}

/// The warning if the guest did not confirm that everything is written.
fn loss(stopped: &StopReport) -> Option<String> {
    (!stopped.synced && stopped.by != "gone").then(|| {
        format!(
            "{} did not shut down cleanly (ended by: {}); recent writes may be lost",
            stopped.vm.name, stopped.by
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::calm_otter;
    use super::*;

    #[test]
    fn a_stop_without_a_sync_warns() {
        let stopped = |synced, by: &str| StopReport {
            vm: calm_otter(),
            synced,
            by: by.into(),
        };
        assert_eq!(loss(&stopped(true, "agent")), None);
        assert_eq!(loss(&stopped(false, "gone")), None);
        let loss = loss(&stopped(false, "kill")).unwrap();
        assert!(
            loss.contains("calm-otter") && loss.contains("kill"),
            "{loss}"
        );
    }
}
