//! `vm list`: the selection, the order, and the formats.

use serde_json::{Value, json};

use crate::environment::{TestEnvironment, program};
use crate::screen::Screen;

fn with_three_vms() -> TestEnvironment {
    let environment = TestEnvironment::new();
    for (name, memory, label) in [
        ("web-1", "512M", "team=web"),
        ("web-2", "10G", "team=web"),
        ("db", "2G", "note=a, \"b\""),
    ] {
        let make = ["vm", "create", name, "--no-start", "--memory", memory];
        environment.done(&[&make[..], &["--label", label]].concat());
    }
    environment.done(&["vm", "start", "web-2"]);
    environment
}

#[test]
fn vms_are_found_by_name_label_and_phase() {
    let environment = with_three_vms();
    for (words, names) in [
        (&["web-*"][..], "web-1\nweb-2\n"),
        (&["db", "web-1"], "db\nweb-1\n"),
        (&["-l", "team"], "web-1\nweb-2\n"),
        (&["-l", "!team"], "db\n"),
        (&["--phase", "running"], "web-2\n"),
        (
            &[
                "--phase",
                "Stopped,running",
                "--sort",
                "memory",
                "--reverse",
            ],
            "web-2\ndb\nweb-1\n",
        ),
        (&["web-*", "--phase", "stopped"], "web-1\n"),
        (&["--sort", "uptime"], "db\nweb-1\nweb-2\n"),
        (&["nobody"], ""),
    ] {
        let run = environment.done(&[&["vm", "list", "-o", "name"], words].concat());
        assert_eq!(run.stdout, names, "{words:?}");
    }
    let run = environment.done(&["vm", "list", "nobody"]);
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("", "no VM matches\n")
    );
    assert_eq!(environment.json(&["vm", "list", "nobody"]), json!([]));
    for wrong in [
        &["--phase", "asleep"][..],
        &["--columns", "nonsense"],
        &["--sort", "colour"],
        &["-o", "yaml"],
        &["Web*"],
    ] {
        let run = environment.run(&[&["vm", "list"], wrong].concat());
        assert_eq!(run.status, 2, "{wrong:?}: {run:#?}");
    }
}

#[test]
fn a_list_has_the_form_that_is_asked_for() {
    let environment = with_three_vms();
    let list = |words: &[&str]| environment.done(&[&["vm", "list"], words].concat()).stdout;
    assert_eq!(
        list(&["--columns", "name,nat,memory", "--no-headers", "web-1"]),
        "web-1  off  512M\n"
    );
    assert_eq!(
        list(&["--columns", "memory,name,labels,uptime", "-o", "csv", "db"]),
        "memory_mib,name,labels,uptime_seconds\n2048,db,\"note=a, \"\"b\"\"\",\n"
    );
    let wide = list(&["-o", "wide"]);
    assert!(wide.starts_with("NAME   ID "), "{wide}");
    assert!(wide.lines().nth(1).unwrap().ends_with("note=a, \"b\""));
    let json: serde_json::Value = serde_json::from_str(&list(&["-o", "json"])).unwrap();
    assert_eq!(json, environment.json(&["vm", "list"]));
}

#[test]
fn a_watched_list_changes_with_the_vms_and_shows_what_they_use() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    let banger = program().to_str().unwrap();
    let screen = Screen::new(&environment, &[banger, "vm", "list", "--watch"], (24, 100));
    screen.waits("usage of the VM", |text| {
        let line = text.lines().find(|line| line.starts_with("web "));
        line.is_some_and(|line| line.contains("running") && line.contains("25%"))
    });
    environment.done(&["vm", "create", "db", "--no-start"]);
    screen.sees("db ");
    environment.done(&["vm", "stop", "web"]);
    screen.waits("a stopped VM uses nothing", |text| {
        let line = text.lines().find(|line| line.starts_with("web "));
        line.is_some_and(|line| line.contains("stopped") && !line.contains('%'))
    });
    environment.done(&["vm", "delete", "db"]);
    screen.sees_no("db ");
}

#[test]
fn a_watched_list_of_a_program_is_a_line_for_each_state() {
    use std::io::BufRead as _;
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web", "--no-start"]);
    let mut child = environment
        .command(&["vm", "list", "--watch", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()[0]["phase"], "stopped");
    environment.done(&["vm", "start", "web"]);
    while next()[0]["phase"] != "running" {}
    environment.done(&["daemon", "stop"]);
    assert!(child.wait().unwrap().success(), "it ends with the daemon");
}
