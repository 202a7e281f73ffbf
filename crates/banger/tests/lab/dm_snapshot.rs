//! Root disks by device-mapper, on a host that has it.

use std::collections::BTreeSet;

use crate::host::User;
use crate::shared::{PATIENT, SMALL, root_lab};
use crate::{leftovers, needs_full_lab};

/// Loop devices, one on each line, with the files behind them.
const LOOPS: &str =
    "for file in /sys/block/loop*/loop/backing_file; do [ -e $file ] && cat $file; done; true";

pub(crate) fn vms_of_one_image_share_one_loop_device_and_own_their_nodes() {
    needs_full_lab!();
    let shared = root_lab(&format!("{PATIENT}\nroot_disk = \"dm-snapshot\""));
    let lab = &*shared;
    let before = leftovers::list(lab);
    let first = lab.run(
        User::Root,
        &format!("banger vm create --name first {SMALL}"),
    );
    lab.expect("create", &first);
    eprintln!("create, by dm-snapshot:\n{}", first.stderr.trim_end());
    let view = lab.json(User::Root, "vm show first");
    assert!(view.to_string().contains("dm-snapshot"), "{view}");
    lab.root(&format!("banger vm create --name second {SMALL}"));
    let loops = lab.root(LOOPS);
    assert_eq!(loops.matches("rootfs.ext4").count(), 1, "{loops}");
    let nodes = lab.root("stat -c '%a %u' $(find /dev/banger -type b)");
    let owners: BTreeSet<u32> = nodes
        .lines()
        .map(|it| it.strip_prefix("600 ").unwrap().parse().unwrap())
        .collect();
    assert_eq!(owners.len(), 2, "{nodes}");
    assert!(owners.iter().all(|it| *it >= 1_900_000_000), "{nodes}");
    lab.root("banger vm ssh first -- sh -c 'echo first > /opt/file'");
    lab.root("banger vm ssh second -- test ! -e /opt/file");
    lab.root("banger vm stop first; banger vm start first");
    assert_eq!(lab.root("banger vm ssh first -- cat /opt/file"), "first");
    lab.root("banger vm delete --force second");
    let loops = lab.root(LOOPS);
    assert_eq!(loops.matches("rootfs.ext4").count(), 1, "{loops}");
    lab.root("banger vm delete --force first");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn a_daemon_killed_while_a_vm_starts_leaves_nothing() {
    needs_full_lab!();
    let shared = root_lab(&format!("{PATIENT}\nroot_disk = \"dm-snapshot\""));
    let lab = &*shared;
    lab.root(&format!("banger vm create --name half --no-start {SMALL}"));
    let before = leftovers::list(lab);
    // Some steps of a start take milliseconds and others seconds.
    for after in ["0.1", "0.3", "0.6", "1", "2", "4"] {
        lab.root(&format!(
            "banger vm start half >/dev/null 2>&1 & sleep {after}; \
             kill -9 $(pgrep -x bangerd); wait; true"
        ));
        let view = lab.json(User::Root, "vm show half");
        assert_eq!(view["phase"], "stopped", "killed after {after} s: {view}");
        leftovers::assert_none(lab, &before);
    }
    lab.root("banger vm start half; banger vm ssh half -- true; banger vm delete --force half");
}

pub(crate) fn a_restart_of_the_host_leaves_nothing_and_the_vm_starts_again() {
    needs_full_lab!();
    let shared = root_lab(&format!("{PATIENT}\nroot_disk = \"dm-snapshot\""));
    let lab = &*shared;
    let before = leftovers::list(lab);
    lab.root(&format!("banger vm create --name again {SMALL}"));
    lab.root("banger vm ssh again -- sh -c 'echo kept > /opt/file; sync'");
    lab.reboot();
    assert_eq!(lab.json(User::Root, "vm show again")["phase"], "stopped");
    lab.root("banger vm start again");
    assert_eq!(lab.root("banger vm ssh again -- cat /opt/file"), "kept");
    lab.root("banger vm delete --force again");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn twenty_lives_leave_nothing() {
    needs_full_lab!();
    let shared = root_lab(&format!("{PATIENT}\nroot_disk = \"dm-snapshot\""));
    let lab = &*shared;
    let before = leftovers::list(lab);
    for life in 0..20 {
        let end = ["vm stop brief", "vm kill brief", "vm list"][life % 3];
        lab.root(&format!(
            "banger vm create --name brief {SMALL}; banger {end}; banger vm delete --force brief"
        ));
        leftovers::assert_none(lab, &before);
    }
}
