//! `banger system uninstall`.

use std::process::ExitCode;

use banger_api::Result;
use clap::Args;
use serde::Serialize;

use super::account::Account;
use super::{UserArgument, helper, unit};
use crate::failure::Outcome;
use crate::session::Session;
use crate::systemd::{Systemd, UNIT};

/// Remove the service; VMs and their files stay.
///
/// Stop your VMs first: while one uses the root helper, nothing is removed. Running it again is harmless.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm stop --all && banger system uninstall
  sudo banger system uninstall --user ada")]
pub(crate) struct Uninstall {
    #[command(flatten)]
    whom: UserArgument,
}

/// The result.
#[derive(Debug, Serialize)]
struct UninstallReport {
    /// Whether the daemon's unit existed.
    unit_removed: bool,
    /// Whether the user had a claim.
    helper_removed: bool,
}

impl Uninstall {
    /// Runs it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let account = Account::find(self.whom.user.as_deref(), &session.places)?;
        let mut done = UninstallReport {
            unit_removed: false,
            helper_removed: false,
        };
        // Root's part comes first: it may refuse, and then nothing has been removed.
        if !self.whom.user_part {
            done.helper_removed = if account.is_root() {
                helper::shutdown_unit_file(account.uid).exists()
            } else {
                helper::has_claim(account.uid)
            };
            let words = [
                "uninstall".into(),
                "--uid".into(),
                account.uid.to_string().into(),
            ];
            helper::run(&words, &account, session)?;
        }
        if account.by_root {
            account.run_as_user(&["system", "uninstall", "--user-part", "--quiet"], session)?;
        } else {
            done.unit_removed = user_part(session)?;
        }
        session.output.result(&done, || text(&done))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn user_part(session: &Session) -> Result<bool> {
    let systemd = Systemd::new(&session.places);
    let Some(path) = systemd.unit_path().filter(|it| it.is_file()) else {
        return Ok(false);
    };
    if systemd.is_there() {
        systemd.user_does(&["disable", "--now", UNIT])?;
    }
    let removed = unit::remove(&path)?;
    if systemd.is_there() {
        systemd.user_does(&["daemon-reload"])?;
    }
    Ok(removed)
}

fn text(done: &UninstallReport) -> String {
    match (done.unit_removed, done.helper_removed) {
        (false, false) => "nothing was installed".to_owned(),
        _ => "the service is removed; VMs and their files stay".to_owned(),
    }
}
