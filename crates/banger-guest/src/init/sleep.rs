//! Suspend and hibernation, which a guest may not use: nothing outside would wake it, and the host
//! suspends a VM itself.

use std::path::Path;

use rustix::mount::{MountFlags, mount_bind, mount_remount};

use crate::failure::{Context as _, Result};

/// A write to this file suspends the machine, whichever process writes.
const STATE: &str = "/sys/power/state";

/// Makes the kernel's control file read-only. The image configures systemd accordingly.
pub(crate) fn forbid() -> Result<()> {
    if !Path::new(STATE).exists() {
        return Ok(());
    }
    let what = || format!("make `{STATE}` read-only");
    mount_bind(STATE, STATE).while_doing(what)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(STATE, flags | MountFlags::NOEXEC, c"").while_doing(what)
}
