//! A session on QEMU's control socket (QMP), as JSON lines:
//! <https://www.qemu.org/docs/master/interop/qmp-spec.html>
//!
//! QEMU serves one client at a time and keeps the others waiting, so a session is short. The peer
//! counts as hostile: every call ends at its deadline, and buffers are bounded. A call that times
//! out leaves the session usable; the late answer is recognized by its id and dropped.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, IoSlice, Read as _, Result};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fd::BorrowedFd;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

use crate::guest::channel::connect;

/// The longest message accepted, in bytes. The longest of QEMU's, its schema, has 200 KiB.
const LONGEST: usize = 1 << 20;

/// The number of events kept; the oldest are dropped.
const MOST_EVENTS: usize = 64;

/// An asynchronous message from QEMU.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    /// `null` for an event without data.
    pub(super) data: Value,
}

/// A connection whose capabilities are negotiated.
#[derive(Debug)]
pub(super) struct Session {
    stream: UnixStream,
    /// Bytes after the last whole message.
    received: Vec<u8>,
    events: VecDeque<Event>,
    /// The id of the last command.
    id: u64,
}

impl Session {
    /// Connects to the socket and negotiates the capabilities.
    ///
    /// # Errors
    /// If nobody listens, the listener does not speak QMP, or the deadline passes, for instance
    /// because QEMU serves another client.
    pub(super) fn open(socket: &Path, deadline: Instant) -> Result<Self> {
        let mut session = Self {
            stream: connect(socket)?,
            received: Vec::new(),
            events: VecDeque::new(),
            id: 0,
        };
        if session.message(deadline)?.get("QMP").is_none() {
            return Err(Error::new(ErrorKind::InvalidData, "not a QMP socket"));
        }
        session.execute("qmp_capabilities", &json!({}), deadline)?;
        Ok(session)
    }

    /// Executes a command and returns its answer.
    ///
    /// # Errors
    /// QEMU's own error; or a timeout if it does not answer before the deadline.
    pub(super) fn execute(
        &mut self,
        command: &str,
        arguments: &Value,
        deadline: Instant,
    ) -> Result<Value> {
        self.send(command, arguments, None, deadline)?;
        self.answer(deadline)
    }

    /// Executes a command that takes a file descriptor, such as `getfd` or `add-fd`. QEMU receives
    /// a duplicate.
    ///
    /// # Errors
    /// Those of [`Session::execute`].
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "suspend passes QEMU the file of its memory")
    )]
    pub(super) fn execute_with(
        &mut self,
        command: &str,
        arguments: &Value,
        descriptor: BorrowedFd<'_>,
        deadline: Instant,
    ) -> Result<Value> {
        self.send(command, arguments, Some(descriptor), deadline)?;
        self.answer(deadline)
    }

    /// Waits for an event, and returns it with its data. Events that were received before count;
    /// this one and those before it are consumed.
    ///
    /// # Errors
    /// If it does not come before the deadline.
    #[cfg_attr(not(test), expect(dead_code, reason = "suspend waits for events"))]
    pub(super) fn wait_event(&mut self, name: &str, deadline: Instant) -> Result<Event> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if event.name == name {
                    return Ok(event);
                }
            }
            let message = self.message(deadline)?;
            self.keep_event(message);
        }
    }

    fn send(
        &mut self,
        command: &str,
        arguments: &Value,
        descriptor: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> Result<()> {
        self.id += 1;
        let message = json!({ "execute": command, "arguments": arguments, "id": self.id });
        let line = format!("{message}\n");
        let sent = write(&self.stream, line.as_bytes(), descriptor, deadline);
        if sent.is_err() {
            // A partial command would corrupt the next one.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        sent
    }

    fn answer(&mut self, deadline: Instant) -> Result<Value> {
        loop {
            let mut message = self.message(deadline)?;
            // QEMU omits the id if it could not parse the command.
            let is_late = message["id"].as_u64().is_some_and(|id| id != self.id);
            if is_late {
                continue;
            }
            if let Some(error) = message.get("error") {
                let words = error["desc"].as_str().unwrap_or("an error without words");
                return Err(Error::other(words.to_owned()));
            }
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            self.keep_event(message);
        }
    }

    fn keep_event(&mut self, mut message: Value) {
        let Some(name) = message["event"].as_str().map(str::to_owned) else {
            return;
        };
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        let data = message["data"].take();
        self.events.push_back(Event { name, data });
    }

    /// The next message of any kind.
    fn message(&mut self, deadline: Instant) -> Result<Value> {
        let mut scanned = 0;
        loop {
            let unscanned = &self.received[scanned..];
            if let Some(end) = unscanned.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=scanned + end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            scanned = self.received.len();
            if scanned > LONGEST {
                let text = format!("a message of more than {LONGEST} bytes");
                return Err(Error::new(ErrorKind::InvalidData, text));
            }
            self.stream.set_read_timeout(Some(left(deadline)?))?;
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes everything, with a descriptor beside the first byte.
fn write(
    stream: &UnixStream,
    mut bytes: &[u8],
    mut descriptor: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let descriptors: &[BorrowedFd<'_>] = descriptor.as_slice();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let pieces = [IoSlice::new(bytes)];
        match sendmsg(stream, &pieces, &mut control, SendFlags::NOSIGNAL) {
            Ok(length) => {
                bytes = &bytes[length..];
                descriptor = None;
            }
            Err(error) if is_passing(&error.into()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether a failed transfer is repeated, until its deadline.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn left(deadline: Instant) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(Error::from(ErrorKind::TimedOut))
    } else {
        Ok(left)
    }
}

#[cfg(test)]
mod tests;
