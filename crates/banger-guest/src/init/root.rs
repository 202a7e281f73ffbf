//! The root disk: found, checked if it has errors, mounted, grown, and made the root.

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

/// The mount point of the root disk until it is the root.
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

/// Mounts an ext4 file system read-write. If it has errors, `mend` repairs it first, once.
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
            // The replayed journal may have set the error flag.
            Ok(()) if !Superblock::read(device)?.has_errors => return Ok(()),
            Ok(()) => unmount(at, UnmountFlags::empty()).while_doing(what)?,
            Err(Errno::NODEV) => return Err(Failure::new("this kernel has no ext4")),
            Err(_) => {}
        }
    }
    mend().while_doing(|| format!("repair the file system of `{device}`"))?;
    try_mount().while_doing(what)
}

/// Replays the journal of a file system that was not unmounted.
///
/// A normal mount would replay it, too, but then continue with the old number of groups: Linux 6.12
/// reads the superblock, replays the journal over it, and does not read it again. If the power was
/// cut while the file system grew, the next growth would hit a `BUG` in `ext4_flex_group_add`, and
/// the guest would panic. So it is mounted once for the journal alone.
fn replay(device: &str, at: &str) -> rustix::io::Result<()> {
    mount_device(device, at, "ext4", MountFlags::RDONLY, None)?;
    unmount(at, UnmountFlags::empty())
}

/// Mounts the root disk. The inner result is that of growing it, which is not essential.
pub(crate) fn mount(device: &str) -> Result<Result<()>> {
    mount_sound(device, NEW_ROOT, || check::check_root(device))?;
    Ok(grow::grow(device, NEW_ROOT))
}

/// Makes the root disk the root, and frees the initramfs's memory.
pub(crate) fn switch() -> Result<()> {
    for at in mounts::KERNEL {
        let there = format!("{NEW_ROOT}{at}");
        let what = || format!("move `{at}`");
        make_directory(Path::new(&there), 0o755).while_doing(what)?;
        mount_move(at, there.as_str()).while_doing(what)?;
    }
    for path in ["/modules", "/banger", "/lib"] {
        // At worst, some memory is not freed.
        let _ = fs::remove_dir_all(path);
    }
    let _ = fs::remove_file("/init");
    let what = || "change the root".to_owned();
    rustix::process::chdir(NEW_ROOT).while_doing(what)?;
    mount_move(".", "/").while_doing(what)?;
    rustix::process::chroot(".").while_doing(what)?;
    rustix::process::chdir("/").while_doing(what)
}
