//! Volumes.

use serde_json::json;

use crate::environment::TestEnvironment;

#[test]
fn a_volume_goes_from_vm_to_vm_and_outlives_both() {
    let environment = TestEnvironment::new();
    let run = environment.done(&["volume", "list"]);
    assert!(run.stderr.contains("banger volume create"), "{run:#?}");
    let run = environment.done(&["volume", "create", "data", "--size", "2G"]);
    assert!(run.stdout.starts_with("data is created\n"), "{run:#?}");
    environment.done(&["vm", "create", "web", "--volume", "data:/srv/data"]);
    environment.done(&["vm", "create", "api", "--no-start"]);
    let run = environment.done(&["volume", "list"]);
    assert!(run.stdout.contains("data  2G"), "{run:#?}");
    assert!(run.stdout.contains("web"), "{run:#?}");
    let run = environment.done(&["vm", "show", "web"]);
    assert!(run.stdout.contains("data:/srv/data"), "{run:#?}");
    for (words, told) in [
        (
            &["vm", "set", "api", "--volume", "data:/data"][..],
            "--no-volume data",
        ),
        (&["volume", "delete", "data"], "in use"),
        (
            &["vm", "set", "api", "--volume", "none:/data"],
            "no volume `none`",
        ),
        (&["volume", "create", "data"], "already"),
    ] {
        let run = environment.run(words);
        assert_eq!(run.status, 1, "{run:#?}");
        assert!(run.stderr.contains(told), "{run:#?}");
    }
    for words in [
        &["vm", "set", "api", "--volume", "data"][..],
        &["vm", "set", "api", "--volume", "data:srv"],
        &["vm", "set", "api", "--volume", "data:/proc/x"],
        &["vm", "set", "api", "--volume", "../x:/srv"],
        &["volume", "create", "A.b"],
        &["volume", "create", "x", "--size", "1M"],
    ] {
        assert_eq!(environment.run(words).status, 2, "{words:?}");
    }
    // The running VM keeps it until it stops.
    environment.done(&["vm", "set", "web", "--no-volume", "data"]);
    let run = environment.run(&["vm", "set", "api", "--volume", "data:/data"]);
    assert_eq!(run.status, 1, "{run:#?}");
    environment.done(&["vm", "stop", "web"]);
    environment.done(&["vm", "set", "api", "--volume", "data:/data"]);
    environment.done(&["vm", "start", "api"]);
    environment.done(&["vm", "delete", "--force", "web", "api"]);
    let volume = environment.json(&["volume", "show", "data"]);
    assert_eq!(volume["users"], json!([]), "{volume}");
    let run = environment.done(&["volume", "rm", "data"]);
    assert_eq!(run.stdout, "data is deleted\n");
    assert_eq!(environment.json(&["volume", "list"]), json!([]));
}
