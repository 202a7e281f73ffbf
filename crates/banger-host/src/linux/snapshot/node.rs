//! The nodes of snapshots: `/dev/banger/<name>`, each for one user alone.

use std::path::{Path, PathBuf};

use crate::linux::files::make_directory;
use crate::linux::node;
use crate::{Owner, Result};

/// Their folder. `/dev` is new at each boot of the host, and so are they.
const FOLDER: &str = "/dev/banger";

/// The node of a snapshot.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Makes the node lead to this device, for this owner alone; says whether it did not before.
pub(super) fn put(name: &str, device: u64, owner: Owner) -> Result<bool> {
    make_directory(Path::new(FOLDER), 0o711, None)?;
    node::put(&path(name), device, owner)
}

/// Removes the node; says whether it was there.
pub(super) fn remove(name: &str) -> Result<bool> {
    node::remove(&path(name))
}
