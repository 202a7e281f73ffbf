//! Closed readers, full disks, and ^C.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::environment::{Run, TestEnvironment};

#[test]
fn a_reader_that_went_away_is_no_panic() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web"]);
    for arguments in [
        &["vm", "list"][..],
        &["vm", "list", "--json"],
        &["vm", "show", "web"],
        &["vm", "logs", "web"],
        &["doctor"],
        &["completion", "bash"],
        &["--help"],
        &["daemon", "status"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = environment.command(arguments);
        let run = Run::of(command.stdout(writer).output().unwrap());
        assert!(!run.stderr.contains("panicked"), "{arguments:?}: {run:#?}");
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

/// Nothing happens after the first lines, so no later line notices the closed pipe.
#[test]
fn a_verb_that_follows_ends_with_its_reader() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web"]);
    environment.done(&[
        "vm", "exec", "web", "--detach", "--name", "job", "--", "stay",
    ]);
    for arguments in [
        &["vm", "list", "--watch"][..],
        &["vm", "events", "--follow"],
        &["vm", "logs", "web", "--follow"],
        &["vm", "job", "logs", "web", "job", "--follow"],
        &["vm", "console", "web", "--read-only"],
        &["daemon", "logs", "--follow"],
    ] {
        let mut command = environment.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut [0; 1]).unwrap();
        drop(output);
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => break None,
                None => std::thread::yield_now(),
            }
        };
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let is_success = status.is_some_and(|it| it.success());
        assert!(is_success, "{arguments:?}: {status:?}");
    }
}

#[test]
fn a_full_disk_is_reported() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web", "--no-start"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let run = Run::of(
        environment
            .command(&["vm", "list"])
            .stdout(full)
            .output()
            .unwrap(),
    );
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("write to standard output"), "{run:#?}");
}

#[test]
fn following_a_console_ends_with_130_at_an_interrupt() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web"]);
    let wanted = environment.command(&["vm", "logs", "-f", "web"]);
    // A shell that runs the tests in the background makes them ignore interrupts.
    let mut client = Command::new("env")
        .arg("--default-signal=INT")
        .arg(wanted.get_program())
        .args(wanted.get_args())
        .env_clear()
        .envs(
            wanted
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    client
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_eq!(client.try_wait().unwrap(), None, "it follows");
    let process = Pid::from_child(&client);
    rustix::process::kill_process(process, Signal::INT).unwrap();
    let run = Run::of(client.wait_with_output().unwrap());
    assert_eq!((run.status, run.stderr.as_str()), (130, ""));
}
