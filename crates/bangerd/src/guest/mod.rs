//! The guest: its config, and the channel to its agent.

pub(crate) mod channel;
pub(crate) mod config;
pub(crate) mod initramfs;
pub(crate) mod program;
pub(crate) mod render;
pub(crate) mod serial;
pub(crate) mod shell;

use std::fmt;
use std::time::{Duration, Instant};

use banger_guest::config::{NewName, Resolvers};

use crate::error::Result;

/// The report of a guest that is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// Steps that failed, such as growing a disk.
    pub warnings: Vec<String>,
}

/// A guest that takes requests: behind a real channel, or simulated.
pub trait Guest: fmt::Debug + Send {
    /// Waits until the image's init has started and sshd listens, as long as `alive` returns true.
    ///
    /// # Errors
    /// The deadline passes, or the machine ends.
    fn wait_ready(&mut self, deadline: Instant, alive: &dyn Fn() -> bool) -> Result<Ready>;

    /// Syncs the guest's disks.
    ///
    /// # Errors
    /// The guest does not confirm within `timeout`.
    fn sync(&mut self, timeout: Duration) -> Result<()>;

    /// Asks the guest's init to power off.
    ///
    /// # Errors
    /// The guest does not confirm.
    fn power_off(&mut self, timeout: Duration) -> Result<()>;

    /// Sets the guest's clock, if it is off, to this time since 1970-01-01 UTC.
    ///
    /// # Errors
    /// The guest does not confirm.
    fn set_clock(&mut self, unix: Duration) -> Result<()>;

    /// Replaces the guest's resolvers and search domains.
    ///
    /// # Errors
    /// The guest does not confirm.
    fn set_resolvers(&mut self, resolvers: &Resolvers) -> Result<()>;

    /// Changes the guest's host name.
    ///
    /// # Errors
    /// The guest does not confirm, or an older banger without this request has started it.
    fn rename(&mut self, name: &NewName) -> Result<()>;
}
