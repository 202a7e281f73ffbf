//! Runs programs to completion, with an argument vector, a fixed environment and complete errors.
//!
//! No shell is involved. The environment has only a minimal `PATH` and the C locale, so that the
//! output does not depend on the user. An error quotes the whole command, its exit status and the
//! last lines of its output.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

mod run;

/// The directories where programs are looked up.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The `PATH` of every started program.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The patience with a program that answers at once on a healthy host. A kernel lock, a name service
/// or a bus that hangs makes it late, and must not hang the daemon as well.
pub(crate) const PROMPTLY: Duration = Duration::from_secs(30);

/// A program and its arguments, to run to completion.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    input: Option<Vec<u8>>,
    input_file: Option<PathBuf>,
    output_file: Option<PathBuf>,
    patience: Option<Duration>,
}

/// The output of a program that has ended, and its exit status.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// All that it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// All that it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Its standard output as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its standard error as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// The executable file of this name in the system's own directories, or at this absolute path;
/// `None` if there is none.
#[must_use]
pub fn find_program(name: &OsStr) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if Path::new(name).is_absolute() {
        return Some(PathBuf::from(name)).filter(is_program);
    }
    DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(is_program)
}

impl Command {
    /// A program without arguments: a name, looked up in the system's own directories, or an
    /// absolute path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            input: None,
            input_file: None,
            output_file: None,
            patience: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|it| it.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment, which otherwise has only `PATH` and `LC_ALL=C`.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the directory that it starts in.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Writes these bytes to its standard input, which is empty otherwise.
    #[must_use]
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Makes this file its standard input.
    #[must_use]
    pub fn input_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.input_file = Some(path.into());
        self
    }

    /// Writes its standard output to this file, which is replaced.
    #[must_use]
    pub fn output_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.output_file = Some(path.into());
        self
    }

    /// Kills the program if it still runs after this time.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Whether the program exists.
    #[must_use]
    pub fn program_exists(&self) -> bool {
        find_program(&self.program).is_some()
    }
}

impl fmt::Display for Command {
    /// Formats the command as one would type it, quoted where a shell needs it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |it: &str| {
            !it.is_empty()
                && it
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_./,:=+@%^".contains(c))
        };
        for (position, word) in std::iter::once(&self.program)
            .chain(&self.arguments)
            .enumerate()
        {
            let word = word.to_string_lossy();
            let space = if position == 0 { "" } else { " " };
            if plain(&word) {
                write!(f, "{space}{word}")?;
            } else {
                write!(f, "{space}'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
