//! Completion: the requests of shells to the program, and the shells themselves on a terminal.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::environment::{Run, TestEnvironment, program};
use crate::images::import;
use crate::typist::Typist;

/// The candidates for the last of these words, with their descriptions.
fn offered(environment: &TestEnvironment, words: &[&str]) -> Vec<String> {
    let mut command = environment.command(&[&["--", "banger"], words].concat());
    let run = Run::of(command.env("COMPLETE", "fish").output().unwrap());
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{words:?}");
    run.stdout.lines().map(str::to_owned).collect()
}

/// The same where names are expected. Completion does not wait for a slow daemon, so on a busy
/// machine the first request may yield none.
fn names_offered(environment: &TestEnvironment, words: &[&str]) -> Vec<String> {
    names(|| offered(environment, words))
}

/// The candidates, requested again until the first one is a name.
pub(crate) fn names(mut ask: impl FnMut() -> Vec<String>) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let offered = ask();
        let has_names = offered.first().is_some_and(|it| !it.starts_with("--"));
        if has_names || Instant::now() > deadline {
            return offered;
        }
    }
}

#[test]
fn names_of_vms_and_images_are_offered_with_how_they_stand() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "calm-otter"]);
    environment.done(&["vm", "create", "--name", "web", "--no-start"]);
    let shown = names_offered(&environment, &["vm", "start", ""]);
    assert!(shown[0].starts_with("calm-otter\trunning at "), "{shown:?}");
    assert!(shown[1].starts_with("web\tstopped"), "{shown:?}");
    assert_eq!(shown.len(), 2, "an option is offered when one is begun");
    let shown = names_offered(&environment, &["vm", "start", "web", ""]);
    assert!(shown[0].starts_with("calm-otter\t"), "{shown:?}");
    assert_eq!(shown.len(), 1, "what was given is not offered again");
    environment.done(&["vm", "set", "web", "--label", "team=web"]);
    assert_eq!(
        names_offered(&environment, &["vm", "stop", "-l", ""]),
        ["team=web"]
    );
    let shown = names_offered(&environment, &["vm", "cp", "c"]);
    assert_eq!(shown, ["calm-otter:\tthe VM, running"]);
    std::fs::write(environment.path("calm.txt"), "").unwrap();
    let shown = names_offered(&environment, &["vm", "cp", "calm-otter:/etc/hosts", "c"]);
    assert_eq!(shown, ["calm-otter:\tthe VM, running", "calm.txt"]);
    let words = ["vm", "forward", "calm-otter", "--remove", ""];
    environment.done(&["vm", "forward", "calm-otter", "0:80", "-d"]);
    let shown = names_offered(&environment, &words);
    assert!(shown[0].ends_with("\treaches localhost:80"), "{shown:?}");
    assert_eq!(shown[1], "all\tall of them");
    let detach = [
        "vm",
        "exec",
        "calm-otter",
        "-d",
        "--name",
        "build",
        "--",
        "make",
    ];
    environment.done(&detach);
    let shown = names_offered(&environment, &["vm", "attach", "calm-otter", ""]);
    assert_eq!(shown, ["build\tmake"]);
    let shown = offered(&environment, &["vm", "start", "--re"]);
    assert!(shown[0].starts_with("--rescue\t"), "{shown:?}");
    for verb in [
        "stop", "show", "ssh", "logs", "set", "delete", "restart", "kill",
    ] {
        let shown = names_offered(&environment, &["vm", verb, "w"]);
        assert!(shown[0].starts_with("web\t"), "{verb}: {shown:?}");
    }
    assert_eq!(
        names_offered(&environment, &["config", "set", "name"]),
        ["namegen_path"]
    );
    import(&environment, "mine");
    for words in [&["vm", "create", "--image", ""][..], &["image", "show", ""]] {
        let shown = names_offered(&environment, words);
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(shown[0].starts_with("default\t"), "{shown:?}");
        assert!(shown[1].starts_with("mine\t"), "{shown:?}");
    }
    environment.done(&["host", "add", "lab", "ada@server"]);
    for words in [
        &["host", "use", ""][..],
        &["--host", ""],
        &["vm", "list", "--host", ""],
    ] {
        assert_eq!(
            names_offered(&environment, words),
            ["local\tthis machine", "lab\tssh://ada@server"],
            "{words:?}"
        );
    }
    // Without a connection there are no candidates, and no wait.
    assert_eq!(
        offered(&environment, &["--host", "lab", "vm", "show", "c"]),
        [] as [&str; 0]
    );
    let state = environment.state().display().to_string();
    let elsewhere = environment.path("other").display().to_string();
    let of_state = |state: &str| offered(&environment, &["--state", state, "vm", "show", "c"]);
    assert_eq!(names(|| of_state(&state)).len(), 1);
    assert_eq!(of_state(&elsewhere), [] as [&str; 0]);
}

#[test]
fn no_daemon_is_started_and_none_is_waited_for() {
    let environment = TestEnvironment::new();
    assert_eq!(offered(&environment, &["vm", "show", "c"]), [] as [&str; 0]);
    assert!(environment.daemons().is_empty());
    // This daemon accepts the connection and never answers.
    let silent = UnixListener::bind(environment.path("s")).unwrap();
    let socket = environment.path("s").display().to_string();
    let began = Instant::now();
    let shown = offered(&environment, &["--socket", &socket, "vm", "show", "c"]);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(shown, [] as [&str; 0]);
    drop(silent);
}

#[test]
fn a_shell_that_is_none_of_ours_gets_the_program_as_ever() {
    let environment = TestEnvironment::new();
    let mut command = environment.command(&["--version"]);
    let run = Run::of(command.env("COMPLETE", "1").output().unwrap());
    assert!(run.stdout.starts_with("banger "), "{run:#?}");
}

/// Checks that this shell completes, with its loader at `below` in the user's home.
fn shell_completes(test: &str, shell: &[&str], below: &str, setup: &str) {
    if !std::path::Path::new("/usr/bin").join(shell[0]).exists() {
        eprintln!("SKIPPED: {test}: {} is not installed", shell[0]);
        return;
    }
    let environment = TestEnvironment::new();
    std::os::unix::fs::symlink(program(), environment.path("bin/banger")).unwrap();
    environment.done(&["vm", "create", "--name", "calm-otter", "--no-start"]);
    let loader = environment.path("home").join(below);
    std::fs::create_dir_all(loader.parent().unwrap()).unwrap();
    std::fs::write(&loader, environment.done(&["completion", shell[0]]).stdout).unwrap();
    let mut typist = Typist::new(&environment, shell);
    typist.types(&format!("{setup}; echo rea''dy\r"));
    typist.sees("ready");
    typist.types_until_it_sees("banger vm show \t\r", "calm-otter\r\nid:");
    typist.types_until_it_sees("banger vm cre\t--ima\t\t; echo d''one\r", "default");
}

#[test]
fn bash_completes_a_name_at_the_first_tab() {
    let test = "bash_completes_a_name_at_the_first_tab";
    let shell = ["bash", "--norc", "-i"];
    shell_completes(test, &shell, "loader", "source ~/loader");
}

#[test]
fn zsh_completes_a_name_at_the_first_tab() {
    let test = "zsh_completes_a_name_at_the_first_tab";
    let setup = "fpath=(~/functions $fpath); autoload -U compinit; compinit -u -D";
    shell_completes(test, &["zsh", "-f", "-i"], "functions/_banger", setup);
}

#[test]
fn fish_completes_a_name_at_the_first_tab() {
    let test = "fish_completes_a_name_at_the_first_tab";
    let place = ".config/fish/completions/banger.fish";
    shell_completes(test, &["fish", "--private"], place, "true");
}
