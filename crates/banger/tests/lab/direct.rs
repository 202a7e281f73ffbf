//! The daemon as root (`direct` mode), on a host with KVM and a network of its own.

use crate::host::User;
use crate::shared::{PATIENT, root_lab};
use crate::{leftovers, needs_full_lab, needs_lab};

pub(crate) fn doctor_finds_kvm_and_nothing_amiss() {
    needs_lab!();
    let shared = root_lab(PATIENT);
    let lab = &*shared;
    let report = lab.json(User::Root, "doctor");
    let text = report.to_string();
    assert!(text.contains("/dev/kvm` creates machines"), "{text}");
    assert!(!text.contains("\"fail\""), "{text}");
}

pub(crate) fn a_vm_keeps_what_was_written_and_leaves_nothing_when_deleted() {
    needs_lab!();
    let shared = root_lab(PATIENT);
    let lab = &*shared;
    let before = leftovers::list(lab);
    let steps = lab.run(
        User::Root,
        "banger vm create --name first --memory 512 --disk-size 1G --nat",
    );
    lab.expect("create", &steps);
    eprintln!("create, in the lab:\n{}", steps.stderr.trim_end());
    let view = lab.json(User::Root, "vm show first");
    assert_eq!(view["phase"], "running", "{view}");
    lab.root("banger vm ssh first -- sh -c 'echo kept > /root/file; echo kept > /opt/file; sync'");
    let stopped = lab.json(User::Root, "vm stop first");
    assert_eq!(stopped[0]["synced"], true, "{stopped}");
    let started = lab.run(User::Root, "banger vm start first");
    lab.expect("start", &started);
    eprintln!("start, in the lab:\n{}", started.stderr.trim_end());
    let kept = lab.root("banger vm ssh first -- cat /root/file /opt/file");
    assert_eq!(kept, "kept\nkept");
    lab.root("banger vm delete --force first");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn users_without_the_root_program_learn_what_is_missing() {
    needs_lab!();
    let shared = root_lab(PATIENT);
    let lab = &*shared;
    for user in [User::Ada, User::Bob] {
        let report = lab.json(user, "doctor");
        let text = report.to_string();
        assert!(
            text.contains("\"warn\"") && !text.contains("\"fail\""),
            "{text}"
        );
        assert!(text.contains("user networking"), "{text}");
    }
}

pub(crate) fn a_user_without_the_root_program_still_gets_a_vm() {
    needs_full_lab!();
    let shared = root_lab(PATIENT);
    let lab = &*shared;
    lab.configure(User::Bob, PATIENT);
    let before = leftovers::list(lab);
    lab.must(
        User::Bob,
        "banger vm create --name plain --memory 384 --disk-size 512M",
    );
    let view = lab.json(User::Bob, "vm show plain");
    assert_eq!(view["network"], "user", "{view}");
    assert_eq!(
        lab.must(User::Bob, "banger vm ssh plain -- hostname"),
        "plain"
    );
    lab.must(User::Bob, "banger vm delete --force plain");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn a_restart_of_the_host_leaves_nothing_and_a_vm_starts_again() {
    needs_full_lab!();
    let shared = root_lab(PATIENT);
    let lab = &*shared;
    let before = leftovers::list(lab);
    lab.root("banger vm create --name again --memory 384 --disk-size 512M --nat");
    lab.root("banger vm ssh again -- sh -c 'echo kept > /opt/file; sync'");
    lab.reboot();
    assert_eq!(lab.json(User::Root, "vm show again")["phase"], "stopped");
    lab.root("banger vm start again");
    assert_eq!(lab.root("banger vm ssh again -- cat /opt/file"), "kept");
    lab.root("banger vm delete --force again");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn the_own_service_of_root_stops_its_vms_with_the_host() {
    needs_full_lab!();
    let shared = root_lab(PATIENT);
    let lab = &*shared;
    let before = leftovers::list(lab);
    eprintln!("{}", lab.root("banger system install"));
    let status = lab.json(User::Root, "system status");
    let active: Vec<&str> = status["units"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["active"] == "active")
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        active,
        [
            "bangerd.service",
            "banger-shutdown@0.service",
            "banger-firewall@0.service"
        ],
        "{status}"
    );
    lab.root("banger vm create --name served --memory 384 --disk-size 512M --nat");
    // It outlives its daemon, and the root session of this test.
    lab.root("systemctl --user restart bangerd.service");
    assert_eq!(lab.root("banger vm ssh served -- hostname"), "served");
    let late = "sync; echo unsynced > /root/late; echo unsynced > /opt/late";
    lab.root(&format!("banger vm ssh served -- sh -c '{late}'"));
    lab.reboot();
    let view = lab.json(User::Root, "vm show served");
    assert_eq!(view["phase"], "stopped", "{view}");
    assert_eq!(view["last_end"]["reason"], "stopped", "{view}");
    lab.root("banger vm start served");
    let read = lab.root("banger vm ssh served -- cat /root/late /opt/late");
    assert_eq!(read, "unsynced\nunsynced");
    lab.root("banger vm delete --force served; banger system uninstall");
    lab.root("loginctl disable-linger root");
    leftovers::assert_none(lab, &before);
}
