//! Messages: progress goes to the kernel's log, and lines for the daemon go to the console.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

/// The longest line that the kernel's log keeps whole.
const LONGEST: usize = 900;

/// How long a write to the console may take if its other end does not read.
const PATIENCE: Duration = Duration::from_secs(2);

fn log(level: u8, text: &str) {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let shown = &line[..line.floor_char_boundary(LONGEST)];
    if let Ok(mut kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // One write is one record. Without a log there is nowhere to report the error.
        let _ = kmsg.write_all(format!("<{level}>banger: {shown}\n").as_bytes());
    }
}

/// Writes a note about progress to the kernel's log.
pub(crate) fn note(text: &str) {
    log(6, text);
}

/// Writes a warning to the kernel's log.
pub(crate) fn warn(text: &str) {
    log(4, text);
}

/// Writes lines to the console, and waits a while for them to be sent.
pub(crate) fn say(lines: &str) {
    let bytes = lines.as_bytes().to_vec();
    let (done, wait) = mpsc::channel();
    thread::spawn(move || {
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or(0);
        let console = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open("/dev/console");
        if let Ok(mut console) = console {
            let _ = console.write_all(&bytes);
            let _ = rustix::termios::tcdrain(&console);
        }
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(PATIENCE);
}
