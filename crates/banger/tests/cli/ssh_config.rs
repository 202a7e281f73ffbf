//! `ssh-config`: the daemon's file, included in the user's own configuration and removed from it.

use crate::environment::{Run, TestEnvironment};
use crate::fake_daemon;

/// An environment with a daemon that has written its file.
fn with_file() -> TestEnvironment {
    let environment = TestEnvironment::for_fake();
    let state = environment.state();
    std::fs::create_dir_all(state.join("ssh")).unwrap();
    std::fs::write(
        state.join("ssh/config"),
        "Host web.vm web\n    HostName 192.0.2.2\n    Port 22\n    User root\n",
    )
    .unwrap();
    let daemon = fake_daemon::daemon(&environment);
    let web = fake_daemon::web(&environment);
    fake_daemon::listen(&environment, daemon, web);
    environment
}

#[test]
#[expect(clippy::print_stderr, reason = "skips are counted by what is printed")]
fn it_counts_in_a_configuration_that_says_otherwise_and_leaves_it_as_it_was() {
    if !std::path::Path::new("/usr/bin/ssh").exists() {
        eprintln!("SKIPPED: {}: needs ssh", module_path!());
        return;
    }
    let environment = with_file();
    let config = environment.path("home/.ssh/config");
    for before in [
        None,
        Some("Host *\n  User ada\n  Port 2022\n  IdentityFile ~/.ssh/mine"),
        Some("User ada\n\nHost web\n  Port 2\n"),
    ] {
        if let Some(text) = before {
            std::fs::create_dir_all(config.parent().unwrap()).unwrap();
            std::fs::write(&config, text).unwrap();
        }
        let run = environment.done(&["ssh-config", "--install"]);
        assert!(run.stdout.contains(" includes "), "{run:#?}");
        let is_shadowed = before.is_some_and(|it| it.contains("Host web"));
        assert_eq!(
            run.stderr.contains("the VM `web` now hides"),
            is_shadowed,
            "{run:#?}"
        );
        let again = environment.json(&["--quiet", "ssh-config", "--install"]);
        assert_eq!(again["already"], true);
        let mut ssh = std::process::Command::new("ssh");
        ssh.args(["-G", "-F"]).arg(&config).arg("web");
        let read = Run::of(ssh.output().unwrap());
        for line in ["user root", "port 22", "hostname 192.0.2.2"] {
            assert!(
                read.stdout.lines().any(|it| it == line),
                "{line}: {read:#?}"
            );
        }
        let removed = environment.json(&["ssh-config", "--remove"]);
        assert_eq!(removed["installed"], false);
        assert_eq!(std::fs::read_to_string(&config).ok().as_deref(), before);
    }
}

#[test]
fn it_is_printed_and_a_simulated_one_is_refused() {
    let environment = with_file();
    let run = environment.done(&["ssh-config"]);
    assert!(run.stdout.starts_with("Host web.vm web\n"), "{run:#?}");
    environment.done(&["ssh-config", "--install"]);
    let run = environment.run(&["ssh-config", "--install", "--remove"]);
    assert_eq!(run.status, 2, "{run:#?}");
    let environment = TestEnvironment::new();
    let run = environment.run(&["ssh-config", "--install"]);
    assert!(run.stderr.contains("simulated"), "{run:#?}");
    assert!(!environment.path("home/.ssh").exists());
}
