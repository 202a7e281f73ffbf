//! Streamed responses, which their reader can end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use rustix::net::Shutdown;

use super::{Client, broken, parse};
use crate::{Event, Result};

/// A response that arrives in chunks. It ends after an error.
#[derive(Debug)]
pub struct Pieces<'c> {
    client: &'c Client,
    body: Incoming,
    token: CancelToken,
}

/// Ends a stream from a thread that does not read it.
#[derive(Debug, Clone)]
pub struct CancelToken(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    cancelled: AtomicBool,
}

impl CancelToken {
    /// Closes the stream's connection: its reader reaches the end, even while it waits. Idempotent.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        // The daemon may have closed it already.
        let _ = rustix::net::shutdown(&self.0.socket, Shutdown::Both);
    }

    fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}

impl<'c> Pieces<'c> {
    pub(super) fn new(client: &'c Client, body: Incoming, socket: OwnedFd) -> Self {
        let connection = Connection {
            socket,
            cancelled: AtomicBool::new(false),
        };
        Self {
            client,
            body,
            token: CancelToken(Arc::new(connection)),
        }
    }

    /// The token that ends this stream.
    #[must_use]
    pub fn token(&self) -> CancelToken {
        self.token.clone()
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.token.is_cancelled() {
                return None;
            }
            let frame = self.client.runtime.block_on(self.body.frame())?;
            match frame {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(_) if self.token.is_cancelled() => return None,
                Err(cause) => return Some(Err(broken(cause))),
            }
        }
    }
}

/// The events of all VMs, in order.
#[derive(Debug)]
pub struct Events<'c> {
    pieces: Pieces<'c>,
    lines: Lines,
}

impl<'c> Events<'c> {
    pub(super) fn new(pieces: Pieces<'c>) -> Self {
        Self {
            pieces,
            lines: Lines::default(),
        }
    }

    /// The token that ends this stream.
    #[must_use]
    pub fn token(&self) -> CancelToken {
        self.pieces.token()
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.lines.next() {
                return Some(parse(&line));
            }
            match self.pieces.next()? {
                Ok(piece) => self.lines.extend(&piece),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Splits chunks into complete lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// The number of buffered bytes without a newline.
    searched: usize,
}

impl Lines {
    pub(super) fn extend(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }
}

impl Iterator for Lines {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = &self.bytes[self.searched..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched + end;
        self.searched = 0;
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let text = b"one\n\ntwo three\nfour";
        for length in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(length) {
                lines.extend(piece);
                found.extend(lines.by_ref());
            }
            let expected: [&[u8]; 3] = [b"one", b"", b"two three"];
            assert_eq!(found, expected, "{length}");
        }
    }
}
