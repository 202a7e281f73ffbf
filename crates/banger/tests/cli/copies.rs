//! Clones, archives and the trash.

use serde_json::json;

use crate::environment::TestEnvironment;

#[test]
fn a_stopped_vm_is_cloned_with_an_identity_and_settings_of_its_own() {
    let environment = TestEnvironment::new();
    let settings = ["--label", "team=web", "--label", "tier=1", "--memory", "1G"];
    let create = ["vm", "create", "golden", "--no-start"];
    let golden = environment.json(&[&create[..], &settings].concat());
    let options = ["--unlabel", "tier", "--memory", "2G", "--label", "run=7"];
    let run = environment.done(&[&["vm", "clone", "golden", "copy"][..], &options].concat());
    assert!(
        run.stdout.starts_with("copy is stopped\nstart it: "),
        "{run:#?}"
    );
    let copy = environment.json(&["vm", "show", "copy"]);
    assert_eq!(
        copy["spec"]["labels"],
        json!({"team": "web", "run": "7"}),
        "{copy}"
    );
    assert_eq!(copy["spec"]["memory_mib"], 2048);
    assert_ne!(copy["id"], golden["id"]);
    assert_eq!(copy["disks"].as_array().unwrap().len(), 2);
    environment.done(&["vm", "start", "golden", "copy"]);
    let run = environment.run(&["vm", "clone", "golden", "another"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("banger vm stop golden"), "{run:#?}");
    assert_eq!(environment.run(&["vm", "clone", "golden"]).status, 2);
}

#[test]
fn a_deleted_vm_is_in_the_trash_until_it_is_purged() {
    let environment = TestEnvironment::new();
    environment.done(&["config", "set", "trash", "true"]);
    let made = environment.json(&["vm", "create", "web", "--no-start"]);
    let run = environment.done(&["vm", "delete", "web"]);
    assert_eq!(
        run.stdout,
        "web is in the trash; to take it back: banger vm undelete web\n"
    );
    let run = environment.run(&["vm", "start", "web"]);
    assert!(run.stderr.contains("banger vm undelete web"), "{run:#?}");
    let run = environment.done(&["vm", "list", "--deleted"]);
    assert!(run.stdout.starts_with("NAME  ID "), "{run:#?}");
    let trash = environment.json(&["vm", "list", "--deleted"]);
    assert_eq!(trash[0]["id"], made["id"]);
    assert!(trash[0]["deleted"].is_string(), "{trash}");
    let back = environment.json(&["vm", "undelete", "web", "--name", "api"]);
    assert_eq!((&back["id"], &back["name"]), (&made["id"], &json!("api")));
    assert_eq!(environment.json(&["vm", "list", "--deleted"]), json!([]));
    environment.done(&["vm", "delete", "api"]);
    let run = environment.run(&["vm", "purge", "--all"]);
    assert!(run.stderr.contains("--yes"), "{run:#?}");
    let run = environment.done(&["vm", "purge", "--all", "--yes"]);
    assert!(run.stdout.starts_with("api is deleted, "), "{run:#?}");
    let run = environment.done(&["vm", "purge", "--all", "--yes"]);
    assert_eq!(run.stdout, "the trash is empty\n");
    environment.done(&["vm", "create", "web", "--no-start"]);
    let run = environment.done(&["vm", "delete", "--purge", "web"]);
    assert_eq!(run.stdout, "web is deleted\n");
}

#[test]
fn a_vm_is_exported_and_imported_under_another_name() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web", "--no-start", "--label", "team=web"]);
    // The files of a simulated host are simulated, too.
    let file = environment.state().join("web.banger");
    let file = file.to_str().unwrap();
    let run = environment.done(&["vm", "export", "web", file]);
    assert!(run.stdout.contains("\nits digest: "), "{run:#?}");
    let run = environment.run(&["vm", "export", "web", file]);
    assert!(run.stderr.contains("--force"), "{run:#?}");
    let run = environment.run(&["vm", "import", file]);
    assert!(run.stderr.contains("--name NAME"), "{run:#?}");
    let vm = environment.json(&["vm", "import", file, "--name", "copy"]);
    assert_eq!(vm["name"], "copy");
    assert_eq!(vm["spec"]["labels"], json!({"team": "web"}));
    environment.done(&["vm", "start", "copy"]);
}

#[test]
fn a_prune_deletes_what_it_is_told_and_says_what_it_freed() {
    let environment = TestEnvironment::new();
    environment.done(&["config", "set", "trash", "true"]);
    for name in ["old", "keep", "ci", "runs"] {
        environment.done(&["vm", "create", name, "--no-start"]);
    }
    environment.done(&["vm", "set", "keep", "--protect"]);
    environment.done(&["vm", "start", "runs"]);
    environment.done(&["vm", "delete", "old"]);
    let run = environment.run(&["vm", "prune"]);
    assert!(run.stderr.contains("delete old? ("), "{run:#?}");
    let run = environment.done(&["vm", "prune", "--yes", "--older-than", "1h"]);
    assert!(run.stdout.ends_with("are free again\n"), "{run:#?}");
    assert!(!run.stdout.contains("old"), "{run:#?}");
    let pruned = environment.json(&["vm", "prune", "--yes"]);
    assert_eq!(pruned["names"], json!(["old"]), "{pruned}");
    assert!(pruned["freed_bytes"].is_u64(), "{pruned}");
    let pruned = environment.json(&["vm", "prune", "--yes", "--stopped"]);
    assert_eq!(pruned["names"], json!(["ci"]), "{pruned}");
    let left = environment.done(&["vm", "list", "--quiet"]);
    assert_eq!(left.stdout, "keep\nruns\n");
    assert_eq!(environment.json(&["vm", "list", "--deleted"]), json!([]));
    let run = environment.run(&["vm", "prune", "--older-than", "soon"]);
    assert_eq!(run.status, 2, "{run:#?}");
}
