//! Firecracker in a jail that the root program makes for ada. The VM stays for the next tests: a
//! reboot of the host and uninstall find it running.

use crate::firecracker::needs_firecracker;
use crate::host::{Lab, User, wait_for};
use crate::shared::{PATIENT, SMALL, SharedLab};
use crate::{inside, leftovers, needs_full_lab};

use super::{END, heard_outside, pid};

/// The lab, ada's daemon configured for jails.
fn shared() -> SharedLab {
    let lab = super::shared();
    let jailer = format!("{PATIENT}\njailer = true\nhypervisor = \"firecracker\"");
    lab.configure(User::Ada, &jailer);
    lab
}

/// Asserts the properties of an ordinary user's VM with `jailer = true`, by its process.
fn is_jailed(lab: &Lab, view: &serde_json::Value) {
    let pid = &view["pid"];
    let status = lab.root(&format!(
        "sed -n 's/^Uid:\\t//p; s/^Groups:\\t//p; s/^CapPrm:\\t//p; s/^CapEff:\\t//p' /proc/{pid}/status"
    ));
    let (uids, rights) = status.split_once('\n').unwrap();
    let uids: Vec<u32> = uids
        .split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect();
    assert!(uids.iter().all(|it| *it >= 1_900_000_000), "{status}");
    assert!(
        rights.chars().all(|it| it == '0' || it.is_whitespace()),
        "{status}"
    );
    let root = lab.root(&format!("ls /proc/{pid}/root"));
    assert_eq!(root, "dev\nfirecracker\nfirecracker.pid\nmachine\nrun");
    let mounts = lab.root(&format!("cut -d ' ' -f 2 /proc/{pid}/mounts"));
    assert_eq!(mounts, "/\n/machine");
    let cgroup = lab.root(&format!("cat /proc/{pid}/cgroup"));
    assert!(cgroup.contains("/banger-1-"), "{cgroup}");
    assert_eq!(
        lab.root("ls /run/banger/jail"),
        "",
        "it is on the host, too"
    );
}

/// Waits until a daemon answers after one was killed: systemd restarts it.
fn wait_for_daemon(lab: &Lab) {
    wait_for(END, || {
        let run = lab.run(User::Ada, "banger daemon status");
        (run.status == 0).then_some(()).ok_or(run.stderr)
    });
}

fn kill_daemon(lab: &Lab) {
    let daemon = lab.json(User::Ada, "daemon status")["pid"].clone();
    lab.root(&format!("kill -9 {daemon}"));
    wait_for_daemon(lab);
}

/// The units of jails in systemd.
fn units(lab: &Lab) -> String {
    lab.root("systemctl list-units --all --no-legend 'banger-1-*.service'")
}

pub(crate) fn a_jail_is_made_kept_and_taken_away() {
    needs_full_lab!();
    needs_firecracker!();
    let shared = shared();
    let lab = &*shared;
    let report = lab.json(User::Ada, "doctor").to_string();
    assert!(report.contains("root jails with"), "{report}");
    lab.run(User::Ada, "banger vm delete --force jailed");
    let before = leftovers::list(lab);
    lab.running(User::Ada, "jailed", &format!("--nat {SMALL}"));
    let view = lab.json(User::Ada, "vm show jailed");
    assert_eq!(view["hypervisor"], "firecracker-jailed", "{view}");
    is_jailed(lab, &view);
    let keep = "echo kept > /root/kept; echo kept > /opt/kept; sync";
    lab.must(
        User::Ada,
        &format!("banger vm ssh jailed -- sh -c '{keep}'"),
    );
    assert_eq!(heard_outside(lab, User::Ada, "jailed"), "outside");
    // The daemon is killed, and the next one finds the VM.
    kill_daemon(lab);
    assert_eq!(pid(lab, User::Ada, "jailed"), view["pid"].as_u64().unwrap());
    lab.must(User::Ada, "banger vm stop jailed");
    lab.must(User::Ada, "banger vm start jailed");
    let kept = lab.must(
        User::Ada,
        "banger vm ssh jailed -- cat /root/kept /opt/kept",
    );
    assert_eq!(kept, "kept\nkept");
    lab.must(User::Ada, "banger vm kill jailed");
    assert_eq!(lab.json(User::Ada, "vm show jailed")["phase"], "stopped");
    lab.must(User::Ada, "banger vm delete --force jailed");
    leftovers::assert_none(lab, &before);
    assert_eq!(units(lab), "");
}

pub(crate) fn a_daemon_killed_while_a_jail_is_made_leaves_nothing() {
    needs_full_lab!();
    needs_firecracker!();
    let shared = shared();
    let lab = &*shared;
    lab.running(User::Ada, "jailed", &format!("--nat {SMALL}"));
    lab.must(User::Ada, "banger vm stop jailed");
    let before = leftovers::list(lab);
    for after in ["0.5", "1", "2", "3", "5"] {
        let daemon = lab.json(User::Ada, "daemon status")["pid"].clone();
        lab.run(
            User::Ada,
            &format!("banger vm start jailed & sleep {after}; kill -9 {daemon}; wait"),
        );
        wait_for_daemon(lab);
        let view = lab.json(User::Ada, "vm show jailed");
        assert_eq!(view["phase"], "stopped", "killed after {after} s: {view}");
        leftovers::assert_none(lab, &before);
        assert_eq!(units(lab), "", "killed after {after} s");
    }
    lab.must(User::Ada, "banger vm start jailed");
}

pub(crate) fn a_jailed_vm_is_paused_before_the_host_is_full() {
    needs_full_lab!();
    needs_firecracker!();
    let shared = shared();
    let lab = &*shared;
    let paused = |expected: bool| {
        wait_for(END, || {
            let view = lab.json(User::Ada, "vm show jailed");
            let is = view["paused"] == expected;
            is.then_some(()).ok_or(view.to_string())
        });
    };
    lab.running(User::Ada, "jailed", &format!("--nat {SMALL}"));
    let process = pid(lab, User::Ada, "jailed");
    let state = format!("sed -n 's/^State:\\t\\(.\\).*/\\1/p' /proc/{process}/status");
    crate::full_host::fill(lab, 300);
    paused(true);
    assert_eq!(lab.root(&state), "T", "root did not stop it");
    lab.root("rm /filler");
    paused(false);
    assert_ne!(lab.root(&state), "T");
    let hostname = lab.must(User::Ada, "banger vm ssh jailed -- hostname");
    assert_eq!(hostname, "jailed");
}

pub(crate) fn everything_inside_works_in_a_users_jail() {
    needs_full_lab!();
    needs_firecracker!();
    let shared = shared();
    let lab = &*shared;
    lab.running(User::Ada, "jailed", &format!("--nat {SMALL}"));
    inside::assert_works(lab, User::Ada, "jailed");
    lab.must(User::Ada, "banger vm stop jailed");
    inside::assert_console_in_rescue(lab, User::Ada, "jailed");
    inside::assert_volume(lab, User::Ada, "jailed");
    lab.must(
        User::Ada,
        "banger vm set jailed --no-volume jailed-data; banger volume delete jailed-data; \
         banger vm start jailed",
    );
}
