//! The running system inside a VM: what it is given, and how it is spoken to.

pub mod channel;
pub mod config;
pub mod initramfs;
pub mod program;
pub mod render;

use std::fmt;
use std::time::{Duration, Instant};

use banger_guest::config::{NewName, Resolvers};

use crate::error::Result;

/// What a guest said when it became ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    /// What it could not do on the way, such as growing a disk.
    pub warnings: Vec<String>,
}

/// A guest that can be asked for things. Two kinds exist: one behind a real channel, and the
/// simulated one.
pub trait Guest: fmt::Debug + Send {
    /// Waits until the image's init has started and sshd listens. `alive` tells whether there is
    /// still something to wait for.
    ///
    /// # Errors
    /// When the deadline passes or the machine ends.
    fn wait_ready(&mut self, deadline: Instant, alive: &dyn Fn() -> bool) -> Result<Ready>;

    /// Writes everything to the disks.
    ///
    /// # Errors
    /// When the guest has not said so within `timeout`.
    fn sync(&mut self, timeout: Duration) -> Result<()>;

    /// Asks the guest's init to power off.
    ///
    /// # Errors
    /// When the guest does not say that it will.
    fn power_off(&mut self, timeout: Duration) -> Result<()>;

    /// Sets the guest's clock, if it is off, to this time since 1970-01-01 UTC.
    ///
    /// # Errors
    /// When the guest does not say that it did.
    fn set_clock(&mut self, unix: Duration) -> Result<()>;

    /// Replaces the guest's resolvers and search domains.
    ///
    /// # Errors
    /// When the guest does not say that it did.
    fn set_resolvers(&mut self, resolvers: &Resolvers) -> Result<()>;

    /// Gives the guest another host name.
    ///
    /// # Errors
    /// When the guest does not say that it has it, or was started by a banger that could not ask.
    fn rename(&mut self, name: &NewName) -> Result<()>;
}
