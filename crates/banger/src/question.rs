//! Questions on a terminal. They and their answers stand on standard error, so that data stays data.

use std::io::{self, BufRead as _, Write as _};

/// Asks until it is answered: none at the end of the input.
pub(crate) fn yes_or_no(question: &str) -> Option<bool> {
    let mut answers = io::stdin().lock();
    loop {
        // Who cannot be asked gives no answer.
        let mut err = io::stderr();
        write!(err, "{question} [y/n] ")
            .and_then(|()| err.flush())
            .ok()?;
        let mut answer = String::new();
        if answers.read_line(&mut answer).ok()? == 0 {
            let _ = writeln!(err);
            return None;
        }
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => return Some(true),
            "n" | "no" => return Some(false),
            _ => {}
        }
    }
}
