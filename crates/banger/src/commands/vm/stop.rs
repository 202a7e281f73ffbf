//! `banger vm stop`.

use banger_api::{StopVm, Stopped};
use clap::Args;

use super::{Several, path};
use crate::failure::Outcome;
use crate::session::Session;

/// Stop VMs cleanly; their files stay.
///
/// The guest writes everything to its disks and shuts down. One that does not within its time is ended without its help, and you are told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm stop calm-otter
  banger vm stop web db --timeout 120")]
pub(crate) struct Stop {
    #[command(flatten)]
    several: Several,

    #[command(flatten)]
    time: Time,
}

/// How long a guest has for its end.
#[derive(Debug, Args)]
pub(crate) struct Time {
    /// How long each guest has for it, in seconds, 1 to 3600.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: Option<u64>,
}

impl Stop {
    /// Stops them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = StopVm {
            timeout_seconds: self.time.timeout,
        };
        self.several.each(session, |name| {
            let stopped: Stopped =
                session.work("POST", &format!("{}/stop", path(name)), &request)?;
            session.output.result(&stopped, || text(&stopped))?;
            if let Some(loss) = loss(&stopped) {
                session.output.warning(&loss);
            }
            Ok(())
        })
    }
}

fn text(stopped: &Stopped) -> String {
    let name = &stopped.vm.name;
    match stopped.by.as_str() {
        "gone" => format!("{name} did not run"),
        _ => format!("{name} is stopped"),
    }
}

/// What may be lost, where the guest did not come to write everything.
fn loss(stopped: &Stopped) -> Option<String> {
    (!stopped.synced && stopped.by != "gone").then(|| {
        format!(
            "{} did not say that it had written everything to its disks before it ended (by: {}); \
             what it wrote last may be lost",
            stopped.vm.name, stopped.by
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::told::tests::calm_otter;
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
