//! `banger tui` on a real terminal, driven by keys, with the real daemon on a simulated host.

use rustix::process::{Signal, kill_process};

mod pace;
mod terminal;

use crate::environment::{TestEnvironment, program};
use crate::screen::Screen;

fn tui(environment: &TestEnvironment, size: (u16, u16)) -> Screen {
    Screen::new(environment, &[program().to_str().unwrap(), "tui"], size)
}

fn with_vms(names: &[&str]) -> TestEnvironment {
    let environment = TestEnvironment::new();
    for name in names {
        environment.done(&["vm", "create", name, "--no-start"]);
    }
    environment
}

/// Asserts that the terminal's modes were reset at the end.
fn is_given_back(screen: &Screen) {
    let sent = screen.sent();
    let sent = String::from_utf8_lossy(&sent);
    for (on, off) in [
        ("\u{1b}[?1049h", "\u{1b}[?1049l"),
        ("\u{1b}[?2004h", "\u{1b}[?2004l"),
        ("\u{1b}[?25l", "\u{1b}[?25h"),
        ("\u{1b}[?1000h", "\u{1b}[?1000l"),
    ] {
        assert!(
            sent.rfind(off) > sent.rfind(on),
            "{off:?} comes after {on:?}"
        );
    }
}

#[test]
fn a_vm_is_created_filtered_started_stopped_and_deleted_by_keys() {
    let environment = TestEnvironment::new();
    let mut screen = tui(&environment, (24, 80));
    screen.sees("there is no VM yet");
    screen.types("nweb\t\t4\r");
    screen.sees("web is running");
    screen.types("nmail\r");
    screen.sees("mail is running");
    screen.waits("both run", |text| text.contains("2 of 2 running"));
    screen.types("/we");
    screen.sees("1 of 2 VMs");
    screen.types("\rx");
    screen.sees("web is stopped");
    screen.types("D");
    screen.sees("delete web?");
    screen.types("\r\r");
    screen.sees("delete web?");
    screen.types("y");
    screen.sees("0 of 1 VM ");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
    is_given_back(&screen);
    let names = environment.json(&["vm", "list"]);
    assert_eq!(names.as_array().unwrap().len(), 1);
    assert_eq!(names[0]["name"], "mail");
}

#[test]
fn banger_alone_on_a_terminal_is_the_screen_and_elsewhere_the_help() {
    let environment = with_vms(&["web"]);
    let mut screen = Screen::new(&environment, &[program().to_str().unwrap()], (24, 80));
    screen.sees("╭ 1 VM ");
    screen.types("?");
    screen.sees("open a shell in the VM");
    screen.types("\u{1b}");
    screen.sees_no("open a shell in the VM");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
    assert!(environment.run(&[]).stdout.contains("Begin here"));
    let run = environment.run(&["tui"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("banger vm list"), "{}", run.stderr);
}

#[test]
fn many_are_started_at_once_and_what_others_do_is_seen() {
    let names: Vec<String> = (1..=12).map(|number| format!("vm-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let environment = with_vms(&names);
    let mut screen = tui(&environment, (32, 120));
    screen.sees("12 VMs");
    screen.types("as");
    screen.waits("all run", |text| text.contains("12 of 12 running"));
    environment.done(&["vm", "stop", "vm-05"]);
    screen.sees("11 of 12 running");
    environment.done(&["vm", "rename", "vm-05", "renamed"]);
    screen.sees("renamed");
    screen.types("h");
    screen.sees_no("renamed ");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
    // The settings of the view are kept.
    let mut again = tui(&environment, (32, 120));
    again.sees("stopped hidden");
    again.types("q");
    again.ends();
}

#[test]
fn what_vms_use_is_measured_and_drawn() {
    let environment = with_vms(&["mail", "web"]);
    environment.done(&["vm", "start", "web"]);
    let mut screen = tui(&environment, (32, 120));
    screen.sees("1 of 2 running");
    screen.types("j");
    screen.types("]");
    screen.sees("memory 25%, 512M of 2G");
    // The second measurement has the rates.
    screen.waits("a part of the CPUs", |text| {
        text.contains("% of 2 vCPUs") && text.contains("/s  (most")
    });
    environment.done(&["vm", "stop", "web"]);
    screen.sees("it uses nothing: it does not run");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn a_daemon_that_is_killed_is_told_and_one_that_is_back_is_used() {
    let environment = with_vms(&["web"]);
    let mut screen = tui(&environment, (24, 80));
    screen.sees("0 of 1 running");
    for daemon in environment.daemons() {
        kill_process(daemon, Signal::KILL).unwrap();
    }
    screen.sees("daemon gone");
    screen.sees("web");
    screen.types("s");
    screen.types("W");
    screen.sees("the daemon is back");
    // The simulated host ended with its daemon, and the screen shows the new state.
    screen.sees("there is no VM yet");
    screen.types("nnew\r");
    screen.sees("1 of 1 running");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn a_console_is_read_searched_and_copied() {
    let environment = with_vms(&["web"]);
    environment.done(&["vm", "start", "web"]);
    let mut screen = tui(&environment, (24, 80));
    screen.sees("1 of 1 running");
    screen.types("l");
    screen.sees("follows the end");
    screen.types("g");
    screen.sees("stands still");
    screen.types("/OF WEB\r");
    screen.sees("search: OF WEB");
    screen.types(" y");
    screen.sees("copied 1 line");
    // OSC 52, with `banger: simulated boot of w` at its beginning.
    let sent = screen.sent();
    let clipboard = b"\x1b]52;c;YmFuZ2VyOiBzaW11bGF0ZWQgYm9vdCBvZiB3";
    assert!(
        sent.windows(clipboard.len()).any(|it| it == clipboard),
        "OSC 52"
    );
    screen.types("/\u{15}nowhere\r");
    screen.sees("search: nowhere");
    screen.types("n");
    screen.sees("is not in it");
    environment.done(&["vm", "stop", "web"]);
    screen.sees("ended: the end");
    environment.done(&["vm", "start", "web"]);
    screen.sees_no("ended: the end");
    screen.sees("simulated boot of web");
    screen.types("m");
    screen.sees("the mouse is the terminal's");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn keys_are_the_users_own_and_a_wrong_one_is_told_before_the_screen() {
    let environment = with_vms(&["web"]);
    let file = environment.path("home/.config/banger/tui.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "[keys]\nquit = [\"X\"]\n").unwrap();
    let mut screen = tui(&environment, (24, 80));
    screen.sees("╭ 1 VM ");
    screen.types("qX");
    assert_eq!(screen.ends(), Some(0));
    std::fs::write(&file, "[keys]\nqiut = [\"X\"]\n").unwrap();
    let mut screen = tui(&environment, (24, 80));
    screen.sees("tui.toml");
    screen.sees("hint:");
    assert_eq!(screen.ends(), Some(1));
    let text = screen.text();
    assert!(
        text.contains("there is no action `qiut`") && text.contains("tui.toml"),
        "{text}"
    );
}

#[test]
fn what_is_kept_is_made_and_deleted_by_keys() {
    let environment = TestEnvironment::new();
    environment.done(&["config", "set", "trash", "true"]);
    environment.done(&["vm", "create", "mail", "--no-start"]);
    let mut screen = tui(&environment, (24, 80));
    screen.sees("0 of 1 running");
    screen.types("5ndata\t1G\r");
    screen.sees("data is created");
    screen.waits("its size", |text| {
        text.lines()
            .any(|it| it.contains("data") && it.contains("1G"))
    });
    screen.types("1fcopy\r");
    screen.sees("mail is cloned as copy");
    screen.types("jE\u{15}");
    let archive = environment.path("web.banger");
    screen.types(&format!("{}\r", archive.display()));
    screen.sees("is exported to");
    screen.types(&format!("I{}\tagain\r", archive.display()));
    screen.sees("is imported");
    // Its event may come after the end of the command.
    screen.sees("│  again ");
    screen.types("gjDy");
    screen.sees("copy is deleted");
    screen.types("6");
    screen.sees("1 VM in the trash");
    screen.types("\r\tback\r");
    screen.sees("copy is restored");
    screen.sees("the trash is empty");
    screen.types("2I/nonexistent\tbad\r");
    screen.sees("nonexistent");
    screen.types("5Dy");
    // The error stands longer than good news.
    screen.sees("there is no volume");
    screen.types(";vm show mail\r");
    screen.sees("press enter to return to banger");
    screen.types("\r");
    screen.sees("there is no volume");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
    let names: Vec<_> = environment
        .json(&["vm", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].clone())
        .collect();
    assert_eq!(names, ["again", "back", "mail"]);
}

/// Writes the pictures of docs/tui.md. `make screenshots`
#[test]
#[ignore = "writes docs/images: make screenshots"]
fn screenshots() {
    let names = [
        "api", "build-1", "build-2", "mail", "docs", "queue", "scratch", "web",
    ];
    let environment = with_vms(&names);
    environment.done(&["vm", "set", "api", "--label", "team=web", "--nat"]);
    environment.done(&["vm", "set", "mail", "--protect", "--autostart"]);
    for name in ["api", "build-1", "mail", "queue", "web"] {
        environment.done(&["vm", "start", name]);
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    std::fs::create_dir_all(&folder).unwrap();
    for (rows, columns) in [(24, 80), (50, 200)] {
        let mut screen = tui(&environment, (rows, columns));
        screen.sees("5 of 8 running");
        screen.sees("work disk [");
        // Graphs begin when the screen does.
        std::thread::sleep(std::time::Duration::from_secs(60));
        let picture = screen.look(crate::screen::svg);
        std::fs::write(folder.join(format!("tui-{columns}x{rows}.svg")), picture).unwrap();
        screen.types("q");
        screen.ends();
    }
}
