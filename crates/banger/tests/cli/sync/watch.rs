//! `vm sync --watch`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::{home, make_tree, with_vm};
use crate::environment::TestEnvironment;
use crate::fake_daemon;

/// How long a batch may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `vm sync --watch`, and the lines that it prints.
struct WatchRun {
    child: Child,
    lines: Receiver<String>,
}

impl WatchRun {
    fn new(environment: &TestEnvironment, more: &[&str]) -> Self {
        let tree = environment.path("tree");
        let words = ["vm", "sync", tree.to_str().unwrap(), "web:app", "--watch"];
        let mut command = environment.command(&[&words, more].concat());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        for stream in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines }
    }

    /// Waits for a line with these words.
    fn until(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no `{words}`: {others:#?}"));
            if line.contains(words) {
                return line;
            }
            others.push(line);
        }
    }
}

impl Drop for WatchRun {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn becomes(what: &str, is_true: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn changes_follow_and_a_daemon_that_stops_is_waited_for() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    let mut watched = WatchRun::new(&environment, &["--delete"]);
    watched.until("3 files");
    let there = home(&environment).join("app");
    let has =
        |name: &str, text: &str| fs::read_to_string(there.join(name)).is_ok_and(|it| it == text);
    fs::write(tree.join("src/main"), "changed").unwrap();
    becomes("a file that changed", || has("src/main", "changed"));
    // Directories that are new, and have other names, with all that lies in them.
    fs::create_dir_all(tree.join("new/deep")).unwrap();
    fs::write(tree.join("new/deep/file"), "deep").unwrap();
    becomes("a new directory", || has("new/deep/file", "deep"));
    fs::rename(tree.join("new"), tree.join("other")).unwrap();
    becomes("another name", || {
        has("other/deep/file", "deep") && !there.join("new").exists()
    });
    fs::write(tree.join("other/deep/file"), "below another name").unwrap();
    becomes("a file below it", || {
        has("other/deep/file", "below another name")
    });
    // Rules that change count at once.
    fs::write(tree.join(".bangerignore"), "!a.log\n").unwrap();
    becomes("a rule", || has("a.log", "noise"));
    environment.done(&["daemon", "stop"]);
    watched.until("waiting for `web`");
    // A simulated VM ends with its daemon, and one that does not exist is not waited for.
    environment.done(&["daemon", "start"]);
    watched.until("there is no VM `web`");
    assert_eq!(watched.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_watch_ends_if_its_tree_goes_and_removes_nothing_there() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    let mut watched = WatchRun::new(&environment, &["--delete"]);
    watched.until("3 files");
    let there = home(&environment).join("app");
    fs::rename(&tree, environment.path("elsewhere")).unwrap();
    watched.until("error: read");
    assert_eq!(watched.child.wait().unwrap().code(), Some(1));
    assert!(there.join("src/main").exists());
    let run = environment.run(&["vm", "sync", tree.to_str().unwrap(), "web:app", "--watch"]);
    assert_eq!(run.status, 1, "{run:#?}");
}

#[test]
fn another_directory_in_the_place_of_the_tree_empties_nothing() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    let mut watched = WatchRun::new(&environment, &["--delete"]);
    watched.until("3 files");
    let (there, other) = (home(&environment).join("app"), environment.path("other"));
    fs::create_dir(&other).unwrap();
    let place = rustix::fs::CWD;
    let at_once = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(place, &tree, place, &other, at_once).unwrap();
    watched.until("another directory is in the place of");
    assert_eq!(watched.child.wait().unwrap().code(), Some(1));
    assert!(there.join("src/main").exists());
}

#[test]
fn a_directory_that_becomes_ignored_is_not_followed_any_more() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    fs::create_dir(tree.join("noise")).unwrap();
    fs::write(tree.join("noise/first"), "first").unwrap();
    let watched = WatchRun::new(&environment, &["--delete"]);
    watched.until("4 files");
    let there = home(&environment).join("app");
    fs::write(there.join("noise/own"), "of the VM").unwrap();
    fs::write(tree.join(".gitignore"), "/target\n*.log\nnoise/\n").unwrap();
    let rules = || fs::read_to_string(there.join(".gitignore")).unwrap();
    becomes("the rule", || rules().contains("noise"));
    fs::write(tree.join("noise/second"), "second").unwrap();
    fs::write(tree.join("src/main"), "after it").unwrap();
    let main = || fs::read_to_string(there.join("src/main")).unwrap();
    becomes("a later change", || main() == "after it");
    assert!(there.join("noise/own").exists());
    assert!(!there.join("noise/second").exists());
}

#[test]
fn rules_that_went_with_their_directory_protect_nothing() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/.gitignore"), "*.out\n").unwrap();
    let watched = WatchRun::new(&environment, &["--delete"]);
    watched.until("4 files");
    let there = home(&environment).join("app");
    fs::write(there.join("sub/a.out"), "of the VM").unwrap();
    // The directory goes at once, without a change of a file of rules in it.
    fs::rename(tree.join("sub"), environment.path("elsewhere")).unwrap();
    becomes("a directory that goes", || !there.join("sub").exists());
}

#[test]
fn a_directory_that_was_removed_in_the_vm_comes_back_with_the_next_change() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    let watched = WatchRun::new(&environment, &[]);
    watched.until("3 files");
    let there = home(&environment).join("app");
    for changed in ["src/main", "top"] {
        fs::remove_dir_all(there.join("src")).unwrap();
        fs::write(tree.join(changed), "changed").unwrap();
        becomes(changed, || {
            let text = |name: &str| fs::read_to_string(there.join(name)).unwrap_or_default();
            text("src/deep/file") == "two" && text(changed) == "changed"
        });
    }
}

#[test]
fn a_watch_follows_the_vm_that_had_the_name_and_no_other_one() {
    let environment = TestEnvironment::for_fake();
    make_tree(&environment);
    // It has the VM `web` by name, and none by its id, as if that had been made anew meanwhile.
    fake_daemon::listen(
        &environment,
        fake_daemon::daemon(&environment),
        fake_daemon::web(&environment),
    );
    let mut watched = WatchRun::new(&environment, &[]);
    watched.until("there is no VM `web` any more");
    assert_eq!(watched.child.wait().unwrap().code(), Some(1));
}
