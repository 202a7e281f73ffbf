//! Carries bytes between the stream and the command that runs, until either ends.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use banger_guest::streams::{ExecFrame, ExecReader, STDIN_WINDOW};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::termios::{Winsize, tcsetwinsize};

use super::command::{CANNOT_RUN, Running};
use crate::system::wait;

/// The output that may wait for the stream before the command has to.
const BACKLOG: usize = 128 << 10;

/// How long a command that is to end may take after each signal.
const GRACE: Duration = Duration::from_secs(5);

/// The status at the timeout, as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// What a terminal takes as the end of input.
const END_OF_INPUT: u8 = 4;

/// The longest wait: forever, but for what is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What a command that is to end gets, in this order.
const ENDINGS: [Signal; 3] = [Signal::HUP, Signal::TERM, Signal::KILL];

/// Carries bytes until the command has ended and its output is sent.
pub(super) fn relay(
    stream: UnixStream,
    reader: ExecReader,
    running: Running,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let mut relay = Relay::new(stream, reader, running)?;
    relay.due = timeout.map(|timeout| Instant::now() + timeout);
    let status = relay.run()?;
    relay.finish(status)
}

struct Relay {
    stream: UnixStream,
    reader: ExecReader,
    running: Running,
    group: Pid,
    ended: OwnedFd,
    /// What waits for the stream.
    out: Vec<u8>,
    /// What waits for the command.
    input: Vec<u8>,
    /// What the client may still send.
    window: usize,
    input_ends: bool,
    /// Nobody is at the stream's other end.
    is_alone: bool,
    timed_out: bool,
    /// When the next ending is due.
    due: Option<Instant>,
    endings: usize,
}

impl Relay {
    fn new(stream: UnixStream, reader: ExecReader, running: Running) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
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
        let group = Pid::from_child(&running.child);
        Ok(Self {
            ended: pidfd_open(group, PidfdFlags::empty())?,
            stream,
            reader,
            running,
            group,
            out: Vec::new(),
            input: Vec::new(),
            window: STDIN_WINDOW,
            input_ends: false,
            is_alone: false,
            timed_out: false,
            due: None,
            endings: 0,
        })
    }

    /// Until the command ends.
    fn run(&mut self) -> io::Result<ExitStatus> {
        // What came together with the start.
        self.obey();
        loop {
            self.end_if_due();
            self.write_input();
            self.flush();
            if self.wait() {
                return self.running.child.wait();
            }
            self.read_stream();
            if self.out.len() < BACKLOG || self.is_alone {
                self.read_output();
            }
        }
    }

    /// Whether the command has ended.
    fn wait(&self) -> bool {
        let now = Instant::now();
        let longest = self
            .due
            .map_or(IDLE, |due| due.saturating_duration_since(now));
        let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
        if !self.is_alone {
            let mut events = PollFlags::IN;
            events.set(PollFlags::OUT, !self.out.is_empty());
            fds.push(PollFd::from_borrowed_fd(self.stream.as_fd(), events));
        }
        let may_read = self.out.len() < BACKLOG;
        for file in [
            &self.running.stdout,
            &self.running.stderr,
            &self.running.terminal,
        ] {
            if let (Some(file), true) = (file, may_read) {
                fds.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN));
            }
        }
        if !self.input.is_empty() {
            let input = self
                .running
                .stdin
                .as_ref()
                .or(self.running.terminal.as_ref());
            if let Some(file) = input {
                fds.push(PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT));
            }
        }
        wait::ready(&mut fds, longest);
        !fds[0].revents().is_empty()
    }

    fn read_stream(&mut self) {
        let mut bytes = [0; 16 << 10];
        while !self.is_alone {
            match self.stream.read(&mut bytes) {
                Ok(count @ 1..) => {
                    self.reader.push(&bytes[..count]);
                    self.obey();
                }
                Err(cause) if is_later(&cause) => return,
                Ok(0) | Err(_) => self.be_alone(),
            }
        }
    }

    fn obey(&mut self) {
        loop {
            let frame = match self.reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) => return self.be_alone(),
            };
            match frame {
                ExecFrame::Stdin(bytes) if bytes.len() <= self.window && !self.input_ends => {
                    self.window -= bytes.len();
                    self.input.extend(bytes);
                }
                ExecFrame::StdinEnd => self.input_ends = true,
                ExecFrame::Signal(number) => self.signal(number),
                ExecFrame::Resize(columns, rows) => self.resize(columns, rows),
                _ => return self.be_alone(),
            }
        }
    }

    fn signal(&self, number: u8) {
        if let Some(signal) = Signal::from_named_raw(i32::from(number)) {
            // It may have ended just now.
            let _ = kill_process_group(self.group, signal);
        }
    }

    fn resize(&self, columns: u16, rows: u16) {
        if let Some(terminal) = &self.running.terminal {
            let size = Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // The command keeps the old size, then.
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// The client is gone, and so the command is to end.
    fn be_alone(&mut self) {
        if !self.is_alone {
            self.is_alone = true;
            self.out.clear();
            self.endings = 0;
            self.due = Some(Instant::now());
        }
    }

    fn end_if_due(&mut self) {
        let now = Instant::now();
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if !self.is_alone && self.endings == 0 {
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

    fn write_input(&mut self) {
        let input = self
            .running
            .stdin
            .as_mut()
            .or(self.running.terminal.as_mut());
        let Some(file) = input else {
            // Closed by the command: the rest goes nowhere, as into a broken pipe.
            self.give_room(self.input.len());
            self.input.clear();
            return;
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
        self.give_room(taken);
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
    }

    fn give_room(&mut self, count: usize) {
        if count > 0 {
            self.window += count;
            let count = u32::try_from(count).unwrap_or(0);
            self.say(&ExecFrame::Room(count));
        }
    }

    fn say(&mut self, frame: &ExecFrame) {
        if !self.is_alone {
            self.out.extend(frame.encode());
        }
    }

    /// Reads what is there; whether anything was.
    fn read_output(&mut self) -> bool {
        let mut bytes = [0; 32 << 10];
        let mut any = false;
        let mut read = |file: &mut Option<File>| {
            let result = file.as_mut()?.read(&mut bytes);
            match result {
                Ok(count @ 1..) => Some(bytes[..count].to_vec()),
                Err(cause) if is_later(&cause) => None,
                // EIO of a terminal that nobody has open.
                Ok(0) | Err(_) => {
                    *file = None;
                    None
                }
            }
        };
        let out = read(&mut self.running.stdout);
        let err = read(&mut self.running.stderr);
        // A terminal that nobody has open now may be opened again; the command's end counts.
        let terminal = read(&mut self.running.terminal);
        let frames = [
            out.or(terminal).map(ExecFrame::Stdout),
            err.map(ExecFrame::Stderr),
        ];
        for frame in frames.iter().flatten() {
            any = true;
            self.say(frame);
        }
        any
    }

    fn flush(&mut self) {
        while !self.out.is_empty() && !self.is_alone {
            match self.stream.write(&self.out) {
                Ok(count @ 1..) => drop(self.out.drain(..count)),
                Err(cause) if is_later(&cause) => return,
                Ok(0) | Err(_) => self.be_alone(),
            }
        }
    }

    /// Sends what the command had written when it ended, and its status.
    fn finish(mut self, status: ExitStatus) -> io::Result<()> {
        if self.is_alone {
            return Ok(());
        }
        self.stream.set_nonblocking(false)?;
        loop {
            let any = self.read_output();
            self.stream.write_all(&std::mem::take(&mut self.out))?;
            if !any {
                break;
            }
        }
        let status = if self.timed_out {
            TIMED_OUT
        } else {
            as_a_shell(status)
        };
        self.stream.write_all(&ExecFrame::Exit(status).encode())?;
        self.stream.shutdown(std::net::Shutdown::Write)?;
        // What the client still sends is taken, so that closing does not cut off the status.
        let _ = self.stream.set_read_timeout(Some(GRACE));
        let mut bytes = [0; 16 << 10];
        while matches!(self.stream.read(&mut bytes), Ok(1..)) {}
        Ok(())
    }
}

/// The status of a command as a shell has it.
fn as_a_shell(ended: ExitStatus) -> u8 {
    let signalled = ended.signal().map(|signal| 128 + signal);
    let status = ended.code().or(signalled).unwrap_or(i32::from(CANNOT_RUN));
    u8::try_from(status).unwrap_or(u8::MAX)
}

fn is_later(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
