//! `banger vm stop`.

use std::io;
use std::process::ExitCode;

use banger_api::{StopAllVms, StopVm, Stopped, VmRef};
use clap::{ArgGroup, Args};
use clap_complete::ArgValueCandidates;

use super::VmArguments;
use crate::completion;
use crate::failure::Outcome;
use crate::output::Output;
use crate::session::Session;
use crate::systemd::Systemd;

/// Stop VMs cleanly; their files stay.
///
/// The guest writes everything to its disks and shuts down. A guest that does not finish in time is ended by force, with a warning.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm stop calm-otter
  banger vm stop web db --timeout 120
  banger vm stop --all",
    group(ArgGroup::new("which").required(true).args(["names", "all"])))]
pub(crate) struct Stop {
    /// The VMs: names, ids, or the first digits of ids.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::vms))]
    names: Vec<VmRef>,

    /// Stop all running VMs in parallel. The timeout is then for all of them together [default: shutdown_timeout_seconds of the configuration].
    #[arg(long)]
    all: bool,

    /// Stop only if the host is shutting down, and record that reason: for the unit that stops VMs with their host.
    #[arg(long, hide = true, requires = "all")]
    host_shutdown: bool,

    #[command(flatten)]
    time: Time,
}

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
        if self.all {
            return self.run_for_all(session);
        }
        let request = StopVm {
            timeout_seconds: self.time.timeout,
        };
        let several = VmArguments {
            names: self.names.clone(),
        };
        several.each(session, |name| {
            let stopped = session.work(|daemon, heard| daemon.stop(name, &request, heard))?;
            Ok(tell(&stopped, session.output)?)
        })
    }

    fn run_for_all(&self, session: &Session) -> Outcome {
        if self.host_shutdown && !Systemd::new(&session.places).host_goes_down() {
            session
                .output
                .note("the host is not shutting down: VMs keep running");
            return Ok(ExitCode::SUCCESS);
        }
        let request = StopAllVms {
            timeout_seconds: self.time.timeout,
            host_shutdown: self.host_shutdown,
        };
        let all = session.work(|daemon, heard| daemon.stop_all(&request, heard))?;
        if all.vms.is_empty() && !session.output.json {
            session.output.text("no VM is running")?;
        }
        let mut status = ExitCode::SUCCESS;
        for outcome in &all.vms {
            if let Some(stopped) = &outcome.stopped {
                tell(stopped, session.output)?;
            }
            if let Some(error) = &outcome.error {
                status = ExitCode::FAILURE;
                session.output.error(error);
            }
        }
        Ok(status)
    }
}

/// Tells how one VM's stop went: the same whether it was one of several, of all, or alone.
fn tell(stopped: &Stopped, output: Output) -> io::Result<()> {
    output.result(stopped, || text(stopped))?;
    if let Some(loss) = loss(stopped) {
        output.warning(&loss);
    }
    Ok(())
}

fn text(stopped: &Stopped) -> String {
    let name = &stopped.vm.name;
    match stopped.by.as_str() {
        "gone" => format!("{name} is stopped already"),
        _ => format!("{name} is stopped"),
    }
}

/// The warning if the guest did not confirm that everything is written.
fn loss(stopped: &Stopped) -> Option<String> {
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
    fn a_stop_without_a_sync_is_told() {
        let stopped = |synced, by: &str| Stopped {
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
