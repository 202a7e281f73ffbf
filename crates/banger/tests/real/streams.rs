//! Streams of a real guest: what is left of them after many, and after kills at any moment.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{World, kill, shared, wait_for};
use crate::{needs_long_tests, needs_real_vms};

/// A guest without KVM is slow to notice what happens to its processes.
const SOON: Duration = Duration::from_secs(120);

/// What commands, copies and forwards use while they last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Census {
    /// Descriptors of the daemon.
    daemon: usize,
    /// Processes of the guest's program, and all their descriptors.
    guest: (usize, usize),
}

impl Census {
    fn take(world: &World) -> Self {
        let script = "set -- $(pgrep -x banger-guest); echo $#; \
                      for p; do ls /proc/$p/fd; done 2>/dev/null | wc -l";
        let counted = world.must(&["vm", "exec", "first", "--", "sh", "-c", script]);
        let (processes, descriptors) = counted.trim().split_once('\n').unwrap();
        let descriptors = descriptors.trim().parse().unwrap();
        let folder = format!("/proc/{}/fd", world.daemon_pid());
        Self {
            daemon: std::fs::read_dir(folder).unwrap().count(),
            guest: (processes.parse().unwrap(), descriptors),
        }
    }

    /// Waits until no more is in use than before; other work of the daemon has a descriptor or two.
    fn wait(world: &World, before: &Self) {
        wait_for(SOON, || {
            let now = Self::take(world);
            let is_gone = now.daemon <= before.daemon + 3
                && now.guest.0 <= before.guest.0
                && now.guest.1 <= before.guest.1 + 3;
            is_gone
                .then_some(())
                .ok_or(format!("{before:?} became {now:?}"))
        });
    }
}

/// Waits until no process of the guest has this number among its arguments.
fn wait_until_gone(world: &World, mark: u32) {
    let script = format!("pgrep -af '[s]leep {mark}' || :");
    wait_for(SOON, || {
        let left = world.must(&["vm", "exec", "first", "--", "sh", "-c", &script]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

fn exec(world: &World, words: &[&str]) -> Command {
    let mut command = world.command(&[&["vm", "exec", "first", "--"], words].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn end(mut client: Child) {
    client.kill().unwrap();
    client.wait().unwrap();
}

pub(crate) fn a_hundred_commands_at_once_and_clients_killed_at_any_moment_leave_nothing() {
    needs_real_vms!();
    let world = shared();
    world.first();
    Census::take(&world);
    let before = Census::take(&world);
    let began = Instant::now();
    let clients: Vec<Child> = (0..100)
        .map(|number| {
            let mut command = exec(&world, &["echo", &number.to_string()]);
            command.spawn().unwrap()
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let output = client.wait_with_output().unwrap();
        let reason = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{number}: {reason}");
        assert_eq!(output.stdout, format!("{number}\n").as_bytes());
    }
    eprintln!("a hundred commands at once took {:?}", began.elapsed());
    for (mark, after) in (7100..).zip([0, 20, 60, 120, 250, 500, 1000]) {
        let client = exec(&world, &["sleep", &mark.to_string()]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        end(client);
    }
    let file = world.path("large");
    std::fs::write(&file, vec![7; 32 << 20]).unwrap();
    let to = "first:/srv/large";
    for after in [20, 100, 300, 900] {
        let mut copy = world.command(&["vm", "cp", file.to_str().unwrap(), to]);
        copy.stdout(Stdio::null()).stderr(Stdio::null());
        let copy = copy.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        end(copy);
    }
    for mark in 7100..7107 {
        wait_until_gone(&world, mark);
    }
    Census::wait(&world, &before);
    // What a killed copy has left is continued, or replaced, by the next.
    world.must(&["vm", "cp", file.to_str().unwrap(), to]);
    let sum = world.must(&["vm", "exec", "first", "--", "sha256sum", "/srv/large"]);
    let ours = crate::world::host("sha256sum", &[file.to_str().unwrap()]);
    assert_eq!(
        sum.split_once(' ').unwrap().0,
        ours.split_once(' ').unwrap().0
    );
    world.must(&[
        "vm",
        "exec",
        "first",
        "--",
        "sh",
        "-c",
        "rm -rf /srv/*large*",
    ]);
    std::fs::remove_file(file).unwrap();
}

pub(crate) fn a_daemon_killed_during_commands_ends_them_and_their_clients() {
    needs_real_vms!();
    let world = shared();
    world.first();
    for (mark, after) in [(7201, 0), (7202, 50), (7203, 400)] {
        let script = format!("echo open; exec sleep {mark}");
        let mut open = exec(&world, &["sh", "-c", &script]).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(open.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        // This one has not begun, or only just.
        let young = exec(&world, &["sleep", &mark.to_string()]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        kill(world.daemon_pid());
        for client in [open, young] {
            let output = client.wait_with_output().unwrap();
            let reason = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(255), "{reason}");
            assert!(reason.contains("error"), "{reason}");
        }
        // The next daemon begins a conversation of its own; the guest ends what was of the last.
        wait_until_gone(&world, mark);
    }
}

pub(crate) fn thousands_of_short_commands_leave_nothing() {
    needs_long_tests!();
    let world = shared();
    world.first();
    // An emulated guest takes a quarter of a second for each.
    let is_emulated = !std::path::Path::new("/dev/kvm").exists();
    let many = if is_emulated { 1000 } else { 10_000 };
    Census::take(&world);
    let before = Census::take(&world);
    let memory = || {
        let script = "awk '/^VmRSS/ { sum += $2 } END { print sum }' \
                      $(for p in $(pgrep -x banger-guest); do echo /proc/$p/status; done)";
        let guest = world.must(&["vm", "exec", "first", "--", "sh", "-c", script]);
        guest.trim().parse::<u64>().unwrap()
    };
    let run = |many: u32| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..many / 4 {
                        let output = exec(&world, &["true"]).output().unwrap();
                        assert!(output.status.success(), "{output:?}");
                    }
                });
            }
        });
    };
    run(many / 10);
    let early = memory();
    run(many);
    let late = memory();
    eprintln!("the guest's programs had {early} KiB, and {late} KiB after {many} commands");
    assert!(late < early + 4096, "{early} KiB became {late} KiB");
    Census::wait(&world, &before);
}
