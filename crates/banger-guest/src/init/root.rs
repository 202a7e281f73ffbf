//! The root disk: found, checked where it has errors, mounted, grown, and made the root.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount as mount_device, mount_move, unmount};

use super::superblock::Superblock;
use super::{check, grow, mounts};
use crate::failure::{Context as _, Failure, Result};
use crate::system::replace::make_directory;
use crate::system::wait;

/// Where the root disk is mounted until it is the root.
pub(crate) const NEW_ROOT: &str = "/newroot";

/// How long a device may take to appear; a slow emulated machine takes tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a disk's device.
pub(crate) fn wait_for(device: &str) -> Result<()> {
    wait::until(PATIENCE, || {
        fs::exists(device).ok().filter(|&exists| exists)
    })
    .ok_or_else(|| Failure::new(format!("there is no disk `{device}`")))
    .map(|_| ())
}

/// Mounts an ext4 file system read-write; what has errors is first given to `mend`, once.
pub(crate) fn mount_sound(device: &str, at: &str, mend: impl FnOnce() -> Result<()>) -> Result<()> {
    let what = || format!("mount `{device}`");
    make_directory(Path::new(at), 0o755).while_doing(what)?;
    let try_mount = || mount_device(device, at, "ext4", MountFlags::empty(), None);
    let found = Superblock::read(device)?;
    if !found.has_errors {
        let replayed = if found.needs_recovery {
            replay(device, at)
        } else {
            Ok(())
        };
        match replayed.and_then(|()| try_mount()) {
            // The journal may have brought the news of errors with it.
            Ok(()) if !Superblock::read(device)?.has_errors => return Ok(()),
            Ok(()) => unmount(at, UnmountFlags::empty()).while_doing(what)?,
            Err(Errno::NODEV) => return Err(Failure::new("this kernel has no ext4")),
            Err(_) => {}
        }
    }
    mend().while_doing(|| format!("repair the file system of `{device}`"))?;
    try_mount().while_doing(what)
}

/// Brings the journal of a file system home that was not unmounted.
///
/// A mount would do that, too, and goes on with how many groups there were before: Linux 6.12
/// reads the superblock, replays the journal over it, and does not look again. Where the power was
/// cut while the file system grew, the next growth is a `BUG` in `ext4_flex_group_add` then, and
/// the start a panic. So it is mounted once for the journal alone.
fn replay(device: &str, at: &str) -> rustix::io::Result<()> {
    mount_device(device, at, "ext4", MountFlags::RDONLY, None)?;
    unmount(at, UnmountFlags::empty())
}

/// Mounts the root disk; the answer says whether it could be grown, which is not vital.
pub(crate) fn mount(device: &str) -> Result<Result<()>> {
    mount_sound(device, NEW_ROOT, || check::check_root(device))?;
    Ok(grow::grow(device, NEW_ROOT))
}

/// Makes the root disk the root, and gives the initramfs's memory back.
pub(crate) fn switch() -> Result<()> {
    for at in mounts::KERNEL {
        let there = format!("{NEW_ROOT}{at}");
        let what = || format!("move `{at}`");
        make_directory(Path::new(&there), 0o755).while_doing(what)?;
        mount_move(at, there.as_str()).while_doing(what)?;
    }
    for path in ["/modules", "/banger", "/lib"] {
        // It is memory that is not given back, at worst.
        let _ = fs::remove_dir_all(path);
    }
    let _ = fs::remove_file("/init");
    let what = || "change the root".to_owned();
    rustix::process::chdir(NEW_ROOT).while_doing(what)?;
    mount_move(".", "/").while_doing(what)?;
    rustix::process::chroot(".").while_doing(what)?;
    rustix::process::chdir("/").while_doing(what)
}
