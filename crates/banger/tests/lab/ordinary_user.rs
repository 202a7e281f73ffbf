//! Users who are not root, with the root program and units of systemd.
//!
//! ada may use sudo; bob may not, and root installs for him.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::host::{Lab, User, wait_for};
use crate::shared::{PATIENT, SMALL};
use crate::{leftovers, needs_full_lab, needs_lab};

const END: Duration = Duration::from_secs(600);

static SHARED: LazyLock<Mutex<Option<Lab>>> = LazyLock::new(|| {
    let lab = Lab::new();
    lab.configure(User::Ada, PATIENT);
    lab.configure(User::Bob, PATIENT);
    let given = "$(p=/srv/payload/firecracker; [ ! -e $p/firecracker ] || echo --firecracker $p/firecracker; \
                 [ ! -e $p/jailer ] || echo --jailer $p/jailer)";
    let installed = lab.must(User::Ada, &format!("banger system install {given} 2>&1"));
    eprintln!("ada installs:\n{installed}");
    Mutex::new(Some(lab))
});

fn shared() -> MutexGuard<'static, Option<Lab>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process of a VM, and that it is the same as before, alive.
fn pid(lab: &Lab, user: User, vm: &str) -> u64 {
    let view = lab.json(user, &format!("vm show {vm}"));
    assert_eq!(view["phase"], "running", "{view}");
    view["pid"].as_u64().unwrap()
}

/// What a guest hears from a port of the machine that the lab runs on, beyond the lab's own NAT.
fn heard_outside(lab: &Lab, user: User, vm: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"outside\n");
        }
    });
    let ask = format!("exec 3<>/dev/tcp/10.0.2.2/{port} && head -n 1 <&3");
    let run = lab.run(
        user,
        &format!("banger vm ssh {vm} -- timeout 20 bash -c '{ask}'"),
    );
    run.stdout.trim_end().to_owned()
}

#[test]
fn a_doctor_and_the_daemon_go_through_the_root_program() {
    needs_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    let report = lab.json(User::Ada, "doctor").to_string();
    assert!(!report.contains("\"fail\""), "{report}");
    let status = lab.json(User::Ada, "daemon status");
    assert_eq!(status["mode"], "root-helper", "{status}");
    let unit = lab.must(User::Ada, "systemctl --user is-active bangerd.service");
    assert_eq!(unit, "active");
    let uid = lab.must(
        User::Ada,
        &format!("awk '/^Uid/ {{ print $2 }}' /proc/{}/status", status["pid"]),
    );
    assert_eq!(uid, "1000");
    for unit in ["banger-root@1000.service", "user@1000.service"] {
        eprintln!(
            "{}",
            lab.root(&format!(
                "systemd-analyze security --no-pager {unit} | tail -n 1"
            ))
        );
    }
    let own = lab.run(
        User::Ada,
        "systemd-analyze --user security --no-pager bangerd.service | tail -n 1",
    );
    eprintln!("{}", own.stdout);
}

#[test]
fn b_a_vm_has_a_tap_and_nat_through_the_root_program() {
    needs_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    let made = lab.run(
        User::Ada,
        &format!("banger vm create --name first --nat {SMALL}"),
    );
    lab.expect("create", &made);
    eprintln!("ada creates:\n{}", made.stderr.trim_end());
    let view = lab.json(User::Ada, "vm show first");
    assert_eq!(view["network"], "tap", "{view}");
    assert_eq!(
        lab.must(User::Ada, "banger vm ssh first -- hostname"),
        "first"
    );
    assert_eq!(heard_outside(lab, User::Ada, "first"), "outside");
    lab.must(User::Ada, "banger vm set first --no-nat");
    assert_eq!(heard_outside(lab, User::Ada, "first"), "");
    let uid = format!("awk '/^Uid/ {{ print $2 }}' /proc/{}/status", view["pid"]);
    assert_eq!(lab.root(&uid), "1000");
}

#[test]
fn c_vms_outlive_their_daemon_and_a_log_out() {
    needs_full_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    let before = pid(lab, User::Ada, "first");
    lab.must(User::Ada, "systemctl --user restart bangerd.service");
    assert_eq!(pid(lab, User::Ada, "first"), before);
    lab.must(User::Ada, "systemctl --user stop bangerd.service");
    lab.root(&format!("kill -0 {before}"));
    lab.must(User::Ada, "systemctl --user start bangerd.service");
    assert_eq!(pid(lab, User::Ada, "first"), before);
    // Every session of hers ends, as at a log-out.
    lab.root("for id in $(loginctl list-sessions --no-legend | awk '$3 == \"ada\" { print $1 }'); do loginctl terminate-session $id; done");
    lab.hang_up();
    assert_eq!(pid(lab, User::Ada, "first"), before);
    assert_eq!(
        lab.must(User::Ada, "banger vm ssh first -- hostname"),
        "first"
    );
}

#[test]
fn ca_a_daemon_whose_root_program_is_silent_never_goes_without_it() {
    needs_full_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    let before = pid(lab, User::Ada, "first");
    lab.root("systemctl start banger-root@1000.service");
    lab.root("systemctl kill --signal STOP banger-root@1000.service");
    let run = lab.run(User::Ada, "systemctl --user restart bangerd.service");
    assert_ne!(run.status, 0, "it started without root: {run:?}");
    let said = lab.root("journalctl -b _SYSTEMD_USER_UNIT=bangerd.service | tail -n 20");
    assert!(said.contains("root does not answer in time"), "{said}");
    lab.root(&format!("kill -0 {before}"));
    lab.root("systemctl kill --signal CONT banger-root@1000.service");
    wait_for(END, || {
        let run = lab.run(User::Ada, "banger daemon status");
        let helped = run.stdout.contains("root-helper mode");
        helped.then_some(()).ok_or(format!("{run:?}"))
    });
    assert_eq!(pid(lab, User::Ada, "first"), before);
}

#[test]
fn d_a_vmm_out_of_memory_takes_no_other_with_it() {
    needs_full_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    lab.must(
        User::Ada,
        &format!("banger vm create --name greedy {SMALL}"),
    );
    let (first, greedy) = (pid(lab, User::Ada, "first"), pid(lab, User::Ada, "greedy"));
    let daemon = lab.json(User::Ada, "daemon status")["pid"].clone();
    let scope = lab.root(&format!("sed 's,.*/,,' /proc/{greedy}/cgroup"));
    assert!(scope.ends_with(".scope"), "{scope}");
    lab.must(
        User::Ada,
        &format!("systemctl --user set-property --runtime {scope} MemoryMax=20M MemorySwapMax=0"),
    );
    wait_for(END, || {
        let view = lab.json(User::Ada, "vm show greedy");
        (view["phase"] == "stopped")
            .then_some(())
            .ok_or(view.to_string())
    });
    assert_eq!(pid(lab, User::Ada, "first"), first);
    assert_eq!(lab.json(User::Ada, "daemon status")["pid"], daemon);
    eprintln!("{}", lab.json(User::Ada, "vm show greedy")["last_end"]);
    lab.must(User::Ada, "banger vm delete --force greedy");
}

#[test]
fn e_two_users_do_not_meet() {
    needs_full_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    lab.root("banger system install --user bob");
    lab.must(
        User::Bob,
        &format!("banger vm create --name first --nat {SMALL}"),
    );
    let (hers, his) = (
        lab.json(User::Ada, "vm show first"),
        lab.json(User::Bob, "vm show first"),
    );
    assert_eq!(his["network"], "tap", "{his}");
    assert_ne!(
        (&hers["id"], &hers["address"]),
        (&his["id"], &his["address"])
    );
    assert_eq!(lab.json(User::Bob, "vm list").as_array().unwrap().len(), 1);
    let (status, socket) = (lab.json(User::Ada, "daemon status"), "daemon status");
    assert_ne!(status["dns"], lab.json(User::Bob, socket)["dns"]);
    // He reaches none of her sockets, nor her process, nor does his guest reach hers.
    let pried = lab.run(
        User::Bob,
        &format!(
            "banger --socket {} vm list; ls /home/ada/.local/state/banger; \
         test -w /run/banger/1000/root.sock && echo her root; kill -9 {}",
            status["socket"].as_str().unwrap(),
            hers["pid"]
        ),
    );
    assert_ne!(pried.status, 0, "{pried:?}");
    assert_eq!(pried.stdout.trim(), "", "{pried:?}");
    let address = hers["address"].as_str().unwrap();
    let ask = format!("timeout 10 bash -c 'exec 3<>/dev/tcp/{address}/22 && head -n 1 <&3'");
    let run = lab.run(User::Bob, &format!("banger vm ssh first -- {ask}"));
    assert_eq!(run.stdout.trim(), "", "his guest reached hers");
    assert_eq!(pid(lab, User::Ada, "first"), hers["pid"].as_u64().unwrap());
    lab.must(User::Bob, "banger vm delete --force first");
}

/// What `jailer = true` gives to an ordinary user's VM, by its process.
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

#[test]
fn eb_firecracker_is_jailed_by_the_root_program() {
    needs_full_lab!();
    if std::env::var_os("FIRECRACKER").is_none() {
        eprintln!(
            "SKIPPED: {}: FIRECRACKER names no firecracker",
            module_path!()
        );
        return;
    }
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    let jailer = format!("{PATIENT}\njailer = true\nhypervisor = \"firecracker\"");
    lab.configure(User::Ada, &jailer);
    let report = lab.json(User::Ada, "doctor").to_string();
    assert!(report.contains("root jails with"), "{report}");
    let before = leftovers::list(lab);
    lab.must(
        User::Ada,
        &format!("banger vm create --name jailed --nat {SMALL}"),
    );
    let view = lab.json(User::Ada, "vm show jailed");
    assert_eq!(view["hypervisor"], "firecracker-jailed", "{view}");
    is_jailed(lab, &view);
    let keep = "echo kept > /root/kept; echo kept > /opt/kept; sync";
    lab.must(
        User::Ada,
        &format!("banger vm ssh jailed -- sh -c '{keep}'"),
    );
    assert_eq!(heard_outside(lab, User::Ada, "jailed"), "outside");
    // A daemon that is killed is followed by one that finds it.
    let daemon = lab.json(User::Ada, "daemon status")["pid"].clone();
    lab.root(&format!("kill -9 {daemon}"));
    wait_for(END, || {
        let run = lab.run(User::Ada, "banger daemon status");
        (run.status == 0).then_some(()).ok_or(run.stderr)
    });
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
    let units = lab.root("systemctl list-units --all --no-legend 'banger-1-*.service'");
    assert_eq!(units, "");
    lab.configure(User::Ada, PATIENT);
}

#[test]
fn f_a_restart_of_the_host_stops_vms_cleanly() {
    needs_full_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    let late = "sync; echo unsynced > /root/late; echo unsynced > /opt/late";
    lab.must(User::Ada, &format!("banger vm ssh first -- sh -c '{late}'"));
    let asked = Instant::now();
    lab.reboot();
    eprintln!(
        "a restart of the host with a VM took {:.0?}",
        asked.elapsed()
    );
    let view = lab.json(User::Ada, "vm show first");
    assert_eq!(view["phase"], "stopped", "{view}");
    lab.must(User::Ada, "banger vm start first");
    let found = lab.must(User::Ada, "banger vm ssh first -- cat /root/late /opt/late");
    assert_eq!(found, "unsynced\nunsynced");
}

#[test]
fn g_nothing_is_left_after_delete_and_uninstall() {
    needs_full_lab!();
    let shared = shared();
    let lab = shared.as_ref().unwrap();
    lab.must(User::Ada, "banger vm delete --force first");
    let left: Vec<String> = leftovers::list(lab)
        .into_iter()
        .filter(|it| it.contains("bg1") || it.contains("banger-1") || it.contains("/vms/"))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
    lab.must(User::Ada, "banger system uninstall");
    let left = lab.root("ls -d /run/banger/1000 /etc/banger/1000.json 2>/dev/null; true");
    assert_eq!(left, "");
}

#[test]
fn z_the_lab_ends() {
    needs_lab!();
    drop(shared().take());
}
