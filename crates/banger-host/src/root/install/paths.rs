//! The paths of an installation.

use std::path::{Path, PathBuf};

use crate::claim::FOLDER;
use crate::command::Command;
use crate::root::{PROGRAMS, RUN};
use crate::{Claim, Result};

/// The folders of a host, and the way to run systemd's commands.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The programs that root runs.
    pub(crate) programs: PathBuf,
    /// The claims, one file for each user.
    pub(crate) claims: PathBuf,
    /// The sockets, which do not survive a reboot.
    pub(crate) run: PathBuf,
    /// The administrator's units.
    pub(crate) units: PathBuf,
    /// The administrator's udev rules.
    pub(crate) rules: PathBuf,
    /// Runs a command of systemd; `None` if systemd does not run.
    pub(crate) systemd: Option<fn(&Command) -> Result<()>>,
}

impl Paths {
    pub(crate) fn of_this_host() -> Self {
        // sd_booted(3) checks this path.
        let booted = Path::new("/run/systemd/system").is_dir();
        Self {
            programs: PROGRAMS.into(),
            claims: FOLDER.into(),
            run: RUN.into(),
            units: "/etc/systemd/system".into(),
            rules: "/etc/udev/rules.d".into(),
            systemd: booted.then_some(|command: &Command| command.run().map(drop)),
        }
    }

    pub(crate) fn claim(&self, uid: u32) -> PathBuf {
        let path = Claim::path(uid);
        self.claims.join(path.file_name().unwrap_or_default())
    }
}
