//! Drops the privileges that the root program does not need, before it listens, and checks its own
//! file.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::linux::sys;
use crate::{Error, Kind, Result};

/// The capabilities that are kept.
///
/// | right | for |
/// |---|---|
/// | NET_ADMIN | TAPs, addresses, routes, `net.ipv4.conf`, nft |
/// | NET_RAW | the legacy iptables |
/// | SYS_ADMIN | loop devices and device-mapper |
/// | MKNOD, CHOWN, FOWNER | the node of a snapshot, which belongs to its user |
/// | KILL | processes in a jail, which run as users of their own |
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL);

/// Rejects a program file that is not root's own: another user who could write the file, or a
/// folder above it, would decide what root runs.
pub(super) fn check_own_file() -> Result<()> {
    let link = Path::new("/proc/self/exe");
    let what = "examine the program's own file";
    let path = fs::read_link(link).map_err(|cause| Error::io(what, cause))?;
    check_file(&path).map_err(|error| error.within(what))?;
    let (own, named) = (fs::metadata(link), fs::metadata(&path));
    let (Ok(own), Ok(named)) = (own, named) else {
        return Err(Error::new(Kind::Denied, "it no longer exists").within(what));
    };
    if (own.dev(), own.ino()) == (named.dev(), named.ino()) {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, "its name now belongs to another file").within(what))
}

/// Rejects a file unless only root may write it and every folder above it. The path is absolute and
/// has no symbolic links.
pub(crate) fn check_file(path: &Path) -> Result<()> {
    for part in path.ancestors() {
        let meta = fs::symlink_metadata(part)
            .map_err(|cause| Error::io(format!("examine `{}`", part.display()), cause))?;
        let refused = |what: &str| {
            let text = format!("`{}` {what}", part.display());
            Err(Error::new(Kind::Denied, text).hint(format!("ls -ld {}", part.display())))
        };
        if meta.uid() != 0 {
            return refused(&format!("belongs to user {}, and not to root", meta.uid()));
        }
        if meta.file_type().is_symlink() {
            return refused("is a symbolic link");
        }
        // An access control list (acl(5)) shows as permissions of the group.
        let by_group = meta.mode() & 0o020 != 0 && meta.gid() != 0;
        if by_group || meta.mode() & 0o002 != 0 {
            return refused("is writable by others than root");
        }
    }
    Ok(())
}

/// Clears the environment, sets the file mode mask, and drops every capability except [`KEPT`], for
/// this thread and all that it starts. Call it before any other thread exists.
pub(super) fn give_up() -> Result<()> {
    sys::clear_environment();
    rustix::process::umask(Mode::from_raw_mode(0o077));
    std::env::set_current_dir("/").map_err(|cause| Error::io("go to `/`", cause))?;
    let describe = |cause: rustix::io::Errno| Error::io("give up rights", cause.into());
    rustix::thread::set_no_new_privs(true).map_err(describe)?;
    drop_bounds(KEPT).map_err(describe)?;
    let own = rustix::thread::capabilities(None).map_err(describe)?;
    let kept = own.permitted & KEPT;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        // Programs that we start get the same capabilities, because root runs them within these
        // bounds.
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(describe)
}

/// Removes all other capabilities from the bounding set, so that no program that we start has them.
fn drop_bounds(kept: CapabilitySet) -> rustix::io::Result<()> {
    // A newer kernel may know more capabilities than this list; it returns EINVAL at the first
    // number that it does not know.
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(one) {
            continue;
        }
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) => rustix::thread::remove_capability_from_bounding_set(one)?,
            Ok(false) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    rustix::thread::clear_ambient_capability_set()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::testing::is_root;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_a_file_that_is_roots_all_the_way_up_is_taken() {
        if !is_root() {
            return;
        }
        // `/tmp` is unsuitable, because every user may write there.
        let folder = tempfile::Builder::new()
            .prefix("banger-test-")
            .tempdir_in("/run")
            .unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("program");
        fs::write(&file, "").unwrap();
        check_file(&file).unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in [&file, &inner] {
            mode(path, 0o757);
            assert!(check_file(&file).is_err());
            mode(path, 0o755);
            std::os::unix::fs::chown(path, Some(65534), None).unwrap();
            let error = check_file(&file).unwrap_err();
            assert!(error.to_string().contains("user 65534"), "{error}");
            std::os::unix::fs::chown(path, Some(0), Some(65534)).unwrap();
            check_file(&file).unwrap();
            mode(path, 0o775);
            assert!(check_file(&file).is_err());
            mode(path, 0o755);
        }
        let link = inner.join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(check_file(&link).is_err());
        let below = tempfile::tempdir().unwrap();
        let error = check_file(&below.path().join("program")).unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
        fs::write(below.path().join("program"), "").unwrap();
        assert!(check_file(&below.path().join("program")).is_err());
    }
}
