//! A running command: its streams, its signals and its end.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use banger_guest::streams::{ExecFrame, JobState};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};

use super::command::{CANNOT_RUN, RunningCommand};

/// How long a command may take to end after each signal.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The byte that a terminal takes as the end of input.
const END_OF_INPUT: u8 = 4;

/// The longest wait while nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// The signals that end a command, in order.
const ENDINGS: [Signal; 3] = [Signal::HUP, Signal::TERM, Signal::KILL];

/// A command, from its start to its end.
#[derive(Debug)]
pub(crate) struct Process {
    running: RunningCommand,
    group: Pid,
    ended: OwnedFd,
    /// Input that the command has not read yet.
    input: Vec<u8>,
    input_ends: bool,
    hung_up: bool,
    timed_out: bool,
    /// When the next of those signals is due.
    due: Option<Instant>,
    endings: usize,
}

impl Process {
    /// Takes a command over. One that cannot be is ended at once.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub(crate) fn new(running: RunningCommand, timeout: Option<Duration>) -> io::Result<Self> {
        let group = Pid::from_child(&running.child);
        match prepare(&running) {
            Ok(ended) => Ok(Self {
                ended,
                running,
                group,
                input: Vec::new(),
                input_ends: false,
                hung_up: false,
                timed_out: false,
                due: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
                endings: 0,
            }),
            Err(cause) => {
                let _ = kill_process_group(group, Signal::KILL);
                Err(cause)
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether its input is still open.
    pub(crate) fn takes_input(&self) -> bool {
        !self.input_ends
    }

    /// Adds to its input.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
    }

    /// Closes its input after the bytes that were given.
    pub(crate) fn end_input(&mut self) {
        self.input_ends = true;
    }

    /// Sends a signal, by its number on x86-64, to its process group.
    pub(crate) fn signal(&self, number: u8) {
        if let Some(signal) = Signal::from_named_raw(i32::from(number)) {
            // The command may have ended just now.
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Sets the size of its terminal, if it has one.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        if let Some(terminal) = &self.running.terminal {
            let size = Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // On failure the command keeps the old size.
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// Makes the program on its terminal redraw its screen.
    pub(crate) fn redraw(&self) {
        if let Some(terminal) = &self.running.terminal
            && let Ok(foreground) = tcgetpgrp(terminal)
        {
            let _ = kill_process_group(foreground, Signal::WINCH);
        }
    }

    /// Begins to end the command, because its client has gone.
    pub(crate) fn hang_up(&mut self) {
        if !self.hung_up {
            self.hung_up = true;
            self.endings = 0;
            self.due = Some(Instant::now());
        }
    }

    /// Sends the signal that is due.
    pub(crate) fn end_if_due(&mut self) {
        let now = Instant::now();
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if !self.hung_up && self.endings == 0 {
            self.timed_out = true;
            self.endings = 1;
        }
        let signal = ENDINGS[self.endings.min(ENDINGS.len() - 1)];
        for signal in [signal, Signal::CONT] {
            let _ = kill_process_group(self.group, signal);
        }
        self.endings += 1;
        self.due = Some(now + GRACE);
    }

    /// The time until something is due.
    pub(crate) fn patience(&self) -> Duration {
        let now = Instant::now();
        self.due
            .map_or(IDLE, |due| due.saturating_duration_since(now))
    }

    /// The descriptors to poll: its end first, then its output if wanted, and its input if some
    /// waits.
    pub(crate) fn polled(&self, output: bool) -> Vec<PollFd<'_>> {
        let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
        let files = [
            &self.running.stdout,
            &self.running.stderr,
            &self.running.terminal,
        ];
        for file in files.into_iter().flatten().filter(|_| output) {
            fds.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN));
        }
        let input = self
            .running
            .stdin
            .as_ref()
            .or(self.running.terminal.as_ref());
        if let Some(file) = input.filter(|_| !self.input.is_empty()) {
            fds.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT));
        }
        fds
    }

    /// Writes as much input as the command takes; returns the number of bytes that no longer wait.
    pub(crate) fn write_input(&mut self) -> usize {
        let input = self
            .running
            .stdin
            .as_mut()
            .or(self.running.terminal.as_mut());
        let Some(file) = input else {
            // The command has closed its input: the rest is discarded, as with a broken pipe.
            return std::mem::take(&mut self.input).len();
        };
        let mut taken = 0;
        let mut is_broken = false;
        while taken < self.input.len() {
            match file.write(&self.input[taken..]) {
                Ok(count @ 1..) => taken += count,
                Err(cause) if is_later(&cause) => break,
                Ok(0) | Err(_) => {
                    is_broken = true;
                    taken = self.input.len();
                }
            }
        }
        self.input.drain(..taken);
        if is_broken {
            self.running.stdin = None;
        }
        if self.input.is_empty() && self.input_ends {
            self.running.stdin = None;
            if let Some(terminal) = &mut self.running.terminal {
                let _ = terminal.write(&[END_OF_INPUT]);
                self.input_ends = false;
            }
        }
        taken
    }

    /// Reads its available output.
    pub(crate) fn read_output(&mut self) -> Vec<ExecFrame> {
        let mut bytes = [0; 32 << 10];
        let mut read = |file: &mut Option<File>| {
            let result = file.as_mut()?.read(&mut bytes);
            match result {
                Ok(count @ 1..) => Some(bytes[..count].to_vec()),
                Err(cause) if is_later(&cause) => None,
                // A terminal that no process has open returns EIO.
                Ok(0) | Err(_) => {
                    *file = None;
                    None
                }
            }
        };
        let out = read(&mut self.running.stdout);
        let err = read(&mut self.running.stderr);
        let terminal = read(&mut self.running.terminal);
        let frames = [
            out.or(terminal).map(ExecFrame::Stdout),
            err.map(ExecFrame::Stderr),
        ];
        frames.into_iter().flatten().collect()
    }

    /// Whether one of its processes was killed by the out-of-memory killer; `None` if that cannot be told.
    pub(crate) fn oom_killed(&self) -> Option<bool> {
        self.running.counts.oom_killed()
    }

    /// Waits for the end, and returns how the command ended.
    pub(crate) fn wait(&mut self) -> io::Result<JobState> {
        let ended = self.running.child.wait()?;
        Ok(if self.timed_out {
            JobState::TimedOut
        } else {
            state(ended)
        })
    }
}

/// Reads and writes of its streams do not wait; a descriptor that is ready once it has ended.
fn prepare(running: &RunningCommand) -> io::Result<OwnedFd> {
    let files = [
        &running.stdin,
        &running.stdout,
        &running.stderr,
        &running.terminal,
    ];
    for file in files.into_iter().flatten() {
        let flags = rustix::fs::fcntl_getfl(file)?;
        rustix::fs::fcntl_setfl(file, flags | OFlags::NONBLOCK)?;
    }
    Ok(pidfd_open(
        Pid::from_child(&running.child),
        PidfdFlags::empty(),
    )?)
}

fn state(ended: ExitStatus) -> JobState {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (ended.code(), ended.signal()) {
        (Some(status), _) => JobState::Exited(byte(status)),
        (None, Some(signal)) => JobState::Killed(byte(signal)),
        (None, None) => JobState::Exited(CANNOT_RUN),
    }
}

/// Whether the same call may succeed later.
pub(crate) fn is_later(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
