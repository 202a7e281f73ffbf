//! A program on a terminal as a user sees it: the content of the screen, not the bytes sent to it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::environment::TestEnvironment;
use crate::pty;
use crate::terminal;

/// How long a change of the screen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The content of the terminal, and all bytes sent to it.
struct Display {
    parser: vt100::Parser,
    bytes: Vec<u8>,
    ended: bool,
    closing: bool,
}

/// A program on a terminal of its own.
pub(crate) struct Screen {
    child: Child,
    master: Option<File>,
    seen: Arc<(Mutex<Display>, Condvar)>,
}

impl Screen {
    /// Starts the command on a terminal of this size (rows, columns).
    pub(crate) fn new(environment: &TestEnvironment, words: &[&str], size: (u16, u16)) -> Self {
        Self::with(environment, words, size, &[])
    }

    /// The same, with further variables.
    pub(crate) fn with(
        environment: &TestEnvironment,
        words: &[&str],
        size: (u16, u16),
        variables: &[(&str, &str)],
    ) -> Self {
        let own = [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")];
        let variables = [&own, variables].concat();
        let (child, master) = terminal::start(environment, words, Some(size), &variables);
        let seen = Display {
            parser: vt100::Parser::new(cells(size.0), cells(size.1), 0),
            bytes: Vec::new(),
            ended: false,
            closing: false,
        };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let (mut reader, own) = (master.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut piece = [0; 65536];
            loop {
                // The terminal closes with its last master, so this thread must not block in a
                // read.
                let mut polled = [PollFd::new(&reader, PollFlags::IN)];
                let soon = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 50_000_000,
                };
                if rustix::event::poll(&mut polled, Some(&soon)).unwrap_or(0) == 0 {
                    if own.0.lock().unwrap().closing {
                        return;
                    }
                    continue;
                }
                let read = reader.read(&mut piece).unwrap_or(0);
                let mut seen = own.0.lock().unwrap();
                seen.parser.process(&piece[..read]);
                seen.bytes.extend_from_slice(&piece[..read]);
                seen.ended = read == 0;
                own.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self {
            child,
            master: Some(master),
            seen,
        }
    }

    /// Types keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.master
            .as_mut()
            .unwrap()
            .write_all(keys.as_bytes())
            .unwrap();
    }

    /// Resizes the terminal.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        self.seen
            .0
            .lock()
            .unwrap()
            .parser
            .screen_mut()
            .set_size(cells(size.0), cells(size.1));
        pty::resize(self.master.as_ref().unwrap(), size);
    }

    /// The text on the screen.
    pub(crate) fn text(&self) -> String {
        self.seen.0.lock().unwrap().parser.screen().contents()
    }

    /// Gives access to the screen itself.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.seen.0.lock().unwrap().parser.screen())
    }

    /// Whether the terminal collects lines, as it does for a shell's commands, and not for a program on
    /// the whole screen.
    pub(crate) fn is_in_lines(&self) -> bool {
        let modes = rustix::termios::tcgetattr(self.master.as_ref().unwrap()).unwrap();
        modes
            .local_modes
            .contains(rustix::termios::LocalModes::ICANON)
    }

    /// All bytes sent to the terminal.
    pub(crate) fn sent(&self) -> Vec<u8> {
        self.seen.0.lock().unwrap().bytes.clone()
    }

    /// Waits until the screen satisfies the condition.
    pub(crate) fn waits(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            let text = seen.parser.screen().contents();
            if is_so(&text) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !seen.ended,
                "{what} is not on the screen:\n{text}"
            );
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until the text is on the screen.
    pub(crate) fn sees(&self, text: &str) {
        self.waits(&format!("`{text}`"), |screen| screen.contains(text));
    }

    /// Waits until the text is not on the screen any more.
    pub(crate) fn sees_no(&self, text: &str) {
        self.waits(&format!("no `{text}`"), |screen| !screen.contains(text));
    }

    /// The id of the program's process.
    pub(crate) fn pid(&self) -> u32 {
        let setsid = self.child.id();
        let children = format!("/proc/{setsid}/task/{setsid}/children");
        let child = std::fs::read_to_string(children).unwrap_or_default();
        child
            .split_whitespace()
            .next()
            .map_or(setsid, |it| it.parse().unwrap())
    }

    /// Closes the terminal, like a closed window.
    pub(crate) fn vanish(&mut self) {
        self.seen.0.lock().unwrap().closing = true;
        self.master = None;
    }

    /// Waits until the program has ended and its last bytes have been read, and returns its exit
    /// status.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.reads_to_the_end();
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the reader has reached the end of the terminal. A process that outlives the
    /// program may hold the terminal open, so the wait is bounded.
    fn reads_to_the_end(&self) {
        let (display, changed) = &*self.seen;
        let is_open = |display: &mut Display| !display.ended && !display.closing;
        let display = display.lock().unwrap();
        drop(changed.wait_timeout_while(display, PATIENCE, is_open));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let pid = self.pid();
        if let Some(process) = rustix::process::Pid::from_raw(pid.cast_signed())
            && pid != self.child.id()
        {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number of rows or columns.
fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

/// The screen as an SVG picture, with one text for each run of cells with the same style.
pub(crate) fn svg(screen: &vt100::Screen) -> String {
    use std::fmt::Write as _;
    const WIDTH: u32 = 9;
    const HEIGHT: u32 = 19;
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let (width, height) = (
        u32::from(columns) * WIDTH + 16,
        u32::from(rows) * HEIGHT + 16,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"15\">\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let from = column;
            let look = look(screen, row, column);
            let mut text = String::new();
            while column < columns && self::look(screen, row, column) == look {
                let content = screen
                    .cell(row, column)
                    .map(|it| it.contents().to_owned())
                    .unwrap_or_default();
                text += if content.is_empty() { " " } else { &content };
                column += 1;
            }
            let (x, y) = (u32::from(from) * WIDTH + 8, u32::from(row) * HEIGHT + 8);
            let length = u32::from(column - from) * WIDTH;
            let (mut fill, mut behind) = (look.colour, BACKGROUND);
            if look.reversed {
                (fill, behind) = (behind, fill);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{length}\" height=\"{HEIGHT}\" fill=\"{behind}\"/>"
                );
            }
            if text.trim().is_empty() {
                continue;
            }
            let escaped = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            let bold = if look.bold {
                " font-weight=\"bold\""
            } else {
                ""
            };
            let dim = if look.dim {
                " fill-opacity=\"0.6\""
            } else {
                ""
            };
            let line = if look.underline {
                " text-decoration=\"underline\""
            } else {
                ""
            };
            let base = y + 14;
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{base}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" fill=\"{fill}\"{bold}{dim}{line}>{escaped}</text>"
            );
        }
    }
    svg + "</svg>\n"
}

const BACKGROUND: &str = "#1d2021";

#[derive(PartialEq)]
struct Look {
    colour: &'static str,
    bold: bool,
    dim: bool,
    underline: bool,
    reversed: bool,
}

fn look(screen: &vt100::Screen, row: u16, column: u16) -> Look {
    const COLOURS: [&str; 8] = [
        "#665c54", "#fb4934", "#b8bb26", "#fabd2f", "#83a598", "#d3869b", "#8ec07c", "#ebdbb2",
    ];
    let cell = screen.cell(row, column);
    let colour = match cell.map(vt100::Cell::fgcolor) {
        Some(vt100::Color::Idx(number)) => COLOURS[usize::from(number % 8)],
        _ => "#ebdbb2",
    };
    Look {
        colour,
        bold: cell.is_some_and(vt100::Cell::bold),
        dim: cell.is_some_and(vt100::Cell::dim),
        underline: cell.is_some_and(vt100::Cell::underline),
        reversed: cell.is_some_and(vt100::Cell::inverse),
    }
}
