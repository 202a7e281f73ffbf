//! The kernel and its modules, taken from the tree of the root file system.

use std::fs;
use std::path::Path;

use super::error::{failure, failure_caused_by};
use super::{Result, vmlinux};

/// The folder of modules in a root file system.
const MODULES: &str = "usr/lib/modules";

/// Unpacks the kernel at `vmlinuz` to `vmlinux`.
pub(super) fn unpack(vmlinuz: &Path, vmlinux: &Path) -> Result<()> {
    let packed = fs::read(vmlinuz)
        .map_err(|cause| failure_caused_by(format!("read `{}`", vmlinuz.display()), cause))?;
    let kernel = vmlinux::unpack(&packed)?;
    fs::write(vmlinux, kernel)
        .map_err(|cause| failure_caused_by(format!("write `{}`", vmlinux.display()), cause))
}

/// The version of the one kernel that has modules in this tree.
pub(super) fn version(tree: &Path) -> Result<String> {
    let folder = tree.join(MODULES);
    let map_io_error = |cause| failure_caused_by(format!("list `{}`", folder.display()), cause);
    let mut versions = Vec::new();
    for entry in fs::read_dir(&folder).map_err(map_io_error)? {
        versions.push(
            entry
                .map_err(map_io_error)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    match versions.as_slice() {
        [version] => Ok(version.clone()),
        [] => Err(failure("the root file system has no kernel modules")),
        several => Err(failure(format!(
            "the root file system has modules of several kernels: {}",
            several.join(", ")
        ))
        .hint("leave kernels out of --include; banger adds its own")),
    }
}

/// Copies the modules of this version from a tree to `to`.
pub(super) fn copy_modules(tree: &Path, version: &str, to: &Path) -> Result<()> {
    copy(&tree.join(MODULES).join(version), to)
}

/// Copies a folder, without symbolic links.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let map_io_error = |cause| failure_caused_by(format!("copy `{}`", from.display()), cause);
    fs::create_dir(to).map_err(map_io_error)?;
    for entry in fs::read_dir(from).map_err(map_io_error)? {
        let entry = entry.map_err(map_io_error)?;
        let kind = entry.file_type().map_err(map_io_error)?;
        let to = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &to).map_err(map_io_error)?;
        }
        // Symbolic links are skipped: `build` and `source` point to headers that are not included.
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_kernel_of_a_tree_is_found_and_its_modules_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        let modules = tree.join("usr/lib/modules/6.12.0/kernel/net");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("veth.ko.xz"), "veth").unwrap();
        fs::write(
            tree.join("usr/lib/modules/6.12.0/modules.dep"),
            "kernel/net/veth.ko.xz:",
        )
        .unwrap();
        std::os::unix::fs::symlink("/nowhere", tree.join("usr/lib/modules/6.12.0/build")).unwrap();
        assert_eq!(version(&tree).unwrap(), "6.12.0");
        let to = folder.path().join("modules");
        copy_modules(&tree, "6.12.0", &to).unwrap();
        assert_eq!(fs::read(to.join("kernel/net/veth.ko.xz")).unwrap(), b"veth");
        assert!(to.join("modules.dep").exists() && to.join("build").symlink_metadata().is_err());
    }

    #[test]
    fn no_kernel_and_two_kernels_are_rejected() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join(MODULES)).unwrap();
        assert!(
            version(tree.path())
                .unwrap_err()
                .to_string()
                .contains("no kernel modules")
        );
        for name in ["6.1", "6.12"] {
            fs::create_dir(tree.path().join(MODULES).join(name)).unwrap();
        }
        assert!(
            version(tree.path())
                .unwrap_err()
                .to_string()
                .contains("several kernels")
        );
    }

    #[test]
    fn a_file_that_is_not_a_kernel_is_rejected_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("vmlinuz");
        fs::write(&packed, "no kernel").unwrap();
        assert!(unpack(&packed, &folder.path().join("vmlinux")).is_err());
        assert!(!folder.path().join("vmlinux").exists());
    }
}
