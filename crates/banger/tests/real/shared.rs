//! Tests on shared guests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::needs_real_vms;
use crate::world::{World, host, kill, shared, wait_for};

const BOOT: Duration = Duration::from_secs(300);

pub(crate) fn each_vmm_runs_as_an_unprivileged_user_of_its_own() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let pid = world.show("first")["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uids = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    let ids: Vec<&str> = uids.split_whitespace().skip(1).collect();
    assert!(
        ids.iter()
            .all(|id| id.parse::<u32>().unwrap() >= 1_900_000_000),
        "{uids}"
    );
    let groups = status
        .lines()
        .find(|line| line.starts_with("Groups:"))
        .unwrap();
    assert_eq!(groups.trim_end(), "Groups:");
    assert!(status.contains("Seccomp:\t2"), "QEMU's sandbox is off");
}

pub(crate) fn the_guest_reaches_the_outside_with_nat_only() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let update = "apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20 update";
    world.sh("first", &format!("timeout 300 {update}"));
    world.must(&["vm", "set", "first", "--no-nat"]);
    let resolvers = world.sh(
        "first",
        "sed -n 's/^nameserver //p' /run/banger/resolv.conf",
    );
    let first = resolvers.lines().next().unwrap();
    let probe = format!("timeout 10 bash -c 'echo > /dev/tcp/{first}/53'");
    let run = world.run(&["vm", "ssh", "first", "--", "sh", "-c", &probe]);
    // timeout(1) exits with 124 if nothing answers.
    assert_eq!(run.status, 1, "{first} is refused at once: {}", run.stderr);
    assert!(
        world.show("first")["notes"]
            .to_string()
            .contains("no network access beyond")
    );
    world.must(&["vm", "set", "first", "--nat"]);
    world.sh("first", &probe);
}

/// Asks banger's resolver for a record of a name (RFC 1035, 4.1); returns the code and the address.
fn ask(world: &World, name: &str, kind: u8) -> (u8, Option<[u8; 4]>) {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let resolver = ("127.0.0.1", world.dns_port);
    socket.send_to(&question, resolver).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    let answer = &answer[..length];
    let address = (answer[7] > 0).then(|| answer[length - 4..].try_into().unwrap());
    (answer[3] & 15, address)
}

pub(crate) fn the_name_of_a_vm_is_answered_and_no_other() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let address = world.show("first")["address"].as_str().unwrap().to_owned();
    let (code, found) = ask(&world, "first.vm", 1);
    assert_eq!(code, 0);
    let found = found.unwrap().map(|byte| byte.to_string()).join(".");
    assert_eq!(found, address);
    assert_eq!(ask(&world, "first.vm", 28), (0, None), "AAAA");
    assert_eq!(ask(&world, "nobody.vm", 1).0, 3, "NXDOMAIN");
    assert_eq!(ask(&world, "example.org", 1).0, 5, "REFUSED");
}

pub(crate) fn guests_do_not_reach_each_other_nor_the_host() {
    needs_real_vms!();
    let world = shared();
    world.first();
    world.second();
    for vm in ["first", "second"] {
        world.must(&["vm", "set", vm, "--no-nat"]);
    }
    let second = world.show("second")["address"].as_str().unwrap().to_owned();
    let reach = |address: &str, port: u16| {
        let probe = format!("timeout 10 bash -c 'echo > /dev/tcp/{address}/{port}'");
        world
            .run(&["vm", "ssh", "first", "--", "sh", "-c", &probe])
            .status
    };
    assert_ne!(reach(&second, 22), 0, "a guest reached another");
    let gateway = world.address(1);
    let listener = std::net::TcpListener::bind((gateway.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_ne!(reach(&gateway, port), 0, "it reached the host");
    // The host reaches both.
    assert_eq!(world.sh("second", "hostname"), "second");
}

pub(crate) fn a_flushed_rule_set_is_put_back() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let name = world.table();
    let before = host("nft", &["list", "table", "inet", &name]);
    host("nft", &["delete", "table", "inet", &name]);
    let flushed = Instant::now();
    wait_for(Duration::from_secs(10), || {
        let now = host("nft", &["list", "table", "inet", &name]);
        let address = world.address(2);
        let elements = |rules: &str| rules.matches(&address).count();
        if elements(&now) == elements(&before) {
            Ok(())
        } else {
            Err(now)
        }
    });
    eprintln!("the rule set was back after {:?}", flushed.elapsed());
    drop(world);
}

pub(crate) fn vms_and_their_sessions_outlive_a_killed_daemon() {
    needs_real_vms!();
    let world = shared();
    world.first();
    world.second();
    let pid = world.show("first")["pid"].clone();
    let mut session = world
        .command(&["vm", "ssh", "first", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
    let mut stdin = session.stdin.take().unwrap();
    writeln!(stdin, "before").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "before");
    let script = "for i in 1 2 3; do echo $i; sleep 1; done; echo end >&2; exit 5";
    let detach = ["vm", "exec", "first", "--detach", "--name", "loop", "--"];
    world.must(&[&detach[..], &["sh", "-c", script]].concat());
    let daemon = world.daemon_pid();
    kill(daemon);
    writeln!(stdin, "after").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "after");
    drop(stdin);
    assert!(session.wait().unwrap().success());
    // The next client starts the next daemon, which adopts both.
    let view = world.show("first");
    assert_ne!(world.daemon_pid(), daemon);
    assert_eq!((&view["phase"], &view["pid"]), (&"running".into(), &pid));
    let job = world.run(&["vm", "attach", "first", "loop"]);
    assert_eq!(
        (job.status, job.stdout.as_str(), job.stderr.as_str()),
        (5, "1\n2\n3\n", "end\n")
    );
    world.must(&["vm", "job", "remove", "first", "loop"]);
    assert_eq!(world.sh("second", "hostname"), "second");
    assert_eq!(ask(&world, "first.vm", 1).0, 0);
    world.must(&["vm", "set", "second", "--nat"]);
    world.must(&["vm", "set", "second", "--no-nat"]);
}

pub(crate) fn a_killed_agent_and_broken_conversations_change_nothing() {
    needs_real_vms!();
    let world = shared();
    world.second();
    let id = world.show("second")["id"].as_str().unwrap().to_owned();
    let socket = world.state().join(format!("vms/{id}/machine/agent.sock"));
    let folder = std::fs::File::open(socket.parent().unwrap()).unwrap();
    use std::os::fd::AsRawFd as _;
    let short = format!("/proc/self/fd/{}/agent.sock", folder.as_raw_fd());
    for n in 0..100 {
        // The daemon may be connected just now; the port takes one client.
        if let Ok(mut stream) = UnixStream::connect(&short) {
            let _ = stream.write_all(&br#"{"hello":{"token":"ab","protocol":1}}"#[..n % 30 + 1]);
        }
    }
    world.sh("second", "pkill -KILL -x banger-guest");
    let began = Instant::now();
    let stopped = world.json(&["vm", "stop", "second"]);
    assert_eq!(stopped[0]["synced"], true, "{stopped}");
    assert_ne!(stopped[0]["by"], "kill", "{stopped}");
    eprintln!(
        "stopped by {} after {:?}",
        stopped[0]["by"],
        began.elapsed()
    );
}

pub(crate) fn memory_pressure_of_a_session_leaves_the_agent_alone() {
    needs_real_vms!();
    let world = shared();
    let vm = world.second();
    let agent = "systemctl show --property=MainPID,ControlGroup,NRestarts banger-agent";
    let before = world.sh(vm, agent);
    assert!(
        before.contains("ControlGroup=/banger.slice/banger-agent.service"),
        "{before}"
    );
    // The kernel kills the process with the most memory, which is the session's own.
    let hog = world.run(&["vm", "ssh", vm, "--", "tail", "/dev/zero"]);
    assert_ne!(hog.status, 0, "{hog:?}");
    assert_eq!(world.sh(vm, agent), before);
    assert_eq!(world.json(&["vm", "stop", vm])[0]["synced"], true);
}

pub(crate) fn the_agent_answers_while_a_shutdown_hangs() {
    needs_real_vms!();
    let world = shared();
    let vm = world.second();
    world.sh(
        vm,
        "systemd-run --unit=hangs --property=TimeoutStopSec=1000 \
         --property='ExecStop=sleep 1000' sleep infinity",
    );
    world.run(&["vm", "ssh", vm, "--", "poweroff"]);
    let no_sshd = || match world.run(&["vm", "ssh", vm, "--", "true"]) {
        run if run.status == 0 => Err("sshd listens".to_owned()),
        _ => Ok(()),
    };
    wait_for(Duration::from_secs(60), no_sshd);
    // Only the agent can still confirm that everything is written.
    let stopped = world.json(&["vm", "stop", "--timeout", "20", vm]);
    assert_eq!(stopped[0]["synced"], true, "{stopped}");
    assert_eq!(stopped[0]["by"], "terminate", "{stopped}");
}

pub(crate) fn a_panic_is_reported_and_a_reboot_starts_again() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let before = world.show("first");
    let boot_id = world.sh("first", "cat /proc/sys/kernel/random/boot_id");
    // The reboot breaks the connection, whatever its status.
    world.run(&["vm", "ssh", "first", "--", "reboot"]);
    wait_for(BOOT, || {
        let view = world.show("first");
        if view["phase"] == "running" && view["pid"] != before["pid"] {
            Ok(())
        } else {
            Err(view.to_string())
        }
    });
    assert_ne!(
        world.sh("first", "cat /proc/sys/kernel/random/boot_id"),
        boot_id
    );
    assert_eq!(world.show("first")["address"], before["address"]);
    let panic = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger";
    let mut cut = world
        .command(&["vm", "ssh", "first", "--", "sh", "-c", panic])
        .spawn()
        .unwrap();
    let view = world.wait_phase("first", "stopped", Duration::from_secs(60));
    assert_eq!(view["last_end"]["reason"], "panic", "{view}");
    assert!(
        view["last_end"]["detail"]
            .as_str()
            .unwrap()
            .contains("sysrq triggered crash"),
        "{view}"
    );
    let _ = cut.kill();
    let _ = cut.wait();
    world.must(&["vm", "start", "first"]);
}

pub(crate) fn everything_persists_and_disks_grow() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let identity = "cat /etc/machine-id; cut -d' ' -f1,2 /run/banger/ssh_host_ed25519_key.pub";
    let before = world.sh("first", identity);
    world.sh(
        "first",
        "echo kept > /opt/file; echo kept > /root/file; mkdir -p -m 700 /root/.ssh; \
         echo '# mine' >> /root/.ssh/authorized_keys; echo '127.0.0.9 mine' >> /etc/hosts; \
         echo '# mine' > /etc/ssh/sshd_config.d/50-mine.conf",
    );
    world.must(&["vm", "stop", "first"]);
    world.must(&[
        "vm",
        "set",
        "first",
        "--disk-size",
        "2G",
        "--system-disk-size",
        "20G",
    ]);
    world.must(&["vm", "start", "first"]);
    let kept = world.sh(
        "first",
        "cat /opt/file /root/file; tail -n 1 /root/.ssh/authorized_keys; grep mine /etc/hosts; \
         cat /etc/ssh/sshd_config.d/50-mine.conf",
    );
    assert_eq!(kept, "kept\nkept\n# mine\n127.0.0.9 mine\n# mine");
    assert_eq!(world.sh("first", identity), before);
    let sizes = world.sh(
        "first",
        "df --output=size -BM / /root | tail -n 2 | tr -d ' M'",
    );
    let sizes: Vec<u64> = sizes.lines().map(|it| it.parse().unwrap()).collect();
    assert!(sizes[0] > 19_000 && sizes[1] > 1_800, "{sizes:?}");
}

/// The clone is made while both are stopped; only the clone is started.
fn a_clone_has_the_files_and_another_identity(world: &World, of: &str) {
    world.must(&["vm", "clone", of, "copy"]);
    let machine_id = |vm: &str| {
        let id = world.show(vm)["id"].as_str().unwrap().to_owned();
        let record = world.state().join("vms").join(id).join("vm.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        record["vm"]["machine_id"].as_str().unwrap().to_owned()
    };
    world.must(&["vm", "start", "copy"]);
    let facts = world.sh(
        "copy",
        "cat /root/late /etc/hostname /etc/machine-id; hostname; getent hosts copy.vm | wc -l",
    );
    let facts: Vec<&str> = facts.lines().collect();
    assert_eq!(&facts[..2], ["unsynced", "copy"], "{facts:?}");
    assert_eq!(facts[2], machine_id("copy"));
    assert_ne!(facts[2], machine_id(of));
    assert_eq!(&facts[3..5], ["copy", "1"], "{facts:?}");
    world.must(&["vm", "delete", "--force", "copy"]);
}

pub(crate) fn poweroff_in_the_guest_ends_as_stopped() {
    needs_real_vms!();
    let world = shared();
    world.first();
    world.sh("first", "echo unsynced > /root/late; sync");
    world.run(&["vm", "ssh", "first", "--", "poweroff"]);
    let view = world.wait_phase("first", "stopped", Duration::from_secs(120));
    assert_eq!(view["last_end"]["reason"], "poweroff", "{view}");
    a_clone_has_the_files_and_another_identity(&world, "first");
}

pub(crate) fn delete_leaves_nothing_on_the_host() {
    needs_real_vms!();
    let world = World::new(None);
    world.first();
    let id = world.show("first")["id"].as_str().unwrap().to_owned();
    world.must(&["vm", "delete", "--force", "first"]);
    assert_eq!(world.json(&["vm", "list"]).as_array().unwrap().len(), 0);
    assert!(!host("ip", &["-o", "link"]).contains(&id), "a TAP is left");
    let processes = host("ps", &["-eo", "args"]);
    assert!(!processes.contains(&id), "a process is left: {processes}");
    let folder = world.state().join("vms").join(&id);
    assert!(!folder.exists(), "a folder is left");
    let rules = host("nft", &["list", "ruleset"]);
    let network = world.address(0);
    let network = network.trim_end_matches('0');
    assert!(!rules.contains(network), "{rules}");
    // The ledger of forwarding lists guests by their TAPs.
    for entry in std::fs::read_dir("/run/banger").unwrap().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".json") {
            // The end of another VM may remove it just now.
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            assert!(!text.contains(&id), "{text}");
        }
    }
}
