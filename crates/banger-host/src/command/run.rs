//! How a [`Command`] runs: its pipes, its patience, and the errors of its end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::{Command, Output, PATH, find_program};
use crate::{Error, Kind, Result};

/// The number of lines of a program's output that an error quotes.
const LAST_LINES: usize = 6;

impl Command {
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
            return Err(self.timeout_error());
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
            return Err(self.timeout_error());
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

    fn timeout_error(&self) -> Error {
        let patience = self.patience.unwrap_or_default().as_secs_f64();
        Error::new(Kind::Busy, format!("`{self}` timed out after {patience} s"))
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
