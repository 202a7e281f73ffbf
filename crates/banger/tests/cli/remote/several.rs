//! Several hosts at once, and streams whose connection breaks.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::machines::{TwoMachines, free_port, two_machines};
use crate::environment::Run;

/// Runs the client on its own machine, which has a simulated daemon, too.
fn outcome(two: &TwoMachines, arguments: &[&str]) -> Run {
    Run::of(
        two.command(arguments)
            .env("BANGER_SIM", "1")
            .output()
            .unwrap(),
    )
}

fn done(two: &TwoMachines, arguments: &[&str]) -> Run {
    let run = outcome(two, arguments);
    assert_eq!(run.status, 0, "banger {arguments:?}: {run:#?}");
    run
}

/// Names two hosts: `lab`, and `off`, where nothing listens.
fn name_hosts(two: &TwoMachines) {
    done(two, &["host", "add", "lab", "lab"]);
    let off = format!("127.0.0.1:{}", free_port());
    done(two, &["host", "add", "off", &off]);
}

#[test]
fn all_hosts_are_listed_and_one_that_is_off_is_named() {
    let Some(two) = two_machines("") else { return };
    name_hosts(&two);
    done(&two, &["vm", "create", "here", "--no-start"]);
    done(&two, &["--host", "lab", "vm", "create", "there"]);
    let began = Instant::now();
    let run = outcome(&two, &["vm", "list", "--all-hosts"]);
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(run.status, 1, "{run:#?}");
    let lines: Vec<Vec<&str>> = run
        .stdout
        .lines()
        .map(|it| it.split_whitespace().take(3).collect())
        .collect();
    let expected = [
        ["HOST", "NAME", "PHASE"],
        ["local", "here", "stopped"],
        ["lab", "there", "running"],
    ];
    assert_eq!(lines, expected, "{run:#?}");
    assert!(run.stderr.contains("warning: off is missing: "), "{run:#?}");
    assert!(run.stderr.contains("Connection refused"), "{run:#?}");
    done(&two, &["host", "remove", "off"]);
    let run = done(&two, &["vm", "list", "--all-hosts", "--quiet"]);
    assert_eq!(run.stdout, "here\nthere.lab\n");
    let run = done(
        &two,
        &["vm", "list", "--all-hosts", "--json", "--phase", "running"],
    );
    let answer: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(answer["vms"][0]["host"], "lab", "{answer}");
    assert_eq!(answer["vms"][0]["name"], "there", "{answer}");
    assert_eq!(answer["vms"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(
        answer["unreachable"].as_array().unwrap().len(),
        0,
        "{answer}"
    );
}

#[test]
fn a_new_vm_goes_to_the_host_with_the_most_room() {
    let Some(two) = two_machines("") else { return };
    name_hosts(&two);
    // This leaves less of its 64G than the other host has free.
    done(&two, &["vm", "create", "large", "--memory", "24G"]);
    let run = done(&two, &["vm", "create", "first", "--on", "auto"]);
    assert!(run.stderr.contains("off is not considered"), "{run:#?}");
    assert!(run.stdout.contains("first is running on lab\n"), "{run:#?}");
    assert_eq!(two.server.json(&["vm", "list"])[0]["name"], "first");
    done(
        &two,
        &["--host", "lab", "vm", "create", "larger", "--memory", "40G"],
    );
    let run = done(&two, &["vm", "create", "second", "--on", "auto", "--json"]);
    let vm: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&vm["host"], &vm["name"]),
        (&"local".into(), &"second".into())
    );
    let run = done(
        &two,
        &["vm", "create", "third", "--on", "lab", "--no-start"],
    );
    assert!(run.stdout.contains("third is stopped"), "{run:#?}");
    let run = outcome(&two, &["vm", "create", "--on", "auto", "--memory", "60G"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("no host can take the VM"), "{run:#?}");
    assert!(run.stderr.contains("lab: "), "{run:#?}");
    let run = outcome(&two, &["vm", "create", "--on", "auto", "--image", "none"]);
    assert!(
        run.stderr.contains("lab: it has no image `none`"),
        "{run:#?}"
    );
}

#[test]
fn a_watch_goes_on_after_its_connection_broke() {
    let Some(two) = two_machines("") else { return };
    two.done(&["--host", "lab", "vm", "create", "web"]);
    let mut command = two.command(&["--host", "lab", "vm", "events", "-f"]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("web"));
    for master in two.masters() {
        // The watch itself has the directory in its environment, not on its command line.
        kill_process(master, Signal::KILL).unwrap();
    }
    let mut stderr = BufReader::new(watch.stderr.take().unwrap()).lines();
    let line = stderr.next().unwrap().unwrap();
    assert!(line.contains("the connection to lab is lost"), "{line}");
    two.done(&["--host", "lab", "vm", "stop", "web"]);
    let stopped = lines.find(|line| line.as_ref().is_ok_and(|it| it.contains("stopped")));
    assert!(stopped.is_some());
    watch.kill().unwrap();
    watch.wait().unwrap();
}
