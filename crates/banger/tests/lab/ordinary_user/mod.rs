//! Users who are not root, with the root program and units of systemd.
//!
//! ada may use sudo; bob may not, and root installs for him.

pub(crate) mod jailed;
pub(crate) mod node;

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::host::{Lab, User, wait_for};
use crate::shared::{PATIENT, Purpose, SMALL, SharedLab, lab};
use crate::{leftovers, needs_full_lab, needs_lab};

const END: Duration = Duration::from_secs(600);

/// The lab, with the root program installed for ada, and the default configuration of her daemon.
fn shared() -> SharedLab {
    let lab = lab(Purpose::OrdinaryUsers);
    lab.configure(User::Ada, PATIENT);
    lab.configure(User::Bob, PATIENT);
    let is_installed = lab.run(User::Ada, "test -e /etc/banger/1000.json");
    if is_installed.status == 0 {
        lab.must(User::Ada, "systemctl --user restart bangerd.service");
        return lab;
    }
    let given = "$(p=/srv/payload/firecracker; [ ! -e $p/firecracker ] || echo --firecracker $p/firecracker; \
                 [ ! -e $p/jailer ] || echo --jailer $p/jailer)";
    let installed = lab.must(User::Ada, &format!("banger system install {given} 2>&1"));
    eprintln!("ada installs:\n{installed}");
    lab
}

/// The same, with ada's VM `first` running.
fn with_first() -> SharedLab {
    let lab = shared();
    lab.running(User::Ada, "first", &format!("--nat {SMALL}"));
    lab
}

/// The names of ada's VMs.
fn vms(lab: &Lab) -> Vec<String> {
    let list = lab.json(User::Ada, "vm list");
    let list = list.as_array().unwrap().iter();
    list.map(|vm| vm["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The id of a VM's process.
fn pid(lab: &Lab, user: User, vm: &str) -> u64 {
    let view = lab.json(user, &format!("vm show {vm}"));
    assert_eq!(view["phase"], "running", "{view}");
    view["pid"].as_u64().unwrap()
}

/// The answer that a guest gets from a port of the machine of the lab, outside of the lab's NAT.
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

pub(crate) fn doctor_and_the_daemon_go_through_the_root_program() {
    needs_lab!();
    let shared = shared();
    let lab = &*shared;
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

pub(crate) fn a_vm_has_a_tap_and_nat_through_the_root_program() {
    needs_lab!();
    let shared = with_first();
    let lab = &*shared;
    lab.must(User::Ada, "banger vm set first --nat");
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

/// The output when bob tries to take ada's DNS port.
fn taken_by_bob(lab: &Lab, port: &str) -> String {
    let take = format!(
        "perl -MIO::Socket::INET -e 'for (qw(udp tcp)) {{ print IO::Socket::INET->new(\
         LocalAddr => \"127.0.0.1:{port}\", Proto => $_, ($_ eq \"tcp\" ? (Listen => 1) : ())) \
         ? \"$_ is taken \" : \"\" }}'"
    );
    lab.must(User::Bob, &take)
}

pub(crate) fn the_dns_port_is_reserved_with_and_without_a_daemon() {
    needs_full_lab!();
    let shared = shared();
    let lab = &*shared;
    let port = lab.root("sed -n 's/.*\"dns_port\": *\\([0-9]*\\).*/\\1/p' /etc/banger/1000.json");
    // Any name below `vm`: its NXDOMAIN can only come from banger.
    let ask = format!(
        "perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(PeerAddr => \
         \"127.0.0.1:{port}\", Proto => \"udp\"); $s->send(pack(\"n6\", 7, 256, 1, 0, 0, 0) . \
         \"\\x04none\\x02vm\\x00\" . pack(\"nn\", 1, 1)); alarm 20; $s->recv(my $r, 512); \
         print unpack(\"n\", substr($r, 2, 2)) & 15'"
    );
    lab.must(User::Ada, "banger vm list");
    assert_eq!(lab.must(User::Bob, &ask), "3");
    assert_eq!(taken_by_bob(lab, &port), "");
    lab.must(User::Ada, "banger daemon stop");
    assert_eq!(taken_by_bob(lab, &port), "");
    // Packets without a receiver start the port's keeper, but do not reach systemd's start limit.
    let knock = format!("for i in $(seq 300); do echo x > /dev/udp/127.0.0.1/{port}; done");
    lab.must(User::Bob, &format!("bash -c '{knock}'"));
    let unit = "systemctl is-active banger-port@1000.socket";
    assert_eq!(lab.root(unit), "active");
    lab.must(User::Ada, "banger vm list");
    assert_eq!(lab.must(User::Bob, &ask), "3");
    let report = lab.json(User::Ada, "doctor");
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|it| it["name"] == "DNS port").unwrap();
    assert_eq!(check["verdict"], "pass", "{check}");
}

pub(crate) fn vms_outlive_their_daemon_and_a_log_out() {
    needs_full_lab!();
    let shared = with_first();
    let lab = &*shared;
    let before = pid(lab, User::Ada, "first");
    lab.must(User::Ada, "systemctl --user restart bangerd.service");
    assert_eq!(pid(lab, User::Ada, "first"), before);
    lab.must(User::Ada, "systemctl --user stop bangerd.service");
    lab.root(&format!("kill -0 {before}"));
    lab.must(User::Ada, "systemctl --user start bangerd.service");
    assert_eq!(pid(lab, User::Ada, "first"), before);
    // Every session of hers ends, as at a logout.
    lab.root("for id in $(loginctl list-sessions --no-legend | awk '$3 == \"ada\" { print $1 }'); do loginctl terminate-session $id; done");
    lab.hang_up();
    assert_eq!(pid(lab, User::Ada, "first"), before);
    assert_eq!(
        lab.must(User::Ada, "banger vm ssh first -- hostname"),
        "first"
    );
}

pub(crate) fn a_daemon_whose_root_program_is_silent_never_goes_without_it() {
    needs_full_lab!();
    let shared = with_first();
    let lab = &*shared;
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

pub(crate) fn a_vmm_out_of_memory_takes_no_other_with_it() {
    needs_full_lab!();
    let shared = with_first();
    let lab = &*shared;
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

pub(crate) fn two_users_do_not_meet() {
    needs_full_lab!();
    let shared = with_first();
    let lab = &*shared;
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

pub(crate) fn a_restart_of_the_host_stops_vms_cleanly() {
    needs_full_lab!();
    let shared = with_first();
    let lab = &*shared;
    let late = "sync; echo unsynced > /root/late; echo unsynced > /opt/late";
    let vms = vms(lab);
    for vm in &vms {
        lab.must(User::Ada, &format!("banger vm ssh {vm} -- sh -c '{late}'"));
    }
    let asked = Instant::now();
    lab.reboot();
    eprintln!(
        "a restart of the host with {} took {:.0?}",
        vms.join(" and "),
        asked.elapsed()
    );
    for vm in &vms {
        let view = lab.json(User::Ada, &format!("vm show {vm}"));
        assert_eq!(view["phase"], "stopped", "{view}");
        lab.must(User::Ada, &format!("banger vm start {vm}"));
        let read = format!("banger vm ssh {vm} -- cat /root/late /opt/late");
        assert_eq!(lab.must(User::Ada, &read), "unsynced\nunsynced");
    }
}

pub(crate) fn uninstall_waits_for_vms_and_then_leaves_nothing() {
    needs_full_lab!();
    let shared = with_first();
    let lab = &*shared;
    let vms = vms(lab);
    let refused = lab.run(User::Ada, "banger system uninstall");
    assert_ne!(refused.status, 0, "{refused:?}");
    assert!(
        refused.stderr.contains("banger vm stop --all"),
        "{refused:?}"
    );
    // Nothing was changed.
    lab.must(User::Ada, "systemctl --user is-active bangerd.service");
    for vm in &vms {
        let hostname = format!("banger vm ssh {vm} -- hostname");
        assert_eq!(lab.must(User::Ada, &hostname), *vm);
        lab.must(User::Ada, &format!("banger vm delete --force {vm}"));
    }
    let left: Vec<String> = leftovers::list(lab)
        .into_iter()
        .filter(|it| it.contains("bg1") || it.contains("banger-1") || it.contains("/vms/"))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
    lab.must(User::Ada, "banger system uninstall");
    let left = lab.root("ls -d /run/banger/1000 /etc/banger/1000.json 2>/dev/null || true");
    assert_eq!(left, "");
}
