//! Runs programs to their end, with an argument vector, a fixed environment and complete errors.
//!
//! No shell is involved. The environment has only a minimal `PATH` and the C locale, so that the
//! output does not depend on the user. An error has the whole command, its exit and its last lines
//! of output.

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

/// Where programs are looked for.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The `PATH` of every started program.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How many lines of what a program wrote are kept for an error.
const LAST_LINES: usize = 6;

/// A program with its arguments, to be run to its end.
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

/// What a program that ended has written, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// All that it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Its standard output as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its standard error as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// The program of this name in the system's own directories, or the absolute path itself, if
/// there is an executable file.
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

    /// Sets a variable of its environment, which is otherwise `PATH` and `LC_ALL=C` only.
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

    /// Gives it these bytes to read; without them it reads nothing.
    #[must_use]
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Gives it this file to read.
    #[must_use]
    pub fn input_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.input_file = Some(path.into());
        self
    }

    /// Lets it write its standard output to this file, made anew.
    #[must_use]
    pub fn output_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.output_file = Some(path.into());
        self
    }

    /// Ends it where it has not ended by itself after this time.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Whether there is such a program.
    #[must_use]
    pub fn program_exists(&self) -> bool {
        find_program(&self.program).is_some()
    }

    /// Runs it to its end, however it ends.
    ///
    /// # Errors
    /// [`Kind::Missing`] when there is no such program, [`Kind::Denied`] when we may not run it,
    /// [`Kind::Busy`] when it had to be ended.
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
            // Nobody waits for the child before this scope is over, so its number is its own.
            let late = self
                .patience
                .map(|patience| scope.spawn(move || end_late(pid, patience)));
            scope.spawn(move || {
                if let (Some(mut pipe), Some(input)) = (stdin, &self.input) {
                    // A program that ends without reading it all says why itself.
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

    /// Runs it to its end, which must be status 0.
    ///
    /// # Errors
    /// As [`Command::output`], and when it ends otherwise: the error has the last lines that it
    /// wrote to its standard error.
    pub fn run(&self) -> Result<Output> {
        let output = self.output()?;
        if output.status.success() {
            return Ok(output);
        }
        let errors = output.errors();
        Err(self.ended(output.status, errors.lines()))
    }

    /// Runs it to its end, which must be status 0, and shows each line as it is written, standard
    /// output and error alike.
    ///
    /// It stays in this process group, so that ^C reaches it and its children.
    ///
    /// # Errors
    /// As [`Command::run`].
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

    /// Runs it to its end, however it ends, and shows each line as it is written, standard output and
    /// error alike. It reads the bytes of [`Command::stdin`], and after them the file of
    /// [`Command::input_file`].
    ///
    /// # Errors
    /// As [`Command::output`].
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
        // It holds this side's ends of the pipe, which must be closed.
        drop(command);
        let stdin = child.stdin.take();
        let pid = rustix::process::Pid::from_child(&child);
        let late = thread::scope(|scope| {
            // Nobody waits for the child before this scope is over, so its number is its own.
            let late = self
                .patience
                .map(|patience| scope.spawn(move || end_late(pid, patience)));
            scope.spawn(move || {
                let Some(mut pipe) = stdin else { return };
                // A program that ends without reading it all says why itself.
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
    /// As it would be typed, quotes where a shell needs them.
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

/// Ends a child that still runs after this time; whether it had to.
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

/// All that comes until the other end closes; what cannot be read is as if it were not there.
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
