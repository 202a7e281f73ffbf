//! Runs programs to completion, with an argument vector, a fixed environment and complete errors.
//!
//! No shell is involved. The environment has only a minimal `PATH` and the C locale, so that the
//! output does not depend on the user. An error quotes the whole command, its exit status and the
//! last lines of its output.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::{Error, Kind, Result};

/// The directories where programs are looked up.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The `PATH` of every started program.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The number of lines of a program's output that an error quotes.
const LAST_LINES: usize = 6;

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

    /// Runs the program to completion, whatever its exit status.
    ///
    /// # Errors
    /// [`Kind::Missing`] if the program does not exist, [`Kind::Denied`] if we may not run it,
    /// [`Kind::Busy`] if it timed out and was killed.
    pub fn output(&self) -> Result<Output> {
        let input = match &self.input_file {
            Some(path) => Stdio::from(File::open(path).map_err(|cause| self.io_error(cause))?),
            None if self.input.is_some() => Stdio::piped(),
            None => Stdio::null(),
        };
        let output = match &self.output_file {
            Some(path) => Stdio::from(File::create(path).map_err(|cause| self.io_error(cause))?),
            None => Stdio::piped(),
        };
        let mut child = self
            .prepare()?
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| self.io_error(cause))?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pid = rustix::process::Pid::from_child(&child);
        let (stdout, stderr, late) = thread::scope(|scope| {
            // Nothing waits for the child before the end of this scope, so its number stays its
            // own.
            let late = self
                .patience
                .map(|patience| scope.spawn(move || end_late(pid, patience)));
            scope.spawn(move || {
                if let (Some(mut pipe), Some(input)) = (stdin, &self.input) {
                    // A program that ends before it has read everything reports why by itself.
                    drop(pipe.write_all(input));
                }
            });
            let errors = scope.spawn(move || read_all(stderr));
            let (stdout, stderr) = (read_all(stdout), errors.join().unwrap_or_default());
            let late = late.is_some_and(|it| it.join().unwrap_or_default());
            (stdout, stderr, late)
        });
        let status = child.wait().map_err(|cause| self.io_error(cause))?;
        if late {
            let patience = self.patience.unwrap_or_default().as_secs_f64();
            let text = format!("`{self}` timed out after {patience} s");
            return Err(Error::new(Kind::Busy, text));
        }
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    /// Runs the program to completion, and requires status 0.
    ///
    /// # Errors
    /// Those of [`Command::output`]; and any other status, with the last lines of the standard
    /// error.
    pub fn run(&self) -> Result<Output> {
        let output = self.output()?;
        if output.status.success() {
            return Ok(output);
        }
        let errors = output.errors();
        Err(self.ended(output.status, errors.lines()))
    }

    /// Runs the program to completion, requires status 0, and passes on each line of its standard
    /// output and error as it is written.
    ///
    /// The program stays in this process group, so that ^C reaches it and its children.
    ///
    /// # Errors
    /// Those of [`Command::run`].
    pub fn stream_lines(&self, mut each: impl FnMut(&str)) -> Result<()> {
        let mut last = Vec::new();
        let status = self.stream(|line| {
            each(line);
            if last.len() == LAST_LINES {
                last.remove(0);
            }
            last.push(line.to_owned());
        })?;
        if status.success() {
            return Ok(());
        }
        Err(self.ended(status, last.iter().map(String::as_str)))
    }

    /// Runs the program to completion, whatever its exit status, and passes on each line of its
    /// standard output and error as it is written. Its standard input has the bytes of
    /// [`Command::stdin`], then the file of [`Command::input_file`].
    ///
    /// # Errors
    /// Those of [`Command::output`].
    pub fn stream(&self, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
        let (reader, writer) = std::io::pipe().map_err(|cause| self.io_error(cause))?;
        let second = writer.try_clone().map_err(|cause| self.io_error(cause))?;
        let file = self.input_file.as_ref().map(File::open).transpose();
        let mut file = file.map_err(|cause| self.io_error(cause))?;
        let input = if self.input.is_some() || file.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut command = self.prepare()?;
        let mut child = command
            .stdin(input)
            .stdout(writer)
            .stderr(second)
            .spawn()
            .map_err(|cause| self.io_error(cause))?;
        // The command holds this side's ends of the pipe, which must be closed.
        drop(command);
        let stdin = child.stdin.take();
        let pid = rustix::process::Pid::from_child(&child);
        let late = thread::scope(|scope| {
            // Nothing waits for the child before the end of this scope, so its number stays its
            // own.
            let late = self
                .patience
                .map(|patience| scope.spawn(move || end_late(pid, patience)));
            scope.spawn(move || {
                let Some(mut pipe) = stdin else { return };
                // A program that ends before it has read everything reports why by itself.
                let written = pipe.write_all(self.input.as_deref().unwrap_or_default());
                if let (Ok(()), Some(file)) = (written, &mut file) {
                    drop(std::io::copy(file, &mut pipe));
                }
            });
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|length| length > 0)
            {
                each(String::from_utf8_lossy(&line).trim_end());
                line.clear();
            }
            late.is_some_and(|it| it.join().unwrap_or_default())
        });
        let status = child.wait().map_err(|cause| self.io_error(cause))?;
        if late {
            let patience = self.patience.unwrap_or_default().as_secs_f64();
            let text = format!("it did not end within {patience} s");
            return Err(Error::new(Kind::Busy, text));
        }
        Ok(status)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is where programs are started"
    )]
    fn prepare(&self) -> Result<std::process::Command> {
        let Some(program) = find_program(&self.program) else {
            let name = self.program.to_string_lossy();
            return Err(Error::new(
                Kind::Missing,
                format!("there is no program `{name}`"),
            ));
        };
        let mut command = std::process::Command::new(program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        Ok(command)
    }

    fn io_error(&self, cause: std::io::Error) -> Error {
        Error::io(format!("run `{self}`"), cause)
    }

    fn ended<'a>(&self, status: ExitStatus, lines: impl Iterator<Item = &'a str>) -> Error {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("`{self}` ended with status {code}"),
            (None, Some(signal)) => format!("`{self}` was ended by signal {signal}"),
            (None, None) => format!("`{self}` ended as {status}"),
        };
        let lines: Vec<&str> = lines
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("; ");
        if last.is_empty() {
            return Error::new(Kind::Other, how);
        }
        Error::new(Kind::Other, last).within(how)
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

/// Kills a child that still runs after this time; returns whether it did.
fn end_late(pid: rustix::process::Pid, patience: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let wait = Timespec::try_from(patience).ok();
    let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], wait.as_ref());
    ended == Ok(0) && pidfd_send_signal(&handle, Signal::KILL).is_ok()
}

/// Everything up to the end of the pipe. A read error ends it early.
fn read_all(pipe: Option<impl std::io::Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        drop(BufReader::new(pipe).read_to_end(&mut bytes));
    }
    bytes
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
