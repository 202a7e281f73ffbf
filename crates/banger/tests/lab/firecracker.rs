//! VMs on Firecracker, with the same tests on QEMU with KVM.

use std::time::Duration;

use serde_json::Value;

use crate::host::{Lab, User, wait_for};
use crate::shared::{PATIENT, SMALL, SharedLab, root_lab};
use crate::{inside, leftovers};

const END: Duration = Duration::from_secs(600);

/// A configuration with this hypervisor, and the Firecracker of the payload.
pub(crate) fn configuration(hypervisor: &str, more: &str) -> String {
    let program = "/srv/payload/firecracker/firecracker";
    format!("{PATIENT}\nhypervisor = \"{hypervisor}\"\nfirecracker = \"{program}\"\n{more}")
}

/// The lab, its daemon on this hypervisor.
fn shared(hypervisor: &str, more: &str) -> SharedLab {
    root_lab(&configuration(hypervisor, more))
}

/// Counts a test as skipped without a Firecracker.
macro_rules! needs_firecracker {
    () => {
        $crate::needs_lab!();
        if std::env::var_os("FIRECRACKER").is_none() {
            eprintln!(
                "SKIPPED: {}: FIRECRACKER names no firecracker",
                module_path!()
            );
            return;
        }
    };
}
pub(crate) use needs_firecracker;

fn end_of(lab: &Lab, vm: &str) -> Value {
    let view = wait_for(END, || {
        let view = lab.json(User::Root, &format!("vm show {vm}"));
        if view["phase"] == "stopped" {
            Ok(view)
        } else {
            Err(view.to_string())
        }
    });
    view["last_end"].clone()
}

pub(crate) fn boot_to_ready_on_qemu_and_on_firecracker() {
    needs_firecracker!();
    for hypervisor in ["qemu", "firecracker"] {
        let shared = shared(hypervisor, "");
        let lab = &*shared;
        let before = leftovers::list(lab);
        lab.root(&format!("banger vm create --name timed --no-start {SMALL}"));
        for _ in 0..2 {
            let started = lab.run(User::Root, "banger vm start timed");
            lab.expect("start", &started);
            eprintln!("start on {hypervisor}:\n{}", started.stderr.trim_end());
            let view = lab.json(User::Root, "vm show timed");
            assert_eq!(view["hypervisor"], hypervisor, "{view}");
            for way in ["ssh", "exec"] {
                let there = "sh -c 'test $(hostname) = timed'";
                lab.root(&format!("banger vm {way} timed -- {there}"));
            }
            let stopped = lab.json(User::Root, "vm stop timed");
            assert_eq!(stopped[0]["synced"], true, "{stopped}");
            assert_ne!(stopped[0]["by"], "kill", "{stopped}");
        }
        lab.root("banger vm delete --force timed");
        leftovers::assert_none(lab, &before);
    }
}

pub(crate) fn the_end_of_a_guest_is_reported_and_a_reboot_starts_again() {
    needs_firecracker!();
    let shared = shared("firecracker", "");
    let lab = &*shared;
    let before = leftovers::list(lab);
    lab.root(&format!("banger vm create --name ends --nat {SMALL}"));
    let pid = lab.json(User::Root, "vm show ends")["pid"].clone();
    lab.run(User::Root, "banger vm ssh ends -- reboot");
    wait_for(END, || {
        let view = lab.json(User::Root, "vm show ends");
        let is_back = view["phase"] == "running" && view["pid"] != pid;
        is_back.then_some(()).ok_or(view.to_string())
    });
    lab.run(User::Root, "banger vm ssh ends -- poweroff");
    assert_eq!(end_of(lab, "ends")["reason"], "poweroff");
    lab.root("banger vm start ends");
    let panic = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger";
    lab.run(
        User::Root,
        &format!("timeout 60 banger vm ssh ends -- sh -c '{panic}'"),
    );
    let end = end_of(lab, "ends");
    assert_eq!(end["reason"], "panic", "{end}");
    lab.root("banger vm delete --force ends");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn a_guest_that_ignores_shutdown_is_ended_and_reported() {
    needs_firecracker!();
    let shared = shared("firecracker", "");
    let lab = &*shared;
    let before = leftovers::list(lab);
    lab.root(&format!("banger vm create --name deaf {SMALL}"));
    let deaf = "systemctl mask --runtime poweroff.target reboot.target halt.target; sync";
    lab.root(&format!("banger vm ssh deaf -- sh -c '{deaf}'"));
    let stopped = lab.json(User::Root, "vm stop deaf --timeout 20");
    eprintln!("a deaf guest: {stopped}");
    assert_eq!(lab.json(User::Root, "vm show deaf")["phase"], "stopped");
    lab.root("banger vm start deaf; banger vm delete --force deaf");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn a_killed_daemon_leaves_a_vm_running_or_nothing() {
    needs_firecracker!();
    let shared = shared("firecracker", "");
    let lab = &*shared;
    lab.root(&format!("banger vm create --name half --no-start {SMALL}"));
    let before = leftovers::list(lab);
    for after in ["0.3", "0.7", "1.5", "3", "6"] {
        lab.root(&format!(
            "banger vm start half >/dev/null 2>&1 & sleep {after}; \
             kill -9 $(pgrep -x bangerd); wait; true"
        ));
        assert_eq!(lab.json(User::Root, "vm show half")["phase"], "stopped");
        leftovers::assert_none(lab, &before);
    }
    lab.root("banger vm start half");
    let pid = lab.json(User::Root, "vm show half")["pid"].clone();
    lab.root("kill -9 $(pgrep -x bangerd)");
    assert_eq!(lab.json(User::Root, "vm show half")["pid"], pid);
    lab.root("banger vm ssh half -- true; banger vm delete --force half");
}

pub(crate) fn a_killed_vmm_is_reported_and_leaves_nothing_on_the_host() {
    needs_firecracker!();
    let shared = shared("firecracker", "");
    let lab = &*shared;
    lab.root(&format!("banger vm create --name shot --no-start {SMALL}"));
    let before = leftovers::list(lab);
    lab.root("banger vm start shot");
    let pid = lab.json(User::Root, "vm show shot")["pid"].clone();
    lab.root(&format!("kill -9 {pid}"));
    eprintln!("a killed VMM: {}", end_of(lab, "shot"));
    leftovers::assert_none(lab, &before);
    lab.root("banger vm delete --force shot");
}

pub(crate) fn jailed_vms_have_a_root_and_a_user_of_their_own() {
    needs_firecracker!();
    let shared = shared("firecracker", "jailer = true");
    let lab = &*shared;
    let before = leftovers::list(lab);
    lab.root(&format!(
        "banger vm create --name jailed --no-start {SMALL}"
    ));
    for _ in 0..2 {
        let started = lab.run(User::Root, "banger vm start jailed");
        lab.expect("start", &started);
        eprintln!("start in the jailer:\n{}", started.stderr.trim_end());
        let pid = lab.json(User::Root, "vm show jailed")["pid"].clone();
        // It has a mount namespace of its own, whose root is the jail.
        let root = lab.root(&format!("ls /proc/{pid}/root"));
        assert!(
            root.contains("firecracker.pid") && !root.contains("etc"),
            "{root}"
        );
        let rights = lab.root(&format!("awk '/^CapEff|^Groups/' /proc/{pid}/status"));
        assert_eq!(
            rights.replace(char::is_whitespace, ""),
            "Groups:CapEff:0000000000000000"
        );
        let uid = lab.root(&format!("awk '/^Uid/ {{ print $2 }}' /proc/{pid}/status"));
        assert!(uid.parse::<u32>().unwrap() >= 1_900_000_000, "{uid}");
        let groups = lab.root(&format!("cat /proc/{pid}/cgroup"));
        eprintln!("in the jailer: user {uid}, cgroup {groups}");
        // The next daemon finds it, even with a configuration without jails.
        lab.root("kill -9 $(pgrep -x bangerd)");
        lab.configure(User::Root, &configuration("firecracker", "jailer = false"));
        assert_eq!(lab.json(User::Root, "vm show jailed")["pid"], pid);
        lab.root("banger vm ssh jailed -- true; banger vm stop jailed");
        lab.configure(User::Root, &configuration("firecracker", "jailer = true"));
    }
    for after in ["2", "4", "6"] {
        lab.root(&format!(
            "banger vm start jailed >/dev/null 2>&1 & sleep {after}; \
             kill -9 $(pgrep -x bangerd); wait; true"
        ));
        assert_eq!(lab.json(User::Root, "vm show jailed")["phase"], "stopped");
    }
    lab.root("banger vm delete --force jailed");
    leftovers::assert_none(lab, &before);
}

pub(crate) fn everything_inside_works_jailed_or_not() {
    needs_firecracker!();
    let shared = shared("firecracker", "");
    let lab = &*shared;
    let before = leftovers::list(lab);
    lab.root(&format!("banger vm create --name inside {SMALL}"));
    for more in ["jailer = false", "jailer = true"] {
        lab.configure(User::Root, &configuration("firecracker", more));
        lab.root("banger vm start inside");
        inside::assert_works(lab, User::Root, "inside");
        lab.root("banger vm stop inside");
        inside::assert_console_in_rescue(lab, User::Root, "inside");
    }
    inside::assert_volume(lab, User::Root, "inside");
    lab.root("banger vm delete --force inside; banger volume delete inside-data");
    leftovers::assert_none(lab, &before);
}
