//! What is asked and drawn, and what makes no key wait.

use std::time::{Duration, Instant};

use super::with_vms;
use crate::environment::{TestEnvironment, program};
use crate::held_daemon::HeldDaemon;
use crate::screen::Screen;

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
    let environment = with_vms(&["api", "mail", "web"]);
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
    screen.waits("the meter of web", |text| text.contains("%│"));
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
    let environment = with_vms(&["api", "mail", "web"]);
    environment.done(&["vm", "start", "web"]);
    let daemon = HeldDaemon::new(&environment);
    let mut screen = tui_before(&environment, &daemon, (32, 120));
    screen.sees("1 of 3 running");
    daemon.hold();
    let shows = |screen: &Screen, name: &str| {
        let title = format!("╰ {name} ─");
        screen.waits(&title, |text| text.contains(&title));
    };
    shows(&screen, "api");
    screen.types("s");
    screen.types("jj");
    shows(&screen, "web");
    // What is in the trash was not asked before.
    screen.types("6");
    screen.sees("asked, and not answered yet");
    screen.types("1/mail\r");
    screen.sees("1 of 3 VMs");
    screen.types("\u{1b}");
    screen.sees("╭ 3 VMs");
    screen.types("]]gj");
    shows(&screen, "mail");
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
    screen.sees("╰ vm-0999 ─");
    let drawn = frames(&screen) - before;
    assert!(drawn < keys / 2, "{drawn} frames for {keys} keys");
    screen.types("/0500");
    screen.sees("1 of 1000 VMs");
    screen.types("\u{1b}");
    screen.sees("╭ 1000 VMs");
    screen.types("q");
    assert_eq!(screen.ends(), Some(0));
}
