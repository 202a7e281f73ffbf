//! Questions to the user at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::output::{Output, clean};

/// Whether a user can answer, which a script or a program that reads JSON cannot.
pub(crate) fn somebody_is_there(output: Output) -> bool {
    !output.json && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on standard error. Only `y` and `yes` agree.
///
/// # Errors
/// If standard input cannot be read.
pub(crate) fn agrees(question: &str) -> io::Result<bool> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{} [y/N] ", clean(question))?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(answer == "y" || answer == "yes")
}

/// Asks on standard error for a text; `None` for an empty one, and at the end of the input.
pub(crate) fn text(question: &str) -> Option<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{} ", clean(question))
        .and_then(|()| stderr.flush())
        .ok()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).ok()?;
    let answer = answer.trim().to_owned();
    (!answer.is_empty()).then_some(answer)
}

/// Asks on standard error until the answer is yes or no; `None` at the end of the input.
pub(crate) fn yes_or_no(question: &str) -> Option<bool> {
    let mut answers = io::stdin().lock();
    loop {
        // If the question cannot be shown, there is no answer.
        let mut stderr = io::stderr();
        write!(stderr, "{} [y/n] ", clean(question))
            .and_then(|()| stderr.flush())
            .ok()?;
        let mut answer = String::new();
        if answers.read_line(&mut answer).ok()? == 0 {
            let _ = writeln!(stderr);
            return None;
        }
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => return Some(true),
            "n" | "no" => return Some(false),
            _ => {}
        }
    }
}
