//! The command line for the guest's shell.
//!
//! It runs the user's command under the guest's `banger-session`, which sends SIGHUP to the command
//! when the connection is lost, and reports the signal that ended it. The line is one argument,
//! which Linux limits to 128 KiB; a longer command is sent as a file first.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::quote;

/// The longest command line, in bytes. Linux allows 128 KiB (`MAX_ARG_STRLEN`), and quoting in the
/// guest may lengthen it.
const LONGEST_LINE: usize = 96 << 10;

/// Runs `$1` as sshd would. A guest that an older banger started has no `banger-session`: there the
/// shell reports signals, and a command survives its connection.
const RUN: &str = r#"s=/run/banger/banger-session
if [ -x $s ]; then export BANGER_COMMAND="$1"; exec $s; fi
"${SHELL:-/bin/sh}" -c "$1"; exit $?"#;

/// Runs the command in the file `$1`.
const RUN_FILE: &str = r#"s=/run/banger/banger-session
if [ -x $s ]; then exec $s -f "$1"; fi
rm -f "$1"; echo "banger: restart the VM to run a command of this length: banger vm restart NAME" >&2; exit 126"#;

/// Copies standard input to a private file in memory, and prints its name.
const TAKE: &str = r#"umask 077
f=$(mktemp /dev/shm/banger-command.XXXXXXXX 2>/dev/null || mktemp) || exit
if cat > "$f"; then echo "$f"; else rm -f "$f"; exit 1; fi"#;

/// The transport of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// A command line.
    Line(OsString),
    /// A file with these bytes, which is sent first.
    File(Vec<u8>),
}

impl Remote {
    pub(super) fn new(command: &[OsString]) -> Self {
        let line = script(RUN, &quote::command_line(command));
        if line.len() <= LONGEST_LINE {
            return Self::Line(line);
        }
        let mut bytes = Vec::new();
        for word in command {
            bytes.extend(word.as_bytes());
            bytes.push(0);
        }
        Self::File(bytes)
    }
}

/// The command line that receives the file.
pub(super) fn take() -> OsString {
    script(TAKE, OsStr::new(""))
}

/// The line that runs the command in the file whose name [`take`] printed.
pub(super) fn run_file(answer: &str) -> OsString {
    let name = answer.strip_suffix('\n').unwrap_or(answer);
    script(RUN_FILE, OsStr::new(name))
}

/// A command line for any login shell: `sh` runs this script with one argument.
fn script(script: &str, argument: &OsStr) -> OsString {
    let words = [script, "banger"].map(OsString::from);
    let mut line = b"exec /bin/sh -c ".to_vec();
    line.extend(quote::command_line(words.iter().chain([&argument.to_owned()])).into_vec());
    OsString::from_vec(line)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};

    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    /// Runs a line like sshd.
    #[expect(clippy::disallowed_methods, reason = "a test asks a real shell")]
    fn sshd(line: &OsStr, input: &[u8]) -> Output {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(line)
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    #[test]
    fn a_command_that_a_signal_ended_has_a_shells_status() {
        for (script, status) in [
            ("exit 3", 3),
            ("kill -TERM $$", 143),
            ("kill -KILL $$", 137),
        ] {
            let Remote::Line(line) = Remote::new(&words(&["sh", "-c", script])) else {
                panic!("it is short");
            };
            assert_eq!(sshd(&line, b"").status.code(), Some(status), "{script}");
        }
    }

    #[test]
    fn words_pass_a_line_as_they_are() {
        let command = words(&["printf", "<%s>", "it's", "", "a\nb", "$HOME", "\\", "!"]);
        let Remote::Line(line) = Remote::new(&command) else {
            panic!("it is short");
        };
        assert_eq!(sshd(&line, b"").stdout, b"<it's><><a\nb><$HOME><\\><!>");
    }

    #[test]
    fn what_is_too_long_for_one_argument_goes_as_a_file() {
        let long = "'".repeat(LONGEST_LINE / 8);
        assert!(matches!(
            Remote::new(&words(&["echo", &long])),
            Remote::File(_)
        ));
        let Remote::File(bytes) = Remote::new(&words(&["echo", &"x".repeat(LONGEST_LINE), ""]))
        else {
            panic!("it is long");
        };
        let output = sshd(&take(), &bytes);
        let name = String::from_utf8(output.stdout).unwrap();
        assert_eq!(std::fs::read(name.trim_end()).unwrap(), bytes);
        let run = sshd(&run_file(&name), b"");
        // This host has no `banger-session`; the file is removed all the same.
        assert!(!std::fs::exists(name.trim_end()).unwrap(), "{run:?}");
    }
}
