//! What a shared guest runs, and the files and ports that go there and back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;
use std::time::Duration;

use crate::needs_real_vms;
use crate::world::{kill, shared, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn a_command_runs_with_exactly_its_arguments_and_its_status() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let nasty = [
        "a b",
        "",
        "*",
        "$HOME",
        "it's",
        "\"q\"",
        "new\nline",
        "é",
        "--",
        "\\",
    ];
    let mut command = vec!["printf", "<%s>"];
    command.extend(nasty);
    let expected: String = nasty.iter().map(|it| format!("<{it}>")).collect();
    assert_eq!(world.ssh("first", &command), expected);
    let run = world.run(&["vm", "ssh", "first", "--", "sh", "-c", "exit 7"]);
    assert_eq!(run.status, 7);
    command.splice(0..0, ["vm", "exec", "first", "--"]);
    assert_eq!(world.must(&command), expected);
}

/// A tree with a hole, a mode and a link is copied into the guest and back unchanged.
pub(crate) fn files_go_there_and_back() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let folder = tempfile::tempdir().unwrap();
    let (source, back) = (folder.path().join("tree"), folder.path().join("back"));
    std::fs::create_dir_all(source.join("below")).unwrap();
    let file = std::fs::File::create(source.join("below/data")).unwrap();
    file.write_at(&[10, 0, 255].repeat(1 << 20), 64 << 20)
        .unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o640))
        .unwrap();
    std::os::unix::fs::symlink("below/data", source.join("link")).unwrap();
    let (from, to) = (source.to_str().unwrap(), back.to_str().unwrap());
    world.must(&["vm", "cp", "-r", from, "first:/srv/tree"]);
    world.must(&["vm", "cp", "-r", "first:/srv/tree", to]);
    let (sent, kept) = (source.join("below/data"), back.join("below/data"));
    assert!(std::fs::read(&sent).unwrap() == std::fs::read(&kept).unwrap());
    let kept = std::fs::metadata(&kept).unwrap();
    assert_eq!(kept.mode() & 0o7777, 0o640);
    assert!(kept.blocks() * 512 < 32 << 20, "the hole is filled");
    let link = std::fs::read_link(back.join("link")).unwrap();
    assert_eq!(link.to_str(), Some("below/data"));
}

/// `vm forward` on a free port: sshd's first words come through it. Then the daemon holds it, and
/// the guest reaches a service of this machine.
pub(crate) fn a_port_of_this_machine_leads_to_the_guest() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let mut command = world.command(&["vm", "forward", "first", "0:22"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    sshd_answers(line.split_whitespace().next().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let back = format!("0:{}", service.local_addr().unwrap().port());
    let held = world.json(&["vm", "forward", "first", "0:22", "-R", &back, "--detach"]);
    sshd_answers(held[0]["listen"].as_str().unwrap());
    let (_, port) = held[1]["listen"]
        .as_str()
        .unwrap()
        .rsplit_once(':')
        .unwrap();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo question >&3; cat <&3");
    let asks = ["vm", "exec", "first", "--", "bash", "-c", &script];
    let mut asking = world.command(&asks).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stream, _) = service.accept().unwrap();
    let mut question = [0; 9];
    stream.read_exact(&mut question).unwrap();
    stream.write_all(b"answer").unwrap();
    drop(stream);
    let mut answer = String::new();
    let mut said = asking.stdout.take().unwrap();
    said.read_to_string(&mut answer).unwrap();
    asking.wait().unwrap();
    assert_eq!((&question, answer.as_str()), (b"question\n", "answer"));
    world.must(&["vm", "forward", "first", "--remove", "all"]);
    assert_eq!(world.show("first")["forwards"], serde_json::json!([]));
}

/// A client that is killed leaves no port open in the guest; one that the daemon holds outlives the
/// daemon.
pub(crate) fn a_guests_port_ends_with_its_client_and_outlives_the_daemon_that_holds_it() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let back = format!("0:{}", service.local_addr().unwrap().port());
    let listens = |port: &str| {
        let script = format!("ss -Htln sport = :{port}");
        !world
            .must(&["vm", "exec", "first", "--", "sh", "-c", &script])
            .is_empty()
    };
    let mut command = world.command(&["vm", "forward", "first", "-R", &back]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let (_, port) = line.split(' ').next().unwrap().rsplit_once(':').unwrap();
    assert!(listens(port), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(PATIENCE, || match listens(port) {
        true => Err(format!("the guest still listens: {line}")),
        false => Ok(()),
    });
    let held = world.json(&["vm", "forward", "first", "-R", &back, "--detach"]);
    let (_, port) = held[0]["listen"]
        .as_str()
        .unwrap()
        .rsplit_once(':')
        .unwrap();
    kill(world.daemon_pid());
    wait_for(PATIENCE, || {
        let views = world.json(&["vm", "forward", "first", "--list"]);
        match views[0]["state"].as_str() {
            Some("listening") => Ok(()),
            _ => Err(views.to_string()),
        }
    });
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo question >&3");
    world.must(&["vm", "exec", "first", "--", "bash", "-c", &script]);
    let mut question = String::new();
    let (mut stream, _) = service.accept().unwrap();
    stream.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question\n");
    world.must(&["vm", "forward", "first", "--remove", "all"]);
    wait_for(PATIENCE, || match listens(port) {
        true => Err("the guest still listens".to_owned()),
        false => Ok(()),
    });
}

fn sshd_answers(address: &str) {
    let mut words = [0; 4];
    let mut stream = TcpStream::connect(address).unwrap();
    stream.read_exact(&mut words).unwrap();
    assert_eq!(&words, b"SSH-");
}

/// With the guest's interface down, a command still has its streams, its user and its status.
pub(crate) fn a_command_needs_no_network() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let script = "ip route save > /run/routes; ip link set eth0 down; cat; echo apart >&2; id -un; \
                  ip link set eth0 up; ip route restore < /run/routes; exit 9";
    let mut command = world.command(&["vm", "exec", "first", "-i", "--", "sh", "-c", script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), [0, 10, 255].repeat(1 << 20));
    let typist = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    typist.join().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "apart\n");
    let (echo, user) = output.stdout.split_at(3 << 20);
    assert!(echo == [0, 10, 255].repeat(1 << 20), "the echo differs");
    assert_eq!(user, b"root\n");
    let run = world.run(&["vm", "exec", "first", "--timeout", "1", "--", "sleep", "99"]);
    assert_eq!(run.status, 124, "{run:#?}");
    let ports = world.json(&["vm", "ports", "first"]).to_string();
    assert!(ports.contains("\"sshd\""), "{ports}");
    assert_eq!(world.ssh("first", &["echo", "back"]), "back");
}

/// The note comes after a command that the out-of-memory killer has killed, here in a control group, and not after
/// one that is killed otherwise.
pub(crate) fn a_guest_that_runs_out_of_memory_says_so() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let run = world.run(&["vm", "exec", "first", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!((run.status, run.stderr.as_str()), (137, ""));
    let eat = "echo 16M > /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max && exec tail /dev/zero";
    let run = world.run(&["vm", "exec", "first", "--", "sh", "-c", eat]);
    assert_eq!(run.status, 137, "{}", run.stderr);
    assert!(
        run.stderr.contains("has run out of memory"),
        "{}",
        run.stderr
    );
    let stats = world.must(&["vm", "stats", "first"]);
    assert!(stats.contains("out of memory"), "{stats}");
}
