//! systemd, through `systemctl`: whether the host is shutting down, and the user's unit of the
//! daemon.
//!
//! On a host without systemd nothing is run, and every answer is that of such a host.

use std::ffi::OsString;
use std::path::PathBuf;

use banger_api::location::{Location, LocationOptions};
use banger_api::{Code, Error, Result};

use crate::paths::Paths;
use crate::programs::{self, Interaction, ProgramOutput};

/// The daemon's unit.
pub(crate) const UNIT: &str = "bangerd.service";

/// systemd, as the user reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Systemd {
    systemctl: Option<PathBuf>,
    /// The runtime directory of the user's manager: the environment may be that of `su` or of a
    /// unit.
    runtime: PathBuf,
    /// The user's home.
    home: Option<PathBuf>,
}

impl Systemd {
    /// The systemd of this host and user.
    pub(crate) fn new(places: &Paths) -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self {
            systemctl: programs::find(places.search.as_deref(), "systemctl"),
            runtime: places
                .runtime
                .clone()
                .unwrap_or_else(|| format!("/run/user/{uid}").into()),
            home: places.home.clone(),
        }
    }

    /// Whether it is the system's manager.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self.state().as_str(), "" | "offline" | "unknown")
    }

    /// Whether the host is shutting down: halt, power off, reboot, kexec.
    pub(crate) fn host_goes_down(&self) -> bool {
        self.state() == "stopping"
    }

    /// The system's state in one word (systemctl(1), `is-system-running`); empty without systemd.
    fn state(&self) -> String {
        self.system(&["is-system-running"])
            .map_or_else(|_| String::new(), |ended| ended.stdout)
    }

    /// The path of the user's unit of the daemon.
    pub(crate) fn unit_path(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(".config/systemd/user").join(UNIT))
    }

    /// Whether the user's unit starts the daemon for these paths: the unit is installed, all paths
    /// are those of the unit's own environment, and no variable here selects another configuration.
    pub(crate) fn unit_serves(&self, places: &Paths) -> bool {
        !places.sim
            && places.overrides.is_empty()
            && self.unit_path().is_some_and(|it| it.is_file())
            && self.has_usual_places(places)
            && self.is_there()
    }

    /// Whether all paths are those of the unit's own environment.
    pub(crate) fn has_usual_places(&self, places: &Paths) -> bool {
        let lookup = |name: &str| match name {
            "HOME" => self.home.clone(),
            "XDG_RUNTIME_DIR" => Some(self.runtime.clone()),
            _ => None,
        };
        let own = Location::find(&LocationOptions::default(), lookup);
        own.is_ok_and(|own| own == places.location)
    }

    /// Sends a request to the system's manager.
    ///
    /// # Errors
    /// If systemd does not run.
    pub(crate) fn system(&self, arguments: &[&str]) -> Result<ProgramOutput> {
        self.ask(arguments)
    }

    /// Sends a request to the user's manager.
    ///
    /// # Errors
    /// If systemd does not run.
    pub(crate) fn user(&self, arguments: &[&str]) -> Result<ProgramOutput> {
        self.ask(&[&["--user"], arguments].concat())
    }

    /// Sends a request to the user's manager that must succeed.
    ///
    /// # Errors
    /// The manager's own message if it does not.
    pub(crate) fn user_does(&self, arguments: &[&str]) -> Result<()> {
        let ended = self.user(arguments)?;
        if ended.done {
            return Ok(());
        }
        let what = format!("systemctl --user {}", arguments.join(" "));
        Err(Error::new(Code::Host, format!("`{what}`"))
            .cause(ended.stderr)
            .hint(format!("see its log: journalctl --user -u {UNIT}")))
    }

    fn ask(&self, arguments: &[&str]) -> Result<ProgramOutput> {
        let Some(systemctl) = &self.systemctl else {
            return Err(Error::new(Code::NotReady, "systemd does not run here"));
        };
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let environment = [("XDG_RUNTIME_DIR", self.runtime.clone())];
        programs::run(systemctl, &arguments, &environment, Interaction::Silent)
    }
}
