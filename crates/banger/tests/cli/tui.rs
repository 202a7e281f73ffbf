//! `banger tui` on a real terminal, driven by keys, with the real daemon on a simulated host.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::environment::{TestEnvironment, program};
use crate::held_daemon::HeldDaemon;
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
    screen.types("ndb\r");
    screen.sees("db is running");
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
    screen.sees("0 of 1 VMs");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
    is_given_back(&screen);
    let names = environment.json(&["vm", "list"]);
    assert_eq!(names.as_array().unwrap().len(), 1);
    assert_eq!(names[0]["name"], "db");
}

#[test]
fn banger_alone_on_a_terminal_is_the_screen_and_elsewhere_the_help() {
    let environment = with_vms(&["web"]);
    let mut screen = Screen::new(&environment, &[program().to_str().unwrap()], (24, 80));
    screen.sees("1 VMs");
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
    let environment = with_vms(&["db", "web"]);
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
    // The tab is called `1 VMs` before any are known.
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
fn a_shell_in_place_gives_the_screen_and_the_keys_back() {
    // k9s#1123, #1699; lazygit#3903, #2944, #3891.
    let environment = with_vms(&["db", "web"]);
    environment.done(&["vm", "start", "db"]);
    let words = [program().to_str().unwrap(), "tui"];
    let mut screen = Screen::with(&environment, &words, (24, 80), &[("EDITOR", "vi")]);
    screen.sees("1 of 2 running");
    // A simulated VM has no SSH: its words stay to be read.
    screen.types("S");
    screen.sees("there is nothing to log in to");
    screen.sees("press enter to return to banger");
    screen.types("xyz\r");
    screen.sees("2 VMs");
    screen.sees_no("press enter");
    // Its shell over the agent gets the keys, and is ended here by a signal.
    screen.types("\r");
    screen.sees_no("2 VMs");
    screen.types("qjD\r");
    screen.sees("qjD");
    for shell in children(screen.pid()) {
        kill_process(shell, Signal::TERM).unwrap();
    }
    screen.sees("press enter to return to banger");
    screen.types("\r");
    screen.sees("1 of 2 running");
    screen.types("js");
    screen.sees("2 of 2 running");
    // An editor gets the terminal, too.
    environment.script(
        "vi",
        "stty -a | grep -o ' icanon'; read line; echo \"typed $line\"; sleep 0.2",
    );
    screen.types("C");
    screen.sees("icanon");
    screen.types("jjjq\r");
    screen.sees("2 VMs");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
    is_given_back(&screen);
}

#[test]
fn a_storm_of_sizes_leaves_a_whole_screen() {
    let environment = with_vms(&["web"]);
    let mut screen = tui(&environment, (24, 80));
    screen.sees("1 VMs");
    for round in 0..60u16 {
        screen.resize((1 + (round * 7) % 60, 1 + (round * 31) % 240));
    }
    screen.resize((30, 100));
    screen.types("\u{c}");
    screen.waits("a whole screen", |text| {
        text.lines().count() == 30 && text.contains("1 VMs") && text.contains("help")
    });
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let environment = with_vms(&["web"]);
    for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut screen = tui(&environment, (24, 80));
        screen.sees("1 VMs");
        kill_process(pid(&screen), signal).unwrap();
        assert_eq!(screen.ends(), Some(status));
        is_given_back(&screen);
    }
}

/// The processes that the screen waits for.
fn children(pid: u32) -> Vec<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let numbers = children.split_whitespace().map(|it| it.parse().unwrap());
    numbers.filter_map(Pid::from_raw).collect()
}

fn pid(screen: &Screen) -> Pid {
    Pid::from_raw(screen.pid().cast_signed()).unwrap()
}

#[test]
fn a_terminal_that_vanishes_ends_the_program_even_where_hangups_are_ignored() {
    // vfarcic/dot-agent-deck#1164: 100 % of a processor for ever.
    let environment = with_vms(&["web"]);
    let line = format!("trap '' HUP; exec {} tui", program().display());
    let mut screen = Screen::new(&environment, &["sh", "-c", &line], (24, 80));
    screen.sees("1 VMs");
    screen.vanish();
    screen.ends();
}

#[test]
fn a_program_that_is_stopped_goes_on_where_it_was() {
    let environment = with_vms(&["web"]);
    let line = format!("{} tui", program().display());
    let mut screen = Screen::new(&environment, &["bash", "--norc", "-i"], (24, 80));
    screen.types(&format!("{line}\r"));
    screen.sees("1 VMs");
    screen.types("\u{1a}");
    screen.sees("Stopped");
    screen.look(|screen| {
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    });
    screen.types("fg && echo went'_'well\r");
    screen.sees("1 VMs");
    screen.types("s");
    screen.sees("1 of 1 running");
    screen.types("q");
    screen.sees("went_well");
    screen.types("exit\r");
    screen.ends();
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
    screen.types("Y");
    screen.sees("copied");
    let sent = screen.sent();
    let clipboard = b"\x1b]52;c;";
    assert!(
        sent.windows(clipboard.len()).any(|it| it == clipboard),
        "OSC 52"
    );
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
    screen.sees("1 VMs");
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
fn without_colours_none_is_sent() {
    let environment = with_vms(&["web"]);
    let words = [program().to_str().unwrap(), "tui"];
    let mut screen = Screen::with(&environment, &words, (24, 80), &[("NO_COLOR", "1")]);
    screen.sees("1 VMs");
    screen.types("?");
    screen.sees("open a shell in the VM");
    screen.types("\u{1b}");
    screen.sees_no("open a shell in the VM");
    screen.look(|screen| {
        let (rows, columns) = screen.size();
        let (rows, columns) = (rows.get(), columns.get());
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)))
        {
            let cell = screen.cell(row, column).unwrap();
            assert_eq!(cell.fgcolor(), vt100::Color::Default);
            assert_eq!(cell.bgcolor(), vt100::Color::Default);
        }
    });
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

/// A screen whose daemon is behind another socket.
fn tui_before(environment: &TestEnvironment, daemon: &HeldDaemon, size: (u16, u16)) -> Screen {
    let words = [program().to_str().unwrap(), "tui"];
    let socket = [("BANGER_SOCKET", daemon.path())];
    Screen::with(environment, &words, size, &socket)
}

/// How often the whole screen was looked at to be drawn: each time ratatui hides the cursor.
fn frames(screen: &Screen) -> usize {
    let sent = screen.sent();
    let hides = b"\x1b[?25l";
    sent.windows(hides.len()).filter(|it| it == hides).count()
}

#[test]
fn idle_nothing_is_asked_and_nothing_is_drawn() {
    // lazydocker#249, #296, #115, #323: 7 to 10 % of a processor, idle. `make bench` has the figure.
    let environment = with_vms(&["api", "db", "web"]);
    let daemon = HeldDaemon::new(&environment);
    let mut screen = tui_before(&environment, &daemon, (32, 120));
    screen.sees("0 of 3 running");
    screen.sees("work disk [");
    std::thread::sleep(Duration::from_secs(1));
    daemon.asked();
    let (drawn, sent) = (frames(&screen), screen.sent().len());
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(daemon.asked(), Vec::<String>::new(), "VMs that are stopped");
    assert_eq!((frames(&screen), screen.sent().len()), (drawn, sent));
    environment.done(&["vm", "start", "web"]);
    screen.sees("1 of 3 running");
    screen.types("]]]jj");
    screen.waits("the meters of web", |text| text.contains("25%"));
    daemon.asked();
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(5));
    let asked = daemon.asked();
    let paces = began.elapsed().as_secs() / 10 + 1;
    assert!(
        asked.iter().all(|path| path.ends_with("/stats")),
        "{asked:?}"
    );
    assert!(asked.len() as u64 <= paces, "{asked:?}");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn a_daemon_that_does_not_answer_makes_no_key_wait() {
    // lazygit#1052, #2404; k9s#614.
    let environment = with_vms(&["api", "db", "web"]);
    environment.done(&["vm", "start", "web"]);
    let daemon = HeldDaemon::new(&environment);
    let mut screen = tui_before(&environment, &daemon, (32, 120));
    screen.sees("1 of 3 running");
    daemon.hold();
    let shows = |screen: &Screen, name: &str| {
        let title = format!("─ {name} ╮");
        screen.waits(&title, |text| text.contains(&title));
    };
    shows(&screen, "api");
    screen.types("s");
    screen.types("jj");
    shows(&screen, "web");
    screen.types("2");
    screen.types("5");
    screen.sees("asked, and not answered yet");
    screen.types("1/db\r");
    screen.sees("1 of 3 VMs");
    screen.types("\u{1b}");
    screen.sees("╭ 3 VMs");
    screen.types("]]gj");
    shows(&screen, "db");
    screen.types("?");
    screen.sees("open a shell in the VM");
    screen.types("\u{1b}");
    screen.sees_no("open a shell in the VM");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0), "nor does the end");
}

#[test]
fn a_thousand_vms_scroll_as_fast_as_keys_come() {
    let environment = with_vms(&["web"]);
    environment.done(&["vm", "start", "web"]);
    let daemon = HeldDaemon::new(&environment);
    let web = environment.json(&["vm", "show", "web"]);
    daemon.tell_of(1000, &web);
    let mut screen = tui_before(&environment, &daemon, (50, 200));
    screen.sees("1000 of 1000 running");
    screen.types("G");
    screen.sees("vm-1000");
    screen.types("g");
    screen.sees("vm-0001");
    let before = frames(&screen);
    let keys = 998;
    screen.types(&"j".repeat(keys));
    screen.sees("─ vm-0999 ╮");
    let drawn = frames(&screen) - before;
    assert!(drawn < keys / 2, "{drawn} frames for {keys} keys");
    screen.types("/0500");
    screen.sees("1 of 1000 VMs");
    screen.types("\u{1b}");
    screen.sees("╭ 1000 VMs");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn what_is_kept_is_made_and_deleted_by_keys() {
    let environment = TestEnvironment::new();
    environment.done(&["config", "set", "trash", "true"]);
    environment.done(&["vm", "create", "db", "--no-start"]);
    let mut screen = tui(&environment, (24, 80));
    screen.sees("0 of 1 running");
    screen.types("5ndata\t1G\r");
    screen.sees("data is created");
    screen.waits("its size", |text| {
        text.lines()
            .any(|it| it.contains("data") && it.contains("1G"))
    });
    screen.types("1fcopy\r");
    screen.sees("db is cloned as copy");
    screen.types("jE\u{15}");
    let archive = environment.path("web.banger");
    screen.types(&format!("{}\r", archive.display()));
    screen.sees("is exported to");
    assert!(archive.is_file());
    screen.types("gDy");
    screen.sees("copy is deleted");
    screen.types("6");
    screen.sees("1 VMs in the trash");
    screen.types("\r\tback\r");
    screen.sees("copy is restored");
    screen.sees("the trash is empty");
    screen.types("2I/nonexistent\tbad\r");
    screen.sees("nonexistent");
    screen.types("5Dy");
    screen.sees("data is deleted");
    screen.types(";vm show db\r");
    screen.sees("press enter to return to banger");
    screen.types("\rq");
    assert_eq!(screen.ends(), Some(0));
    let names: Vec<_> = environment
        .json(&["vm", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].clone())
        .collect();
    assert_eq!(names, ["back", "db"]);
}

/// Writes the pictures of docs/tui.md. `make screenshots`
#[test]
#[ignore = "writes docs/images: make screenshots"]
fn screenshots() {
    let names = [
        "api", "build-1", "build-2", "db", "docs", "queue", "scratch", "web",
    ];
    let environment = with_vms(&names);
    environment.done(&["vm", "set", "api", "--label", "team=web", "--nat"]);
    environment.done(&["vm", "set", "db", "--protect", "--autostart"]);
    for name in ["api", "build-1", "db", "queue", "web"] {
        environment.done(&["vm", "start", name]);
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    std::fs::create_dir_all(&folder).unwrap();
    for (rows, columns) in [(24, 80), (50, 200)] {
        let mut screen = tui(&environment, (rows, columns));
        screen.sees("5 of 8 running");
        screen.sees("work disk [");
        let picture = screen.look(crate::screen::svg);
        std::fs::write(folder.join(format!("tui-{columns}x{rows}.svg")), picture).unwrap();
        screen.types("q");
        screen.ends();
    }
}
