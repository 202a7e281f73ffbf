//! What ada can keep of her removed disk's device, and bob's device that gets its number.

use crate::host::{Lab, User};
use crate::shared::SMALL;
use crate::{leftovers, needs_full_lab};

use super::shared;

/// The mount point where ada keeps the node after its name is removed.
const KEPT: &str = "/home/ada/kept";

/// Devices that are created by hand, which take free numbers.
const FOREIGN: std::ops::Range<u32> = 0..4;

fn reads(lab: &Lab, user: User, path: &str) -> bool {
    let run = lab.run(user, &format!("head -c 512 {path} | wc -c"));
    run.stdout.trim() == "512"
}

pub(crate) fn a_node_that_was_kept_opens_no_disk_of_another_user() {
    needs_full_lab!();
    let shared = shared();
    let lab = &*shared;
    lab.root("banger system install --user bob");
    let before = leftovers::list(lab);
    lab.must(User::Ada, &format!("banger vm create --name kept {SMALL}"));
    let view = lab.json(User::Ada, "vm show kept");
    assert!(view.to_string().contains("dm-snapshot"), "{view}");
    let id = view["id"].as_str().unwrap();
    let node = lab.root(&format!("ls -d /dev/banger/*-{id}"));
    let number = lab.root(&format!("stat -c %t:%T {node}"));
    // She could do so in a mount namespace of her own.
    lab.root(&format!("touch {KEPT}; mount --bind {node} {KEPT}"));
    assert!(reads(lab, User::Ada, KEPT), "it is hers while her VM runs");
    assert!(!reads(lab, User::Bob, &node));

    lab.must(User::Ada, "banger vm stop kept");
    for device in FOREIGN {
        lab.root(&format!(
            "dmsetup create foreign{device} --table '0 2048 zero'; \
             chown -L bob /dev/mapper/foreign{device}"
        ));
    }
    let numbers = lab.root("stat -L -c %t:%T /dev/mapper/foreign*");
    assert!(
        numbers.lines().any(|it| it == number),
        "{number} is none of {numbers}"
    );
    let opened = reads(lab, User::Ada, KEPT);
    let given = lab.run(User::Ada, &format!("chmod 600 {KEPT}")).status == 0;
    let owner = lab.root(&format!("stat -c '%u %a' {KEPT}"));
    for device in FOREIGN {
        lab.root(&format!("dmsetup remove foreign{device}"));
    }
    lab.root(&format!("umount {KEPT}; rm {KEPT}"));
    assert!(!opened, "she reads a device of another user");
    assert!(!given, "she gave it back to herself");
    assert_eq!(owner, "0 0");
    lab.must(User::Ada, "banger vm delete --force kept");
    leftovers::assert_none(lab, &before);
}
