//! Whether files in a directory can share blocks, tested with a real FICLONE.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::{bad, existing, good, in_one_line};
use crate::linux::disk;
use crate::linux::replacement::Replacement;
use crate::{Finding, Kind, Result};

pub(super) fn probe(directory: &Path) -> Finding {
    let place = existing(directory);
    let shown = directory.display();
    match attempt(place) {
        Ok(()) => good(format!(
            "files in `{shown}` share blocks ({})",
            file_system(place)
        )),
        Err(error) if error.kind() == Kind::Unsupported => bad(
            format!(
                "files in `{shown}` cannot share blocks ({})",
                file_system(place)
            ),
            "keep the state directory on XFS or btrfs, or set `root_disk = \"copy\"` in \
             ~/.config/banger/config.toml",
        ),
        Err(error) => bad(in_one_line(&error), format!("ls -ld {}", place.display())),
    }
}

/// Clones a temporary file to another.
fn attempt(place: &Path) -> Result<()> {
    let from = Replacement::begin(&place.join("banger-probe-from"))?;
    let mut file: File = from.create()?;
    let name = from.temporary(&place.join("banger-probe-from"));
    let write = file.write_all(&[1; 4096]).and_then(|()| file.sync_all());
    write.map_err(|cause| crate::Error::io(format!("write `{}`", name.display()), cause))?;
    disk::try_clone(&name, &place.join("banger-probe-to"))
}

/// The name of the file system, if it is a common one.
fn file_system(place: &Path) -> String {
    let Ok(found) = rustix::fs::statfs(place) else {
        return "of an unknown kind".to_owned();
    };
    // Magic numbers of linux/magic.h; those of fuse, ZFS and bcachefs are in their own sources.
    let name = match found.f_type {
        0xEF53 => "ext4",
        0x5846_5342 => "XFS",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794C_7630 => "overlay",
        0x6969 => "NFS",
        0x2FC1_2FC1 => "ZFS",
        0xF2F5_2010 => "F2FS",
        0xCA45_1A4E => "bcachefs",
        0x6573_5546 => "FUSE",
        other => return format!("file system type {other:#x}"),
    };
    name.to_owned()
}
