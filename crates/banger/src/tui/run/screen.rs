//! The user's terminal: taken, given back whatever happens, and taken again.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::style::ResetColor;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Whether the terminal is ours, so that it is given back once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the terminal.
///
/// # Errors
/// It is gone.
pub(super) fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        Hide
    )?;
    hear_mouse(mouse)
}

/// Hears the mouse, or leaves it to the terminal, which selects text with it.
///
/// # Errors
/// The terminal is gone.
pub(super) fn hear_mouse(mouse: bool) -> io::Result<()> {
    if mouse {
        execute!(io::stdout(), EnableMouseCapture)
    } else {
        execute!(io::stdout(), DisableMouseCapture)
    }
}

/// Gives the terminal back as it was. On a terminal that is gone it does nothing, and says nothing.
pub(super) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = execute!(
        io::stdout(),
        DisableMouseCapture,
        DisableBracketedPaste,
        ResetColor,
        LeaveAlternateScreen,
        Show
    );
    let _ = io::stdout().flush();
    let _ = disable_raw_mode();
}

/// Gives the terminal back before a panic of this thread is told. One of another thread is caught
/// where that thread begins, and is told on the screen.
pub(super) fn give_back_on_panic() {
    let owner = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == owner {
            give_back();
            before(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;

    /// Run by the other test, on a terminal of its own.
    #[test]
    #[ignore = "it panics on purpose"]
    fn panics_on_the_screen() {
        give_back_on_panic();
        take(true).unwrap();
        // One of another thread is told on the screen, and leaves it as it is.
        let other = std::thread::spawn(|| panic!("another thread"));
        assert!(other.join().is_err() && TAKEN.load(Ordering::SeqCst));
        panic!("this is the end");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test runs itself")]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        // lazygit#1240, #1179.
        let (mut master, terminal) = crate::pty::open(None);
        let is_cooked = || {
            let modes = tcgetattr(&terminal).unwrap().local_modes;
            modes.contains(LocalModes::ICANON | LocalModes::ECHO)
        };
        assert!(is_cooked());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("tui::run::screen::tests::panics_on_the_screen")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(Stdio::from(terminal.try_clone().unwrap()))
            .spawn()
            .unwrap();
        let reader = std::thread::spawn(move || {
            let mut sent = Vec::new();
            let mut piece = [0; 4096];
            // A terminal that nobody has any longer ends with an error.
            while let Ok(read @ 1..) = master.read(&mut piece) {
                sent.extend_from_slice(&piece[..read]);
            }
            String::from_utf8_lossy(&sent).into_owned()
        });
        assert!(!child.wait().unwrap().success());
        assert!(is_cooked(), "keys are lines again");
        drop(terminal);
        let sent = reader.join().unwrap();
        let at = |text: &str| {
            sent.rfind(text)
                .unwrap_or_else(|| panic!("{text:?}: {sent:?}"))
        };
        let told = at("this is the end");
        for (on, off) in [
            ("\x1b[?1049h", "\x1b[?1049l"),
            ("\x1b[?2004h", "\x1b[?2004l"),
            ("\x1b[?25l", "\x1b[?25h"),
            ("\x1b[?1000h", "\x1b[?1000l"),
        ] {
            assert!(at(on) < at(off) && at(off) < told, "{off:?}: {sent:?}");
        }
        assert!(!sent.contains("another thread"), "{sent:?}");
    }
}
