//! `vm list`: the selection, the order, and the formats.

use serde_json::json;

use crate::environment::TestEnvironment;

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
