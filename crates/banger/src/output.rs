//! Printing: data goes to standard output, everything else to standard error.
//!
//! Text from the daemon may contain a guest's output, such as the line of a panic, so control
//! characters are escaped in text and in JSON.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

pub(crate) use banger_api::harmless::visible as clean;
use banger_api::{Error, harmless};
use serde::Serialize;

use crate::environment::Environment;
use crate::global::Global;

/// The user's choice of output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Results and errors only.
    pub(crate) quiet: bool,
    /// Standard output is a terminal.
    pub(crate) terminal: bool,
    /// Standard output takes colours.
    pub(crate) colour: bool,
    /// It takes characters beyond ASCII.
    pub(crate) unicode: bool,
}

/// The colours that banger uses, by their SGR number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    /// An error.
    Red = 31,
    /// Success.
    Green = 32,
    /// A warning.
    Yellow = 33,
    /// Secondary text.
    Grey = 90,
}

/// The other machine that this command works with.
#[derive(Debug)]
struct OtherHost {
    name: String,
    /// Whether the user's next commands must name it to work with it.
    named: bool,
}

/// Set once, when the command has connected: all text of a process is about one host.
static OTHER_HOST: OnceLock<OtherHost> = OnceLock::new();

/// Makes all text say that VMs are on this host. With `named`, commands in it get `--host NAME`,
/// because this command had it.
pub(crate) fn speak_of(name: &str, named: bool) {
    let name = name.to_owned();
    // The first one is kept.
    let _ = OTHER_HOST.set(OtherHost { name, named });
}

/// The other machine that this command works with.
pub(crate) fn other_host() -> Option<&'static str> {
    OTHER_HOST.get().map(|it| it.name.as_str())
}

/// The text, with its commands changed to use the host of this command.
pub(crate) fn with_host(text: &str) -> Cow<'_, str> {
    match OTHER_HOST.get().filter(|it| it.named) {
        Some(host) => Cow::Owned(commands_with(text, &host.name)),
        None => Cow::Borrowed(text),
    }
}

/// The text with `--host NAME` in each banger command that accepts it.
pub(crate) fn commands_with(text: &str, host: &str) -> String {
    const VERBS: [&str; 11] = [
        "vm",
        "image",
        "volume",
        "daemon",
        "doctor",
        "config",
        "system",
        "bundle",
        "verify",
        "metrics",
        "ssh-config",
    ];
    let mut parts = text.split("banger ");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let verb = part
            .split(|c: char| c.is_whitespace() || ";,)".contains(c))
            .next();
        let begins = whole.is_empty() || whole.ends_with([' ', '\n', '(', '`', '\'']);
        whole += "banger ";
        if begins && verb.is_some_and(|verb| VERBS.contains(&verb)) {
            whole += &format!("--host {host} ");
        }
        whole += part;
    }
    whole
}

impl Output {
    /// Follows the options, the terminal and `NO_COLOR` (<https://no-color.org>).
    pub(crate) fn new(global: &Global, environment: &Environment) -> Self {
        let terminal = io::stdout().is_terminal();
        let dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
        let colour = terminal && !dumb && environment.get("NO_COLOR").is_none();
        Self {
            json: global.json,
            quiet: global.quiet,
            terminal,
            colour,
            unicode: environment.has_unicode(),
        }
    }

    /// Prints a result: `value` for programs, or the output of `text` for people.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        if self.json {
            self.value(value)
        } else {
            self.text(&text())
        }
    }

    /// Prints text, with a newline at its end.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }

    /// Prints one JSON value: indented for a terminal, one line for a program.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub(crate) fn value(self, value: &impl Serialize) -> io::Result<()> {
        let text = if self.terminal {
            serde_json::to_string_pretty(value)?
        } else {
            serde_json::to_string(value)?
        };
        self.text(&harmless::json(&text))
    }

    /// Prints a note, unless `--quiet`.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            say(format_args!("note: {}", clean(&with_host(text))));
        }
    }

    /// Prints a warning, `--quiet` or not.
    pub(crate) fn warning(self, text: &str) {
        if !self.json {
            say(format_args!("warning: {}", clean(&with_host(text))));
        }
    }

    /// Prints an error.
    pub(crate) fn error(self, error: &Error) {
        if self.json {
            error_as_json(error);
        } else {
            say(clean(&with_host(&error.report())));
        }
    }

    /// Colours the text, if the output has colours.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if self.colour {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }
}

/// Prints the error as one line of JSON.
pub(crate) fn error_as_json(error: &Error) {
    match serde_json::to_string(error) {
        Ok(text) => say(harmless::json(&text)),
        Err(_) => say(clean(&error.report())),
    }
}

/// Prints a line to standard error, and ignores write errors.
pub(crate) fn say(text: impl Display) {
    // One write call, so that lines of several programs do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            clean("a\u{1b}[2Jb\r\nc\u{9b}1m \u{202e}é"),
            "a\\u{1b}[2Jb\\r\nc\\u{9b}1m \\u{202e}é"
        );
    }

    #[test]
    fn commands_name_the_host_that_this_one_works_with() {
        for (text, expected) in [
            ("banger vm ssh web", "banger --host lab vm ssh web"),
            (
                "list all VMs: banger vm list; or: banger doctor",
                "list all VMs: banger --host lab vm list; or: banger --host lab doctor",
            ),
            ("banger host list", "banger host list"),
            ("a VM of mybanger vm x", "a VM of mybanger vm x"),
            ("banger is old", "banger is old"),
        ] {
            assert_eq!(commands_with(text, "lab"), expected);
        }
    }

    #[test]
    fn text_has_no_colour_where_none_is_wanted() {
        let output = Output {
            json: false,
            quiet: false,
            terminal: false,
            colour: false,
            unicode: false,
        };
        assert_eq!(output.paint(Colour::Green, "running"), "running");
        let output = Output {
            colour: true,
            ..output
        };
        assert_eq!(
            output.paint(Colour::Green, "running"),
            "\u{1b}[32mrunning\u{1b}[0m"
        );
    }
}
