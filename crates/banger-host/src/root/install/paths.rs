//! The paths of an installation.

use std::path::{Path, PathBuf};

use crate::claim::FOLDER;
use crate::command::Command;
use crate::root::{PROGRAMS, RUN};
use crate::{Claim, Result};

/// The folders of a host, and how its systemd is called.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The programs that root runs.
    pub(crate) programs: PathBuf,
    /// One file a user.
    pub(crate) claims: PathBuf,
    /// Sockets, until the next boot.
    pub(crate) run: PathBuf,
    /// Units of the administrator.
    pub(crate) units: PathBuf,
    /// Rules of the administrator for devices.
    pub(crate) rules: PathBuf,
    /// How systemd is called, where it runs.
    pub(crate) systemd: Option<fn(&Command) -> Result<()>>,
}

impl Paths {
    pub(crate) fn of_this_host() -> Self {
        // What sd_booted(3) looks at.
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
