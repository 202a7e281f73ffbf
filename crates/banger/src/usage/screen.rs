//! Text that is drawn over what a terminal showed before, without a flicker.

use std::io::Write as _;

/// The rows of the terminal.
pub(crate) fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(24, |it| usize::from(it.ws_row)).max(2)
}

/// Draws over what was there.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn draw(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(frame(text, rows()).as_bytes())?;
    stdout.flush()
}

/// What a terminal with so many rows is sent. It cuts lines that are too long itself, and each line replaces
/// an older one: a terminal that was cleared first would be seen empty.
fn frame(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut screen = "\x1b[?7l\x1b[H".to_owned();
    let fits = lines.len() < rows;
    let shown = if fits { lines.len() } else { rows - 2 };
    for line in &lines[..shown] {
        screen += line;
        screen += "\x1b[K\n";
    }
    if !fits {
        screen += &format!("and {} more\x1b[K\n", lines.len() - shown);
    }
    screen + "\x1b[J\x1b[?7h"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_nothing_is_cleared_before_it_is_drawn() {
        assert_eq!(
            frame("a\nb\n", 3),
            "\x1b[?7l\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h"
        );
        assert_eq!(
            frame("a\nb\nc\n", 3),
            "\x1b[?7l\x1b[Ha\x1b[K\nand 2 more\x1b[K\n\x1b[J\x1b[?7h"
        );
    }
}
