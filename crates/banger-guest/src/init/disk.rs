//! A further disk: checked, seeded on first use, grown, and mounted.

use std::fs;
use std::path::Path;

use banger_guest::config::Disk;
use rustix::mount::mount_move;

use super::{check, grow, root, seed};
use crate::failure::{Context as _, Result};
use crate::system::replace::make_directory;

/// The mount point of a disk until it is ready.
const PRIVATE: &str = "/run/banger/disk";

/// Mounts a disk. An unusable disk ends the start, because the guest would write its work elsewhere
/// and seem to have lost it. The inner result is that of growing it.
pub(crate) fn mount(disk: &Disk) -> Result<Result<()>> {
    let what = || format!("the disk for `{}`", disk.mount);
    mount_and_seed(disk).while_doing(what)
}

fn mount_and_seed(disk: &Disk) -> Result<Result<()>> {
    let device = &disk.device;
    root::wait_for(device)?;
    root::mount_sound(device, PRIVATE, || check::check_disk(device))?;
    let grown = if disk.grow {
        grow::grow(device, PRIVATE)
    } else {
        Ok(())
    };
    let at = Path::new(&disk.mount);
    if !at.is_dir() {
        make_directory(at, 0o755).while_doing(|| format!("make `{}`", disk.mount))?;
    }
    if disk.seed {
        seed::seed(at, Path::new(PRIVATE))?;
    }
    mount_move(PRIVATE, disk.mount.as_str()).while_doing(|| "mount it in its place".to_owned())?;
    let _ = fs::remove_dir(PRIVATE);
    Ok(grown)
}
