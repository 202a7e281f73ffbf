//! Copies bytes between the stream and the running command, until either ends.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use banger_guest::streams::{ExecEnd, ExecFrame, ExecReader, ExecStart, JobState, STDIN_WINDOW};
use rustix::event::{PollFd, PollFlags};

use super::command::RunningCommand;
use super::process::{GRACE, Process, is_later};
use crate::system::wait;

/// The output that may wait for the stream before the command is paused.
const BACKLOG: usize = 128 << 10;

/// Copies bytes until the command has ended and its output is sent. A client that has already gone
/// ends the command like one that goes later: the `Started` frame is output like any other.
pub(super) fn relay(
    stream: UnixStream,
    reader: ExecReader,
    running: RunningCommand,
    start: &ExecStart,
) -> io::Result<()> {
    let timeout = start.timeout_millis.map(Duration::from_millis);
    let process = Process::new(running, timeout)?;
    let mut relay = Relay {
        stream,
        reader,
        process,
        out: ExecFrame::Started.encode(),
        window: STDIN_WINDOW,
        is_alone: false,
        tells_end: start.tells_end,
    };
    if relay.stream.set_nonblocking(true).is_err() {
        relay.be_alone();
    }
    let ended = relay.run()?;
    relay.finish(ended)
}

struct Relay {
    stream: UnixStream,
    reader: ExecReader,
    process: Process,
    /// Bytes that wait for the stream.
    out: Vec<u8>,
    /// The number of bytes that the client may still send.
    window: usize,
    /// The client has gone.
    is_alone: bool,
    /// The client reads more than the status.
    tells_end: bool,
}

impl Relay {
    /// Runs until the command ends.
    fn run(&mut self) -> io::Result<JobState> {
        // Frames that arrived together with the start.
        self.obey();
        loop {
            self.process.end_if_due();
            let taken = self.process.write_input();
            self.give_room(taken);
            self.flush();
            if self.wait() {
                return self.process.wait();
            }
            self.read_stream();
            if self.out.len() < BACKLOG || self.is_alone {
                self.read_output();
            }
        }
    }

    /// Whether the command has ended.
    fn wait(&self) -> bool {
        let mut fds = self.process.polled(self.out.len() < BACKLOG);
        if !self.is_alone {
            let mut events = PollFlags::IN;
            events.set(PollFlags::OUT, !self.out.is_empty());
            fds.push(PollFd::from_borrowed_fd(self.stream.as_fd(), events));
        }
        wait::ready(&mut fds, self.process.patience());
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
                ExecFrame::Stdin(bytes)
                    if bytes.len() <= self.window && self.process.takes_input() =>
                {
                    self.window -= bytes.len();
                    self.process.give(&bytes);
                }
                ExecFrame::StdinEnd => self.process.end_input(),
                ExecFrame::Signal(number) => self.process.signal(number),
                ExecFrame::Resize(columns, rows) => self.process.resize(columns, rows),
                _ => return self.be_alone(),
            }
        }
    }

    /// Handles that the client has gone: the command is ended.
    fn be_alone(&mut self) {
        self.is_alone = true;
        self.out.clear();
        self.process.hang_up();
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

    /// Reads available output; returns whether there was any.
    fn read_output(&mut self) -> bool {
        let frames = self.process.read_output();
        for frame in &frames {
            self.say(frame);
        }
        !frames.is_empty()
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

    /// Sends the last output of the command, and its status.
    fn finish(mut self, ended: JobState) -> io::Result<()> {
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
        if self.tells_end {
            let end = ExecEnd {
                oom_killed: self.process.oom_killed(),
            };
            self.stream
                .write_all(&ExecFrame::End(serde_json::to_vec(&end)?).encode())?;
        }
        let status = ended.status().unwrap_or(super::command::CANNOT_RUN);
        self.stream.write_all(&ExecFrame::Exit(status).encode())?;
        self.stream.shutdown(std::net::Shutdown::Write)?;
        // Reads what the client still sends, because closing with unread bytes could cut off the
        // status.
        let _ = self.stream.set_read_timeout(Some(GRACE));
        let mut bytes = [0; 16 << 10];
        while matches!(self.stream.read(&mut bytes), Ok(1..)) {}
        Ok(())
    }
}
