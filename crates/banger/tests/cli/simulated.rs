//! A simulated daemon: its directory, and the messages about its VMs when it ends.

use std::path::Path;

use crate::environment::{Run, TestEnvironment};

/// Runs the client without `BANGER_SIM`, so that its daemon would be a real one.
fn run_real(environment: &TestEnvironment, arguments: &[&str]) -> Run {
    let mut command = environment.command(arguments);
    Run::of(command.env_remove("BANGER_SIM").output().unwrap())
}

fn kind(state: &Path) -> String {
    std::fs::read_to_string(state.join("kind")).unwrap()
}

#[test]
fn a_simulated_daemon_that_is_stopped_says_that_its_vms_are_gone() {
    let environment = TestEnvironment::new();
    for (vms, said) in [
        (&[][..], "bangerd is stopped\n"),
        (&["web"], "bangerd is stopped; its simulated VM is gone\n"),
        (
            &["web", "api"],
            "bangerd is stopped; its 2 simulated VMs are gone\n",
        ),
    ] {
        environment.done(&["daemon", "start"]);
        for name in vms {
            environment.done(&["vm", "create", "--name", name]);
        }
        assert_eq!(environment.done(&["daemon", "stop"]).stdout, said);
    }
}

#[test]
fn a_real_daemon_does_not_go_on_where_vms_were_simulated() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web"]);
    assert_eq!(kind(&environment.state()), "simulated\n");
    environment.done(&["daemon", "stop"]);
    for arguments in [&["vm", "list"][..], &["daemon", "start"], &["doctor"]] {
        let run = run_real(&environment, arguments);
        assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:#?}");
        assert!(run.stderr.contains("a place of simulated VMs"), "{run:#?}");
        let hint = format!(
            "banger daemon start --sim --state {}",
            environment.state().display()
        );
        assert!(run.stderr.contains(&hint), "{run:#?}");
    }
    assert_eq!(environment.daemons(), []);
    assert!(
        !environment.state().join("vms").exists(),
        "nothing was made"
    );
    environment.done(&["vm", "list"]);
}

#[test]
fn a_simulated_daemon_does_not_start_where_vms_are_real() {
    let environment = TestEnvironment::new();
    std::fs::create_dir_all(environment.state()).unwrap();
    std::fs::write(environment.state().join("kind"), "real\n").unwrap();
    let run = environment.run(&["vm", "list"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:#?}");
    assert!(
        run.stderr
            .contains("are real, and you asked for simulated ones"),
        "{run:#?}"
    );
    assert_eq!(environment.daemons(), []);
}

#[test]
fn names_of_simulated_vms_are_not_answered() {
    let environment = TestEnvironment::new();
    let status = environment.done(&["daemon", "start"]);
    assert!(
        status.stdout.contains("DNS:     not available"),
        "{status:#?}"
    );
}
