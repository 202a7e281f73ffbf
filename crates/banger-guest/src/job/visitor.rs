//! A client that is attached to a running job.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use banger_guest::streams::{AttachStart, ExecFrame, ExecReader, Job, STDIN_WINDOW};
use rustix::event::{PollFd, PollFlags};

use super::output::{Cursor, Output};
use crate::exec::process::{GRACE, Process, is_later};

/// The output that may wait for a client, which later reads the rest from the kept output.
const BACKLOG: usize = 64 << 10;

/// The client's connection.
#[derive(Debug)]
pub(crate) struct Visitor {
    stream: UnixStream,
    reader: ExecReader,
    /// `None` until the client has sent its start frame.
    start: Option<AttachStart>,
    cursor: Cursor,
    /// The number of bytes of output after which a client that does not follow is done.
    until: Option<u64>,
    /// Bytes that wait for the stream.
    out: Vec<u8>,
    /// The number of bytes that the client may still send.
    window: usize,
    /// The last frame is written; the client is expected to close now.
    said_all: bool,
    /// When the client is given up.
    deadline: Option<Instant>,
    is_gone: bool,
}

impl Visitor {
    pub(crate) fn new(stream: OwnedFd, output: PathBuf) -> io::Result<Self> {
        // A vsock behaves like any other stream socket here.
        let stream = UnixStream::from(stream);
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            reader: ExecReader::default(),
            start: None,
            cursor: Cursor::new(output),
            until: None,
            out: Vec::new(),
            window: STDIN_WINDOW,
            said_all: false,
            deadline: None,
            is_gone: false,
        })
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
            || self
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whether it writes to the job's input.
    pub(crate) fn writes(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.input) && !self.said_all
    }

    pub(crate) fn polled(&self) -> PollFd<'_> {
        let mut events = PollFlags::IN;
        events.set(PollFlags::OUT, !self.out.is_empty());
        PollFd::from_borrowed_fd(self.stream.as_fd(), events)
    }

    /// Reads what the client sends.
    pub(crate) fn read(&mut self) -> Vec<ExecFrame> {
        let mut frames = Vec::new();
        let mut bytes = [0; 16 << 10];
        while !self.is_gone {
            match self.stream.read(&mut bytes) {
                Ok(count @ 1..) => self.reader.push(&bytes[..count]),
                Err(cause) if is_later(&cause) => break,
                Ok(0) | Err(_) => self.is_gone = true,
            }
            loop {
                match self.reader.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => {
                        self.is_gone = true;
                        break;
                    }
                }
            }
        }
        frames
    }

    /// Obeys the client's frames; `is_taken` if another client writes to the job's input.
    pub(crate) fn obey(
        &mut self,
        frame: ExecFrame,
        job: &Job,
        process: &mut Process,
        written: u64,
        is_taken: bool,
    ) {
        let writes = self.writes();
        match frame {
            ExecFrame::Start(json) if self.start.is_none() => match serde_json::from_slice(&json) {
                Ok(start) => self.begin(start, job, process, written, is_taken),
                Err(cause) => self.refuse(&format!("the start is not understood: {cause}")),
            },
            _ if self.start.is_none() => self.is_gone = true,
            ExecFrame::Stdin(bytes) if writes && bytes.len() <= self.window => {
                if process.takes_input() {
                    self.window -= bytes.len();
                    process.give(&bytes);
                } else {
                    // The job's input has ended, so the rest is discarded.
                    self.say(&ExecFrame::Room(u32::try_from(bytes.len()).unwrap_or(0)));
                }
            }
            ExecFrame::StdinEnd if writes => process.end_input(),
            ExecFrame::Signal(number) if writes => process.signal(number),
            ExecFrame::Resize(columns, rows) if writes => process.resize(columns, rows),
            ExecFrame::StdinEnd | ExecFrame::Signal(_) | ExecFrame::Resize(..) => {}
            _ => self.is_gone = true,
        }
    }

    fn begin(
        &mut self,
        mut start: AttachStart,
        job: &Job,
        process: &Process,
        written: u64,
        is_taken: bool,
    ) {
        if start.input && is_taken {
            return self.refuse("another client writes to this job's input");
        }
        start.input &= job.input;
        self.until = (!start.follow).then_some(written);
        self.say(&description(job));
        if start.input
            && let Some((columns, rows)) = start.terminal
        {
            process.resize(columns, rows);
            process.redraw();
        }
        self.start = Some(start);
    }

    fn refuse(&mut self, reason: &str) {
        self.start = Some(AttachStart::default());
        self.end_with(&ExecFrame::Refusal(
            crate::exec::command::CANNOT_RUN,
            reason.to_owned(),
        ));
    }

    /// Lets the client send this many more bytes of input.
    pub(crate) fn give_room(&mut self, count: usize) {
        if count > 0 {
            self.window = (self.window + count).min(STDIN_WINDOW);
            self.say(&ExecFrame::Room(u32::try_from(count).unwrap_or(0)));
        }
    }

    /// Sends kept output that the client does not have yet. `end` is the last frame for a client
    /// that follows, once the job has ended. Returns whether anything was sent.
    pub(crate) fn advance(&mut self, output: &Output, job: &Job, end: Option<&ExecFrame>) -> bool {
        let mut any = false;
        while !self.is_gone {
            self.fill(output);
            let is_ready = self.start.is_some() && !self.said_all && self.out.len() < BACKLOG;
            let is_at_end = self.cursor.read() >= self.until.unwrap_or(output.written());
            if is_ready && is_at_end && self.until.is_some() {
                self.end_with(&description(job));
            } else if let (true, true, Some(end)) = (is_ready, is_at_end, end) {
                self.end_with(end);
            }
            match self.flush() {
                0 => break,
                _ => any = true,
            }
        }
        any
    }

    fn fill(&mut self, output: &Output) {
        let until = self.until.unwrap_or(output.written());
        while self.start.is_some()
            && !self.said_all
            && self.out.len() < BACKLOG
            && self.cursor.read() < until
        {
            match self.cursor.next(output.newest()) {
                Ok(Some(frame)) => self.say(&frame),
                // Output that is missing at the end was not kept, and no later frame reports it.
                Ok(None) => {
                    let missing = until - self.cursor.read();
                    self.cursor.skip(missing);
                    self.say(&ExecFrame::Dropped(missing));
                }
                Err(_) => self.is_gone = true,
            }
            if self.is_gone {
                return;
            }
        }
    }

    fn say(&mut self, frame: &ExecFrame) {
        self.out.extend(frame.encode());
    }

    fn end_with(&mut self, frame: &ExecFrame) {
        self.say(frame);
        self.said_all = true;
        self.deadline = Some(Instant::now() + 6 * GRACE);
    }

    /// Writes as much as the stream takes.
    fn flush(&mut self) -> usize {
        let mut sent = 0;
        while sent < self.out.len() && !self.is_gone {
            match self.stream.write(&self.out[sent..]) {
                Ok(count @ 1..) => sent += count,
                Err(cause) if is_later(&cause) => break,
                Ok(0) | Err(_) => self.is_gone = true,
            }
        }
        self.out.drain(..sent);
        if self.said_all && self.out.is_empty() && sent > 0 {
            // The client reads to the end and closes; frames that it sends meanwhile are read and
            // discarded.
            let _ = self.stream.shutdown(Shutdown::Write);
            self.deadline = Some(Instant::now() + GRACE);
        }
        sent
    }
}

/// The job's description as a frame.
pub(crate) fn description(job: &Job) -> ExecFrame {
    ExecFrame::Job(serde_json::to_vec(job).unwrap_or_default())
}
