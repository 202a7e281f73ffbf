//! The user's terminal while a command in a guest uses it.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The size without a terminal: columns, rows.
const USUAL: (u16, u16) = (80, 24);

/// A terminal in raw mode, until this is dropped.
#[derive(Debug)]
pub(in crate::commands::vm) struct Terminal(Option<Termios>);

impl Terminal {
    /// Sets the terminal of standard input to raw mode, if there is one and `wanted` is true.
    pub(in crate::commands::vm) fn raw_if(wanted: bool) -> Self {
        if !wanted {
            return Self(None);
        }
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Self(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        let _ = tcsetattr(&stdin, OptionalActions::Now, &raw);
        Self(Some(before))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The terminal's size: columns, rows.
pub(in crate::commands::vm) fn size() -> (u16, u16) {
    let of_output = tcgetwinsize(std::io::stdout());
    let size = of_output.or_else(|_| tcgetwinsize(std::io::stdin()));
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => USUAL,
    }
}
