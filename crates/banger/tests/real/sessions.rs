//! Sessions of `banger vm ssh` with a real guest: their ends, and the input of their commands.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{World, host, shared, wait_for};
use crate::{needs_long_tests, needs_real_vms};

/// The documented limit for a session whose VM has ended.
const MINUTE: Duration = Duration::from_secs(60);
/// A guest without KVM is slow to notice changes of its processes.
const SOON: Duration = Duration::from_secs(60);

/// A client whose command runs in the guest. It ends with the test.
#[derive(Debug)]
struct OpenSession {
    client: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl OpenSession {
    /// Starts a command that prints a line, and waits for the line.
    fn open(world: &World, arguments: &[&str]) -> Self {
        let mut client = world
            .command(&[&["vm", "ssh"], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the command prints a line").unwrap();
        assert_eq!(first.trim_end(), "open");
        Self { client, lines }
    }

    /// The client's status, which must come within a minute of `since`.
    fn status_within_a_minute(&mut self, since: Instant) -> Option<i32> {
        let left = MINUTE.saturating_sub(since.elapsed());
        let status = wait_for(left, || match self.client.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err("the session is still open".to_owned()),
        });
        eprintln!("the session ended after {:?}", since.elapsed());
        status.code()
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
        // The pipe ends only when the client has exited.
        let _ = self.lines.by_ref().count();
    }
}

/// A command that runs until it is ended, with this number as a mark among its arguments.
fn stays(mark: u32) -> String {
    format!("echo open; exec sleep {mark}")
}

/// Waits until no process of the guest has this number among its arguments.
fn wait_until_gone(world: &World, vm: &str, mark: u32) {
    let script = format!("pgrep -af '^[s]leep {mark}$' || :");
    wait_for(SOON, || {
        let left = world.sh(vm, &script);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

pub(crate) fn a_vm_that_stops_or_is_killed_or_deleted_ends_its_sessions() {
    needs_long_tests!();
    let world = shared();
    world.running("closing", &["--memory", "256", "--disk-size", "64M"]);
    for end in [
        &["vm", "stop", "closing"][..],
        &["vm", "kill", "closing"],
        &["vm", "delete", "--force", "closing"],
    ] {
        world.must(&["vm", "start", "closing"]);
        let command = stays(98_761);
        let mut plain = OpenSession::open(&world, &["closing", "--", "sh", "-c", &command]);
        let mut terminal =
            OpenSession::open(&world, &["closing", "-t", "--", "sh", "-c", &command]);
        world.must(end);
        let ended = Instant::now();
        for session in [&mut plain, &mut terminal] {
            let status = session.status_within_a_minute(ended);
            assert!(
                status.is_some_and(|it| it == 255 || it > 128),
                "after {end:?} the session ended with {status:?}"
            );
        }
    }
}

pub(crate) fn a_command_that_a_signal_ends_gives_128_and_its_number() {
    needs_real_vms!();
    let world = shared();
    world.first();
    for (signal, status) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        let script = format!("kill -{signal} $$");
        for options in [&["first", "--"][..], &["first", "-t", "--"]] {
            let words = [&["vm", "ssh"], options, &["sh", "-c", &script]].concat();
            let run = world.run(&words);
            assert_eq!(run.status, status, "{words:?}: {}", run.stderr);
        }
    }
}

pub(crate) fn two_mebibytes_of_arguments_arrive() {
    needs_real_vms!();
    let world = shared();
    world.first();
    // Many words, like the result of a wildcard, and one of the maximum length on Linux.
    let long = "x".repeat((128 << 10) - 1);
    let words: Vec<String> = (0..18_000).map(|n| format!("{n:0>100}")).collect();
    let mut arguments = vec!["vm", "ssh", "first", "--", "sh", "-c"];
    arguments.extend(["printf '%s\\n' \"$@\" | sha256sum; exit 7", "sh", &long]);
    arguments.extend(words.iter().map(String::as_str));
    let bytes: usize = arguments.iter().map(|it| it.len() + 1).sum();
    assert!(bytes > 1_900_000, "{bytes}");
    let run = world.run(&arguments);
    assert_eq!(run.status, 7, "{}", run.stderr);
    let sum = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let mut input = child.stdin.take().unwrap();
            for word in std::iter::once(&long).chain(&words) {
                writeln!(input, "{word}")?;
            }
            drop(input);
            child.wait_with_output()
        })
        .unwrap();
    assert_eq!(run.stdout, String::from_utf8(sum.stdout).unwrap());
    assert_eq!(
        world.sh("first", "ls /dev/shm"),
        "",
        "the command's file is left"
    );
}

pub(crate) fn a_terminal_is_given_to_a_script() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let tty = world.must(&["vm", "ssh", "first", "-t", "--", "tty"]);
    assert!(tty.starts_with("/dev/pts/"), "{tty}");
    let run = world.run(&["vm", "ssh", "first", "--", "tty"]);
    assert_eq!((run.stdout.trim_end(), run.status), ("not a tty", 1));
}

pub(crate) fn a_session_that_is_cut_off_leaves_no_command_running() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let (plain, terminal, kept) = (98_762, 98_763, 98_764);
    let mut sessions = [
        OpenSession::open(&world, &["first", "--", "sh", "-c", &stays(plain)]),
        OpenSession::open(&world, &["first", "-t", "--", "sh", "-c", &stays(terminal)]),
        OpenSession::open(&world, &["first", "--", "nohup", "sh", "-c", &stays(kept)]),
    ];
    for session in &mut sessions {
        session.client.kill().unwrap();
        session.client.wait().unwrap();
    }
    wait_until_gone(&world, "first", plain);
    wait_until_gone(&world, "first", terminal);
    // A command that asked to continue does, and is ended by the test.
    world.sh("first", &format!("pkill -f '^[s]leep {kept}$'"));
    // A pipeline ends as a whole.
    let script = format!("echo open; sleep {plain} | sleep {plain}; sleep {plain}");
    drop(OpenSession::open(
        &world,
        &["first", "--", "sh", "-c", &script],
    ));
    wait_until_gone(&world, "first", plain);
}

pub(crate) fn fifty_sessions_at_once_all_succeed() {
    needs_long_tests!();
    let world = shared();
    world.first();
    let began = Instant::now();
    let clients: Vec<Child> = (0..50)
        .map(|number| {
            world
                .command(&["vm", "ssh", "first", "--", "echo", &number.to_string()])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let output = client.wait_with_output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(printed, format!("{number}\n"), "{said}");
        assert!(output.status.success(), "{said}");
    }
    eprintln!("fifty sessions took {:?}", began.elapsed());
}

pub(crate) fn connections_that_never_log_in_do_not_lock_the_owner_out() {
    needs_real_vms!();
    let world = shared();
    world.first();
    let address = world.show("first")["address"].as_str().unwrap().to_owned();
    let sshd: SocketAddr = format!("{address}:22").parse().unwrap();
    let connect = || TcpStream::connect_timeout(&sshd, MINUTE).unwrap();
    // A port scan connects and closes, or reads the banner, or sends something that is not SSH.
    for number in 0..60 {
        let mut stream = connect();
        stream.set_read_timeout(Some(MINUTE)).unwrap();
        match number % 3 {
            0 => {}
            1 => drop(stream.read(&mut [0; 64])),
            _ => drop(stream.write_all(b"GET / HTTP/1.0\r\n\r\n")),
        }
    }
    // Other clients stay connected, and never send anything.
    let silent: Vec<TcpStream> = (0..60).map(|_| connect()).collect();
    assert_eq!(world.sh("first", "echo in"), "in");
    drop(silent);
    // An unknown key is tried again and again.
    let key = world.path("strangers-key");
    if !key.exists() {
        let file = key.to_str().unwrap();
        host("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", file]);
    }
    for _ in 0..6 {
        let status = Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "IdentitiesOnly=yes",
            ])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-o", "LogLevel=QUIET", "-l", "root", "-i"])
            .args([key.to_str().unwrap(), &address, "true"])
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(255));
    }
    assert_eq!(world.sh("first", "echo in"), "in");
}
