//! A login in the guest's first seconds gets a full session, without waiting for the rest of the
//! boot.
//!
//! sshd listens long before the rest of the image's init is up. A login then waits for logind and
//! for a user manager. These must neither wait for units that a login does not need, such as a
//! missing disk in `/etc/fstab`, nor share the processor equally with units that nobody waits for.
//! If each process costs tens of milliseconds, as without KVM, the shares alone save 8 % of the
//! processor time until ready and 14 % of that until the first login ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::failure::{Context as _, Result};
use crate::system::replace::{self, Rights, make_directory};

const UNITS: &str = "/run/systemd/system";

/// Without this folder `pam_systemd` takes the system for one without logind, and a login gets no
/// session. With it, it asks over the bus, which starts logind and waits for it.
const SEATS: &str = "/run/systemd/seats";

/// Removes the ordering after `sysinit.target`.
const EARLY: &str = "\
[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
";

/// Starts logind once sshd listens, because until then sshd needs the processor. logind's private
/// `/tmp` may not be a folder of the system's, because that waits for every disk of `/etc/fstab`.
const LOGIND: &str = "After=ssh.service\n[Service]\nPrivateTmp=disconnected\n";

/// Precedence over other units until the boot is done.
const FIRST: &str = "StartupCPUWeight=1000\n";

/// Low precedence until the boot is done.
const LAST: &str = "[Service]\nStartupCPUWeight=20\n";

/// The units, with the texts of their drop-ins. sshd is first in the image already.
const DROP_INS: [(&str, &[&str]); 16] = [
    ("init.scope", &["[Scope]\n", FIRST]),
    ("user.slice", &["[Slice]\n", FIRST]),
    ("dbus.service", &[EARLY]),
    ("systemd-logind.service", &[EARLY, LOGIND, FIRST]),
    ("user-runtime-dir@.service", &[EARLY, "[Service]\n", FIRST]),
    ("user@.service", &[EARLY]),
    ("kmod-static-nodes.service", &[LAST]),
    ("systemd-journal-flush.service", &[LAST]),
    ("systemd-journald.service", &[LAST]),
    ("systemd-modules-load.service", &[LAST]),
    ("systemd-sysctl.service", &[LAST]),
    ("systemd-tmpfiles-setup-dev-early.service", &[LAST]),
    ("systemd-tmpfiles-setup-dev.service", &[LAST]),
    ("systemd-tmpfiles-setup.service", &[LAST]),
    ("systemd-udev-trigger.service", &[LAST]),
    ("systemd-udevd.service", &[LAST]),
];

/// Each session is ordered after this unit, which on Debian waits for network file systems. At boot
/// there is no `/run/nologin` to remove; a shutdown creates it, as on Debian.
const USER_SESSIONS: (&str, &str) = (
    "systemd-user-sessions.service",
    "\
[Unit]
Description=Permit User Sessions
Documentation=man:systemd-user-sessions.service(8)
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStop=/usr/lib/systemd/systemd-user-sessions stop
",
);

/// A unit that applies options of `/etc/fstab` to `/`; without any it would cost a process for
/// nothing.
const REMOUNT: &str = "systemd-remount-fs.service";

const FSTAB: &str = "/etc/fstab";

/// Writes the drop-ins for the image's systemd.
pub(crate) fn prepare() -> Result<()> {
    make_directory(Path::new(SEATS), 0o755).while_doing(|| format!("make `{SEATS}`"))?;
    for (unit, parts) in DROP_INS {
        let path = format!("{UNITS}/{unit}.d/10-banger-login.conf");
        replace::write(
            Path::new(&path),
            parts.concat().as_bytes(),
            Rights::root(0o644),
        )
        .while_doing(|| format!("write `{path}`"))?;
    }
    let (unit, text) = USER_SESSIONS;
    let path = format!("{UNITS}/{unit}");
    replace::write(Path::new(&path), text.as_bytes(), Rights::root(0o644))
        .while_doing(|| format!("write `{path}`"))?;
    if !has_entries(&fs::read_to_string(FSTAB).unwrap_or_default()) {
        let path = format!("{UNITS}/{REMOUNT}");
        symlink("/dev/null", &path).while_doing(|| format!("mask `{REMOUNT}`"))?;
    }
    Ok(())
}

fn has_entries(fstab: &str) -> bool {
    let mut lines = fstab.lines().map(str::trim);
    lines.any(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_an_fstab_are_no_entries() {
        assert!(!has_entries(
            "# <file system> <mount point>\n\n  # nothing\n"
        ));
        assert!(has_entries("# of mine\n/dev/vda / ext4 noatime 0 1\n"));
    }
}
