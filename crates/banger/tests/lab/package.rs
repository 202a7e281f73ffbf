//! The Debian package: installed, upgraded under a running VM, removed, purged.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::User;
use crate::shared::{PATIENT, SMALL, root_lab};
use crate::{leftovers, needs_full_lab};

/// Hides the lab's own programs, so that only those of the package are found.
const HIDE: &str = "mkdir -p /usr/local/hidden; \
    mv /usr/local/bin/{banger,bangerd,banger-root,banger-guest} /usr/local/hidden/";
const SHOW: &str = "mv /usr/local/hidden/* /usr/local/bin/; rmdir /usr/local/hidden";

pub(crate) fn a_package_is_installed_upgraded_under_a_vm_and_removed() {
    needs_full_lab!();
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (package(folder.path(), "1"), package(folder.path(), "2"));
    let shared = root_lab(PATIENT);
    let lab = &*shared;
    lab.put(&[&old, &new]);
    let (old, new) = (name(&old), name(&new));
    let before = leftovers::list(lab);
    lab.root(HIDE);

    lab.root(&format!("dpkg -i /usr/local/bin/{old}"));
    let version = lab.root("banger version");
    assert!(version.contains("/usr/bin/banger"), "{version}");
    assert!(version.contains("Debian package"), "{version}");
    lab.root(&format!("banger vm create --name packed {SMALL}"));
    let daemon = lab.json(User::Root, "daemon status");
    let run = lab.json(User::Root, "vm show packed");
    lab.root("banger vm ssh packed -- sh -c 'echo kept > /run/kept'");

    // The VM and its daemon run through the upgrade; the next daemon is the new program.
    lab.root(&format!("dpkg -i /usr/local/bin/{new}"));
    let same = lab.json(User::Root, "daemon status");
    assert_eq!(same["pid"], daemon["pid"], "{same}");
    assert_eq!(lab.root("banger vm ssh packed -- cat /run/kept"), "kept");
    lab.root("banger daemon stop");
    assert_eq!(lab.root("banger vm ssh packed -- cat /run/kept"), "kept");
    let adopted = lab.json(User::Root, "vm show packed");
    assert_eq!(adopted["started"], run["started"], "{adopted}");

    // Removal keeps both running, and prints that.
    let removed = lab.run(User::Root, "dpkg -r banger");
    lab.expect("remove", &removed);
    let said = format!("{}{}", removed.stdout, removed.stderr);
    assert!(said.contains("VMs that run go on"), "{said}");
    assert!(lab.run(User::Root, "command -v banger").status != 0);
    lab.root("pgrep -x bangerd && pgrep qemu-system && test ! -e /usr/share/man/man1/banger.1.gz");

    // A new installation finds them unchanged, and purging removes nothing of a user's.
    lab.root(&format!("dpkg -i /usr/local/bin/{new}"));
    assert_eq!(lab.root("banger vm ssh packed -- cat /run/kept"), "kept");
    lab.root("banger vm stop packed && banger daemon stop && dpkg -P banger");
    lab.root("ls ~/.local/state/banger/vms/*/vm.json");
    lab.root(&format!("{SHOW}; rm /usr/local/bin/*.deb"));
    assert_eq!(lab.json(User::Root, "vm show packed")["phase"], "stopped");
    lab.root("banger vm delete packed");
    leftovers::assert_none(lab, &before);
}

/// Makes the package of the release programs, with this revision.
fn package(folder: &Path, revision: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let made = Command::new(top.join("tools/deb"))
        .env("OUT", folder)
        .env("DEB_REVISION", revision)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let line = String::from_utf8(made.stdout).unwrap();
    PathBuf::from(line.split_whitespace().last().unwrap())
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_owned()
}
