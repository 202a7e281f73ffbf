//! Tab: what shells ask of the program, and the shells themselves on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::environment::{Run, TestEnvironment, program};

/// What is offered for the last of these words, with the descriptions.
fn offered(environment: &TestEnvironment, words: &[&str]) -> Vec<String> {
    let mut command = environment.command(&[&["--", "banger"], words].concat());
    let run = Run::of(command.env("COMPLETE", "fish").output().unwrap());
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{words:?}");
    run.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn names_of_vms_and_images_are_offered_with_how_they_stand() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "calm-otter"]);
    environment.done(&["vm", "create", "--name", "web", "--no-start"]);
    let shown = offered(&environment, &["vm", "start", ""]);
    assert!(shown[0].starts_with("calm-otter\trunning at "), "{shown:?}");
    assert!(shown[1].starts_with("web\tstopped"), "{shown:?}");
    assert_eq!(shown.len(), 2, "an option is offered when one is begun");
    let shown = offered(&environment, &["vm", "start", "--re"]);
    assert!(shown[0].starts_with("--rescue\t"), "{shown:?}");
    for verb in [
        "stop", "show", "ssh", "logs", "set", "delete", "restart", "kill",
    ] {
        let shown = offered(&environment, &["vm", verb, "w"]);
        assert!(shown[0].starts_with("web\t"), "{verb}: {shown:?}");
    }
    assert_eq!(
        offered(&environment, &["vm", "create", "--image", ""]),
        ["default"]
    );
    let state = environment.state().display().to_string();
    let elsewhere = environment.path("other").display().to_string();
    let of_state = |state: &str| offered(&environment, &["--state", state, "vm", "show", "c"]);
    assert_eq!(of_state(&state).len(), 1);
    assert_eq!(of_state(&elsewhere), [] as [&str; 0]);
}

#[test]
fn no_daemon_is_started_and_none_is_waited_for() {
    let environment = TestEnvironment::new();
    assert_eq!(offered(&environment, &["vm", "show", "c"]), [] as [&str; 0]);
    assert!(environment.daemons().is_empty());
    // One that takes the call and never answers.
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

/// A shell on a terminal, as a user has it.
struct Typist {
    shell: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Typist {
    fn new(environment: &TestEnvironment, shell: &[&str]) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let terminal = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let wanted = environment.command(&[]);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(shell).env_clear();
        for (variable, value) in wanted.get_envs() {
            command.env(variable, value.unwrap_or_default());
        }
        let shell = command
            .env("TERM", "xterm")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(Stdio::from(terminal))
            .spawn()
            .unwrap();
        let keys = File::from(keys);
        let mut reader = keys.try_clone().unwrap();
        let (say, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read) = reader.read(&mut piece) {
                if read == 0 || say.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            shell,
            keys,
            screen,
            seen: String::new(),
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is on the screen.
    fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(piece) = self.screen.recv_timeout(left) else {
                panic!(
                    "`{text}` is not on the screen: {}",
                    self.seen.escape_debug()
                );
            };
            self.seen += &String::from_utf8_lossy(&piece);
        }
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// The loader of this shell at `below` in the user's home, and a shell in which `banger` is found.
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
    typist.types("banger vm show \t\r");
    typist.sees("calm-otter\r\nid:");
    typist.types("banger vm cre\t--ima\t\t; echo d''one\r");
    typist.sees("default");
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
