//! Closed readers, full disks, and ^C.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

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
