//! The terminal is shared with other programs, and given back whatever happens.

use std::io::Write as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{is_given_back, tui, with_vms};
use crate::environment::program;
use crate::screen::Screen;

#[test]
fn a_shell_in_place_gives_the_screen_and_the_keys_back() {
    // k9s#1123, #1699; lazygit#3903, #2944, #3891.
    let environment = with_vms(&["mail", "web"]);
    environment.done(&["vm", "start", "mail"]);
    let words = [program().to_str().unwrap(), "tui"];
    let mut screen = Screen::with(&environment, &words, (24, 80), &[("EDITOR", "vi")]);
    screen.sees("1 of 2 running");
    let own = screen.pid();
    // A simulated VM has no SSH: its words stay to be read.
    screen.types("S");
    screen.sees("there is nothing to log in to");
    screen.sees("press enter to return to banger");
    screen.types("xyz\r");
    screen.sees("2 VMs");
    screen.sees_no("press enter");
    // Its shell over the agent gets the keys, and is ended here by a signal. Keys typed before it has
    // the terminal would be echoed by the terminal itself.
    screen.types("\r");
    screen.sees_no("2 VMs");
    wait_until("the shell has the terminal", || {
        !children(own).is_empty() && !screen.is_in_lines()
    });
    screen.types("qjD\r");
    screen.sees("qjD");
    // Killed, it leaves the terminal as a shell has it, and enter is none there.
    for shell in children(own) {
        kill_process(shell, Signal::KILL).unwrap();
    }
    screen.waits("its end", |text| text.matches("press enter").count() == 2);
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
    screen.sees("╭ 1 VM ");
    for round in 0..60u16 {
        screen.resize((1 + (round * 7) % 60, 1 + (round * 31) % 240));
    }
    screen.resize((30, 100));
    screen.types("\u{c}");
    screen.waits("a whole screen", |text| {
        text.lines().count() == 30
            && text.contains("╭ 1 VM ")
            && text
                .lines()
                .any(|it| it.contains("web") && it.contains("stopped"))
            && text.contains("help")
    });
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let environment = with_vms(&["web"]);
    for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut screen = tui(&environment, (24, 80));
        screen.sees("╭ 1 VM ");
        kill_process(pid(&screen), signal).unwrap();
        assert_eq!(screen.ends(), Some(status));
        is_given_back(&screen);
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it is not so that {what}");
        std::thread::sleep(Duration::from_millis(10));
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
    screen.sees("╭ 1 VM ");
    screen.vanish();
    screen.ends();
}

#[test]
fn a_program_that_is_stopped_goes_on_where_it_was() {
    let environment = with_vms(&["web"]);
    let line = format!("{} tui", program().display());
    let mut screen = Screen::new(&environment, &["bash", "--norc", "-i"], (24, 80));
    screen.types(&format!("{line}\r"));
    screen.sees("╭ 1 VM ");
    screen.types("\u{1a}");
    screen.sees("Stopped");
    screen.look(|screen| {
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    });
    screen.types("fg && echo went'_'well\r");
    screen.sees("╭ 1 VM ");
    screen.types("s");
    screen.sees("1 of 1 running");
    screen.types("q");
    screen.sees("went_well");
    screen.types("exit\r");
    screen.ends();
}

#[test]
fn a_program_that_no_shell_can_resume_is_not_stopped() {
    let line = format!("{} tui; true", program().display());
    // In a terminal of its own, and as the command of a shell without jobs, such as that of `ssh -t`.
    is_not_stopped(&[program().to_str().unwrap(), "tui"]);
    is_not_stopped(&["sh", "-c", &line]);
}

#[test]
fn a_program_in_a_container_without_a_session_of_its_own_is_not_stopped() {
    if !rustix::process::geteuid().is_root() {
        // The test harness would capture `eprintln` in a test that passes.
        let line = format!("SKIPPED: {}: needs root\n", module_path!());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    // The session's process lies outside the PID namespace, so its ID is 0 inside.
    let line = format!("{} tui; true", program().display());
    is_not_stopped(&["unshare", "--pid", "--fork", "sh", "-c", &line]);
}

fn is_not_stopped(words: &[&str]) {
    let environment = with_vms(&["web"]);
    let mut screen = Screen::new(&environment, words, (24, 80));
    screen.sees("╭ 1 VM ");
    screen.types("\u{1a}");
    screen.sees("no shell would resume");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}

#[test]
fn without_colours_none_is_sent() {
    let environment = with_vms(&["web"]);
    let words = [program().to_str().unwrap(), "tui"];
    let mut screen = Screen::with(&environment, &words, (24, 80), &[("NO_COLOR", "1")]);
    screen.sees("╭ 1 VM ");
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
