//! Folders of root that all users may read.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::Mode;

use crate::root::confine::check_file;
use crate::{Error, Result};

/// Every user may read it and pass through; only root may write it.
const MODE: u32 = 0o755;

/// Makes a folder, and the missing ones above it, that every user may read and only root may write.
///
/// Root's programs run with a mask that removes read access, so each new folder gets its mode by
/// `fchmod`. An existing folder of root's gets it, too.
///
/// # Errors
/// `Denied` if another user could write it.
pub(crate) fn make(path: &Path) -> Result<()> {
    let failed = |cause| Error::io(format!("make the directory `{}`", path.display()), cause);
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    for folder in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed(cause));
            }
            _ => open_up(folder).map_err(failed)?,
        }
    }
    check_file(path)?;
    open_up(path).map_err(failed)
}

fn open_up(folder: &Path) -> std::io::Result<()> {
    let open = File::open(folder)?;
    Ok(rustix::fs::fchmod(&open, Mode::from_raw_mode(MODE))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::linux::testing::is_root;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_restrictive_umask_or_an_older_folder_locks_no_user_out() {
        if !is_root() {
            return;
        }
        // The check covers each folder above, so `/tmp` is unsuitable.
        let outer = tempfile::tempdir_in("/run").unwrap();
        let folder = outer.path().join("banger/instances");
        fs::create_dir(outer.path().join("banger")).unwrap();
        let narrow = fs::Permissions::from_mode(0o700);
        fs::set_permissions(outer.path().join("banger"), narrow).unwrap();
        make(&outer.path().join("banger")).unwrap();
        make(&folder.join("deep/er")).unwrap();
        for below in [
            "banger",
            "banger/instances",
            "banger/instances/deep",
            "banger/instances/deep/er",
        ] {
            assert_eq!(mode(&outer.path().join(below)), 0o755, "{below}");
        }
    }
}
