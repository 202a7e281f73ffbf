//! The nodes of snapshots: `/dev/banger/<name>`, each for one user.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::linux::files::make_directory;
use crate::linux::{children, node, units};
use crate::{Instance, Owner, Result};

/// The folder of the nodes. `/dev` is empty after each boot of the host.
const FOLDER: &str = "/dev/banger";

/// The node of a snapshot.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Makes the node of this device, for this owner alone; returns whether anything changed.
pub(super) fn put(name: &str, device: u64, owner: Owner) -> Result<bool> {
    make_directory(Path::new(FOLDER), 0o711, None)?;
    node::put(&path(name), device, owner)
}

/// Rejects, after some retries, while a process runs as the owner of the node, if that is a user of
/// one machine only.
pub(super) fn need_no_user(name: &str) -> Result<()> {
    let Ok(node) = std::fs::symlink_metadata(path(name)) else {
        return Ok(());
    };
    let owner = node.uid();
    if !Instance::has_user(owner) {
        return Ok(());
    }
    units::need_nobody(&format!("its user {owner}"), |pid| {
        children::users(pid).is_some_and(|users| users.contains(&owner))
    })
}

/// Removes the node; returns whether it existed.
pub(super) fn remove(name: &str) -> Result<bool> {
    node::remove(&path(name))
}
