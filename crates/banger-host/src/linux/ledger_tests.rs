//! The ledger's file, and two processes that share it, in a network namespace of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::linux::testing::{folder_of_root, in_own_network, run};
use crate::{GuestTap, Host as _, Look as _, MacAddress, Op, RootOp};

const ADA: Instance = Instance::of_digits(0xada0);
const BEN: Instance = Instance::of_digits(0xbe10);
const ONE: MachineId = MachineId::from_bits(1);

/// Adds an uplink, and a guest of each instance.
fn inhabit(host: &Linux) {
    run("ip", "link add out0 type veth peer name other0");
    run("ip", "address add 192.0.2.2/24 dev out0");
    run("ip", "link set out0 up");
    run("ip", "link set other0 up");
    run("ip", "route add default via 192.0.2.1");
    for (number, instance) in [(216, ADA), (217, BEN)] {
        let tap = GuestTap {
            machine: ONE,
            uid: 1,
            host_address: [10, number, 0, 1].into(),
            guest_address: [10, number, 0, 2].into(),
            mac: MacAddress::from_bits(1),
            mtu: 1500,
        };
        change(host, instance, RootOp::MakeTap(tap)).unwrap();
        forward_guest(host, instance, true);
    }
}

fn change(host: &Linux, instance: Instance, op: RootOp) -> Result<Change> {
    host.change(&Op::Root(instance, op))
}

fn forward_guest(host: &Linux, instance: Instance, on: bool) {
    let machine = ONE;
    change(host, instance, RootOp::ForwardGuest { machine, on }).unwrap();
}

fn hold(host: &Linux, instance: Instance) -> Change {
    change(host, instance, RootOp::HoldForwarding { machine: ONE }).unwrap()
}

fn release(host: &Linux, instance: Instance) -> Change {
    change(host, instance, RootOp::ReleaseForwarding { machine: ONE }).unwrap()
}

fn forwards(host: &Linux) -> bool {
    host.forwarding("out0").unwrap().unwrap()
}

/// The host as seen by two processes.
fn two(folder: &Path) -> [Linux; 2] {
    [(), ()].map(|()| Linux::in_folder(folder).unwrap())
}

fn older(folder: &Path, boot_id: &str, was: bool) {
    let text = format!(
        r#"{{"boot_id":"{boot_id}","interfaces":{{"out0":{{"was":{was},"users":[1000]}}}}}}"#
    );
    fs::write(folder.join("forwarding.json"), text).unwrap();
}

fn only_the_lock_is_left(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(names, ["forwarding.lock"]);
}

#[test]
fn two_processes_share_one_ledger_that_only_root_reads() {
    in_own_network(|| {
        let folder = folder_of_root();
        let [mine, theirs] = two(folder.path());
        inhabit(&mine);
        assert!(!forwards(&mine));
        assert_eq!(hold(&mine, ADA), Change::Made);
        assert_eq!(hold(&theirs, BEN), Change::Made);
        assert_eq!(hold(&mine, ADA), Change::Already);
        let path = mine.ledger_path().unwrap();
        assert_eq!(path, theirs.ledger_path().unwrap());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(mine.forwarding_holds(ADA).unwrap());
        run("nft", &format!("flush set inet {} lent", ADA.table()));
        mine.firewall.elements(&ADA.table()).unwrap();
        assert!(!mine.forwarding_holds(ADA).unwrap());
        mine.lend_again(ADA).unwrap();
        assert!(mine.forwarding_holds(ADA).unwrap());
        assert_eq!(release(&mine, ADA), Change::Made);
        assert!(forwards(&mine), "the other process's guest needs it");
        assert_eq!(release(&theirs, BEN), Change::Made);
        assert!(!forwards(&mine));
        only_the_lock_is_left(folder.path());
    });
}

#[test]
fn concurrent_holds_and_releases_lose_no_holder() {
    in_own_network(|| {
        let folder = folder_of_root();
        let hosts = two(folder.path());
        inhabit(&hosts[0]);
        std::thread::scope(|scope| {
            for (host, instance) in hosts.iter().zip([ADA, BEN]) {
                scope.spawn(move || {
                    for _ in 0..20 {
                        hold(host, instance);
                        assert!(forwards(host), "switched off under a guest that holds it");
                        release(host, instance);
                    }
                });
            }
        });
        assert!(!forwards(&hosts[0]));
        only_the_lock_is_left(folder.path());
    });
}

#[test]
fn the_record_of_an_older_helper_is_adopted_for_all_guests_that_forward() {
    in_own_network(|| {
        let folder = folder_of_root();
        let [host, theirs] = two(folder.path());
        inhabit(&host);
        // The record of an older helper, with guests of two users.
        run("sysctl", "-qw net.ipv4.conf.out0.forwarding=1");
        older(folder.path(), &host.boot_id, false);
        assert_eq!(hold(&host, ADA), Change::Made);
        // The other user's daemon still runs, and has not asked for anything yet.
        assert_eq!(release(&host, ADA), Change::Made);
        assert!(forwards(&host), "the other user's guest needs it");
        forward_guest(&theirs, BEN, false);
        assert_eq!(release(&theirs, BEN), Change::Made);
        assert!(!forwards(&host));
        only_the_lock_is_left(folder.path());
    });
}

#[test]
fn an_older_record_of_what_was_on_or_of_another_boot_switches_nothing_off() {
    in_own_network(|| {
        let folder = folder_of_root();
        let host = Linux::in_folder(folder.path()).unwrap();
        inhabit(&host);
        run("sysctl", "-qw net.ipv4.conf.out0.forwarding=1");
        for (boot_id, was) in [(host.boot_id.as_str(), true), ("another", false)] {
            older(folder.path(), boot_id, was);
            hold(&host, ADA);
            release(&host, ADA);
            forward_guest(&host, BEN, false);
            release(&host, BEN);
            assert!(forwards(&host), "{boot_id} {was}");
        }
        fs::write(folder.path().join("forwarding.json"), "{").unwrap();
        let machine = ONE;
        let error = change(&host, ADA, RootOp::HoldForwarding { machine }).unwrap_err();
        assert!(
            error.hints()[0].starts_with("remove it: sudo rm "),
            "{error}"
        );
    });
}

#[test]
fn a_user_who_is_taken_away_gives_back_what_only_they_held() {
    in_own_network(|| {
        let folder = folder_of_root();
        let [host, theirs] = two(folder.path());
        inhabit(&host);
        hold(&host, ADA);
        change(&host, ADA, RootOp::RemoveTap { machine: ONE }).unwrap();
        assert_eq!(theirs.settle_forwarding().unwrap(), Change::Made);
        assert!(!forwards(&host));
        let missing = Linux::in_folder(folder.path().join("none")).unwrap();
        assert_eq!(missing.settle_forwarding().unwrap(), Change::Already);
    });
}

#[test]
fn a_run_folder_that_is_full_keeps_no_guest_from_leaving() {
    in_own_network(|| {
        crate::linux::sys::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
        run("mount", "--make-rprivate /");
        let folder = folder_of_root();
        let shown = folder.path().display();
        run(
            "mount",
            &format!("-t tmpfs -o size=64k,mode=755 none {shown}"),
        );
        let host = Linux::in_folder(folder.path()).unwrap();
        inhabit(&host);
        hold(&host, ADA);
        hold(&host, BEN);
        let ballast = folder.path().join("ballast");
        fs::write(&ballast, vec![0; 128 << 10]).unwrap_err();
        assert_eq!(release(&host, ADA), Change::Made);
        change(&host, ADA, RootOp::RemoveTap { machine: ONE }).unwrap();
        assert!(forwards(&host));
        fs::remove_file(&ballast).unwrap();
        release(&host, BEN);
        assert!(!forwards(&host));
    });
}
