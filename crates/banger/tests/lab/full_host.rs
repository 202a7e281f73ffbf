//! The file system of the host fills up under a VM on dm-snapshot that writes and syncs.
//!
//! The guest appends numbers to a file on its system disk, and prints each once fsync has returned.
//! The file must have every printed number, whatever happened to the host.

use std::time::Duration;

use crate::host::{Lab, User, wait_for};
use crate::output_reader::{OutputReader, last_number, wait_for_number};
use crate::shared::{PATIENT, SMALL, root_lab};
use crate::{leftovers, needs_full_lab};

const END: Duration = Duration::from_secs(300);

/// The guest's script: numbers on the system disk, each printed once it is synced.
const COUNT: &str = "i=$(tail -n 1 /opt/count 2>/dev/null || echo 0); while :; do i=$((i+1)); \
    echo $i | dd of=/opt/count oflag=append conv=notrunc,fsync status=none || exit 1; echo $i; done";

/// The digest of the image that all VMs share.
const BASE: &str = "sha256sum $(readlink -f ~/.local/state/banger/images/*/rootfs.ext4)";

fn count(lab: &Lab) -> OutputReader {
    OutputReader::begin(lab, &format!("banger vm ssh full -- sh -c '{COUNT}'"))
}

/// Uses all of the host's space except this much, in MiB. Other programs may use some more.
pub(crate) fn fill(lab: &Lab, but: u64) {
    lab.root(&format!(
        "free=$(($(stat -f -c '%a * %S' /) / 1048576)); fallocate -l $((free - {but}))M /filler"
    ));
}

/// Asserts that the numbers in the guest's file have no gap, and include every printed one.
fn assert_kept(lab: &Lab, said: u64) {
    let text = lab.root("banger vm ssh full -- cat /opt/count");
    let numbers: Vec<u64> = text.lines().map(|it| it.parse().unwrap_or(0)).collect();
    let whole = (1..).zip(&numbers).take_while(|(n, it)| n == *it).count();
    assert!(
        whole as u64 >= said,
        "said {said}, found {whole} of {}",
        numbers.len()
    );
    eprintln!("said {said}, found {whole}");
}

pub(crate) fn a_vm_is_paused_before_the_host_is_full_and_goes_on_with_room() {
    needs_full_lab!();
    let shared = root_lab(&format!("{PATIENT}\nroot_disk = \"dm-snapshot\""));
    let lab = &*shared;
    lab.running(User::Root, "full", SMALL);
    let base = lab.root(BASE);
    let counter = count(lab);
    wait_for_number(&counter, 5);
    fill(lab, 300);
    let view = wait_for(END, || {
        let view = lab.json(User::Root, "vm show full");
        (view["paused"] == true)
            .then_some(view.clone())
            .ok_or(view.to_string())
    });
    eprintln!("paused: {}", view["notes"]);
    let paused_at = last_number(&counter.so_far());
    // No byte is free for any program; the store is not written to meanwhile.
    lab.run(User::Root, "dd if=/dev/zero of=/filler2 bs=1M; sync");
    let free = lab.root("echo $(($(stat -f -c '%a * %S' /) / 1048576))");
    eprintln!("the host has {free} MiB left");
    lab.root("rm /filler /filler2");
    wait_for_number(&counter, paused_at + 5);
    let said = last_number(&counter.end());
    let view = lab.json(User::Root, "vm show full");
    assert_eq!(view["paused"], false, "{view}");
    lab.root("banger vm restart full");
    assert_kept(lab, said);
    assert_eq!(lab.root(BASE), base);
}

pub(crate) fn a_store_that_was_given_up_comes_back_with_all_that_was_synced() {
    needs_full_lab!();
    let shared = root_lab(&format!("{PATIENT}\nroot_disk = \"dm-snapshot\""));
    let lab = &*shared;
    lab.running(User::Root, "full", SMALL);
    let base = lab.root(BASE);
    let counter = count(lab);
    wait_for_number(&counter, 5);
    // A stopped daemon cannot pause a VM.
    lab.root("kill -STOP $(pgrep -x bangerd)");
    lab.run(User::Root, "dd if=/dev/zero of=/filler bs=1M; sync");
    wait_for(END, || {
        let status = lab.root("dmsetup status | grep snapshot");
        status.contains("Invalid").then_some(()).ok_or(status)
    });
    lab.root("rm /filler; kill -CONT $(pgrep -x bangerd)");
    let said = last_number(&counter.end());
    let view = lab.json(User::Root, "vm show full");
    eprintln!("given up: {}", view["notes"]);
    assert!(
        view["notes"].to_string().contains("banger vm restart"),
        "{view}"
    );
    lab.root("banger vm restart full");
    assert_kept(lab, said);
    assert_eq!(lab.root(BASE), base);
    lab.root("banger vm delete --force full");
    assert!(
        !leftovers::list(lab)
            .iter()
            .any(|it| it.contains("banger-1-"))
    );
}
