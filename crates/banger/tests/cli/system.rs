//! `banger system`: the programs that it runs, and their order, with stand-ins that record their
//! calls.

use std::path::PathBuf;

use crate::environment::{Run, TestEnvironment};

/// The output of `banger-root install`.
const PLACED: &str = r#"{"uid":7,"user":"ada","state":"/s","subnet":"10.215.16.0/20","dns_port":42070,"programs":[{"path":"/usr/local/libexec/banger/banger-root","sha256":"00ff"}]}"#;

/// An environment in which stand-ins for sudo, systemctl and others record each call and succeed.
fn pretended(systemd: &str) -> TestEnvironment {
    let environment = TestEnvironment::new();
    let log = environment.path("calls");
    let note = |name: &str| format!("echo {name} \"$@\" >> '{}'", log.display());
    environment.script(
        "systemctl",
        &format!(
            "{}\ncase \"$*\" in *is-system-running) echo {systemd};; *is-active*) echo active;; \
             *is-enabled*) echo enabled;; esac",
            note("systemctl")
        ),
    );
    let root = format!("{}\necho '{PLACED}'", note("sudo"));
    environment.script("sudo", &root);
    environment.script("loginctl", &format!("{}\necho yes", note("loginctl")));
    // The tests may run as root, who has no helper, so they run as another user here.
    environment.script("getent", "echo ada:x:7:7::/home/ada:/bin/sh");
    environment
}

fn calls(environment: &TestEnvironment) -> Vec<String> {
    let text = std::fs::read_to_string(environment.path("calls")).unwrap_or_default();
    let is_question = |line: &&str| !line.contains(" is-");
    text.lines()
        .filter(is_question)
        .map(str::to_owned)
        .collect()
}

fn unit(environment: &TestEnvironment) -> PathBuf {
    environment.path("home/.config/systemd/user/bangerd.service")
}

/// Runs the user's part, as `install` for root does, without being root.
fn user_part(environment: &TestEnvironment, verb: &str) -> Run {
    let mut command = environment.command(&["system", verb, "--user-part"]);
    command
        .env("XDG_RUNTIME_DIR", environment.path("run"))
        .env_remove("BANGER_SIM");
    Run::of(as_somebody(&mut command).output().unwrap())
}

/// Makes the command run as the user of the getent stand-in, if the tests run as root.
fn as_somebody(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt as _;
    if rustix::process::getuid().is_root() {
        command.uid(7).gid(7);
    }
    command
}

/// Lets the user of [`as_somebody`] write to everything below.
fn hand_over(environment: &TestEnvironment) {
    if rustix::process::getuid().is_root() {
        let folder = environment.path("");
        for path in [folder.clone(), folder.join("home"), folder.join("run")] {
            std::os::unix::fs::chown(path, Some(7), Some(7)).unwrap();
        }
    }
}

fn runs_as_somebody(environment: &TestEnvironment) -> bool {
    let mut command = environment.command(&["--version"]);
    let ran = as_somebody(&mut command)
        .output()
        .is_ok_and(|it| it.status.success());
    if !ran || !rustix::process::getuid().is_root() {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("SKIPPED: {name}: needs root, and a program that all can run\n");
        // The test harness would capture `eprintln` in a test that passes.
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
        return false;
    }
    true
}

#[test]
fn the_user_s_unit_is_written_enabled_and_started_and_taken_away_again() {
    let environment = pretended("running");
    if !runs_as_somebody(&environment) {
        return;
    }
    hand_over(&environment);
    for _ in 0..2 {
        let run = user_part(&environment, "install");
        assert_eq!(run.status, 0, "{run:#?}");
        let text = std::fs::read_to_string(unit(&environment)).unwrap();
        assert!(text.contains("KillMode=process"), "{text}");
        let expected = [
            "systemctl --user daemon-reload",
            "systemctl --user enable bangerd.service",
            "systemctl --user restart bangerd.service",
        ];
        assert_eq!(calls(&environment), expected);
        std::fs::remove_file(environment.path("calls")).unwrap();
    }
    let run = user_part(&environment, "uninstall");
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(!unit(&environment).exists());
    let expected = [
        "systemctl --user disable --now bangerd.service",
        "systemctl --user daemon-reload",
    ];
    assert_eq!(calls(&environment), expected);
    let again = user_part(&environment, "uninstall");
    assert_eq!(again.stdout, "nothing was installed\n", "{again:#?}");
}

#[test]
fn what_root_refuses_to_take_away_leaves_the_user_s_unit_too() {
    let environment = pretended("running");
    if !runs_as_somebody(&environment) {
        return;
    }
    hand_over(&environment);
    let run = user_part(&environment, "install");
    assert_eq!(run.status, 0, "{run:#?}");
    environment.script("sudo", "echo 'error: VMs are not stopped' >&2; exit 1");
    std::fs::remove_file(environment.path("calls")).unwrap();
    let mut command = environment.command(&["system", "uninstall"]);
    command
        .env("XDG_RUNTIME_DIR", environment.path("run"))
        .env_remove("BANGER_SIM");
    let run = Run::of(as_somebody(&mut command).output().unwrap());
    assert_ne!(run.status, 0, "{run:#?}");
    assert!(run.stderr.contains("VMs are not stopped"), "{run:#?}");
    assert!(unit(&environment).exists());
    assert!(calls(&environment).is_empty());
}

#[test]
fn without_systemd_it_is_said_what_is_skipped() {
    let environment = pretended("offline");
    if !runs_as_somebody(&environment) {
        return;
    }
    hand_over(&environment);
    let run = user_part(&environment, "install");
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(run.stderr.contains("systemd is not running"), "{run:#?}");
    assert!(!unit(&environment).exists());
    assert_eq!(calls(&environment), [""; 0]);
}

#[test]
fn root_s_own_daemon_has_the_unit_with_what_a_jail_takes() {
    let environment = pretended("running");
    // Only root can do this.
    if !runs_as_somebody(&environment) {
        return;
    }
    let home = environment.path("home");
    let line = format!("echo root:x:0:0::{}:/bin/sh", home.display());
    environment.script("getent", &line);
    let run_as_root = |verb: &str| {
        let mut command = environment.command(&["system", verb, "--user-part"]);
        command
            .env("XDG_RUNTIME_DIR", environment.path("run"))
            .env_remove("BANGER_SIM");
        Run::of(command.output().unwrap())
    };
    let run = run_as_root("install");
    assert_eq!(run.status, 0, "{run:#?}");
    let text = std::fs::read_to_string(unit(&environment)).unwrap();
    assert!(text.contains("KillMode=process"), "{text}");
    assert!(!text.contains("RestrictNamespaces"), "{text}");
    let run = run_as_root("uninstall");
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(!unit(&environment).exists());
    // No helper of an ordinary user is needed.
    let run = environment.run(&["system", "status"]);
    assert!(run.stdout.contains("works directly"), "{run:#?}");
    assert!(!run.stdout.contains("banger-root@"), "{run:#?}");
    // Root does not write into another user's home.
    environment.script("getent", "echo root:x:0:0::/root:/bin/sh");
    let run = run_as_root("install");
    assert!(run.stderr.contains("HOME is not root's home"), "{run:#?}");
    assert!(!unit(&environment).exists());
}

#[test]
fn a_daemon_is_started_by_the_unit_where_that_is_installed() {
    let environment = pretended("running");
    std::fs::create_dir_all(unit(&environment).parent().unwrap()).unwrap();
    std::fs::write(unit(&environment), "").unwrap();
    let run_time = environment.path("run");
    // The stand-in starts the program of the unit.
    let bangerd = crate::environment::program().with_file_name("bangerd");
    environment.script(
        "systemctl",
        &format!(
            "case \"$*\" in *is-system-running) echo running;; '--user start bangerd.service') \
             '{}' --sim >'{}/said' 2>&1 & while kill -0 $! && ! [ -S '{}/banger/bangerd.sock' ]; do :; done;; \
             esac",
            bangerd.display(),
            environment.path("").display(),
            run_time.display()
        ),
    );
    let list = |sim: &str| {
        let mut command = environment.command(&["vm", "list"]);
        command
            .env("XDG_RUNTIME_DIR", &run_time)
            .env("BANGER_SIM", sim);
        Run::of(command.output().unwrap())
    };
    let run = list("0");
    assert_eq!(run.status, 0, "{run:#?}");
    let said = std::fs::read_to_string(environment.path("said")).unwrap();
    assert!(said.starts_with("ready "), "{said}");
    let mut command = environment.command(&["daemon", "stop"]);
    let stopped = Run::of(command.env("XDG_RUNTIME_DIR", &run_time).output().unwrap());
    assert_eq!(stopped.status, 0, "{stopped:#?}");
}
