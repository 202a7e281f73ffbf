//! Carries many streams over one port: one thread on each side that never waits for a single
//! stream.
//!
//! Each direction of a stream has a window of [`WINDOW`] bytes. A sender stops when it is used up,
//! so a stream that nobody reads holds at most one window, and delays no other. Streams take turns.

mod doorbell;
mod lane;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, poll};

use super::frame::{Frame, FrameKind, FrameReader, LONGEST_FRAME, TOKEN};

pub use doorbell::Doorbell;
use lane::{Lane, is_later};

/// The maximum number of bytes in transit in each direction of a stream.
pub const WINDOW: usize = 256 << 10;

/// The maximum number of streams of one port.
pub const MOST_STREAMS: usize = 256;

/// The number of bytes that wait for the port at which streams are paused.
const BACKLOG: usize = 64 << 10;

/// The maximum number of reads from the port in one round.
const MOST_READS: usize = 8;

/// The side that a mux is on.
enum Side {
    /// The guest, which accepts streams.
    Guest(Box<dyn FnMut(UnixStream) + Send>),
    /// The daemon, which opens them.
    Daemon(Arc<Doorbell>),
}

/// The streams of one port.
pub struct Mux<P> {
    port: P,
    side: Side,
    reader: FrameReader,
    out: Vec<u8>,
    lanes: BTreeMap<u32, Lane>,
    newest: u32,
    /// The stream that had the last turn.
    turn: u32,
    is_over: bool,
}

impl<P> std::fmt::Debug for Mux<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mux")
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl<P: AsFd> Mux<P> {
    /// The guest's side; `accept` gets each stream. The port must be non-blocking.
    pub fn of_guest(port: P, accept: impl FnMut(UnixStream) + Send + 'static) -> Self {
        let mut mux = Self::new(port, Side::Guest(Box::new(accept)), FrameReader::of_guest());
        mux.ask_for_hello();
        mux
    }

    /// The daemon's side; it opens the streams of `doorbell`. The port must be non-blocking.
    /// `token` is new for each conversation.
    pub fn of_daemon(port: P, token: [u8; TOKEN], doorbell: Arc<Doorbell>) -> Self {
        let reader = FrameReader::of_daemon(token);
        let mut mux = Self::new(port, Side::Daemon(doorbell), reader);
        Frame::write_padding(&mut mux.out);
        Frame::write(FrameKind::Hello, 0, &token, &mut mux.out);
        mux
    }

    fn new(port: P, side: Side, reader: FrameReader) -> Self {
        Self {
            port,
            side,
            reader,
            out: Vec::new(),
            lanes: BTreeMap::new(),
            newest: 0,
            turn: 0,
            is_over: false,
        }
    }

    /// Carries streams until the port's other end is closed, or the port fails; on the daemon's
    /// side also until the guest has lost its position. All streams are closed then.
    pub fn run(mut self) -> P {
        while !self.is_over {
            self.round();
        }
        if let Side::Daemon(doorbell) = &self.side {
            doorbell.close();
        }
        self.port
    }

    fn round(&mut self) {
        self.open_new();
        if self.is_over {
            return;
        }
        let (port, ready) = self.wait();
        if port.contains(PollFlags::HUP) && !port.contains(PollFlags::IN) {
            self.is_over = true;
            return;
        }
        if port.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::NVAL) {
            self.read_port();
        }
        for (id, events) in ready {
            self.attend(id, events);
        }
        self.lanes.retain(|_, lane| !lane.is_over());
        self.write_port();
    }

    /// Polls everything; returns the port's events, and those of streams, in the order of their
    /// turns.
    fn wait(&mut self) -> (PollFlags, Vec<(u32, PollFlags)>) {
        let has_room = self.out.len() < BACKLOG;
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.out.len() < 16 * BACKLOG);
        wanted.set(PollFlags::OUT, !self.out.is_empty());
        let mut fds = vec![PollFd::from_borrowed_fd(self.port.as_fd(), wanted)];
        let mut ids = Vec::new();
        let later = self.lanes.range(self.turn.saturating_add(1)..);
        let all = later.chain(self.lanes.range(..=self.turn));
        for (id, lane) in all {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, has_room && lane.may_send());
            wanted.set(PollFlags::OUT, !lane.inbound.is_empty());
            // A socket that has hung up is always ready, so it is polled only for a reason.
            if lane.hung_up && wanted.is_empty() {
                continue;
            }
            ids.push(*id);
            fds.push(PollFd::from_borrowed_fd(lane.socket.as_fd(), wanted));
        }
        if let Side::Daemon(doorbell) = &self.side {
            fds.push(PollFd::from_borrowed_fd(doorbell.fd.as_fd(), PollFlags::IN));
        }
        // An interrupted poll is a short wait.
        let _ = poll(&mut fds, None);
        let port = fds[0].revents();
        let ready = ids.into_iter().zip(fds[1..].iter().map(PollFd::revents));
        let ready: Vec<_> = ready.filter(|(_, events)| !events.is_empty()).collect();
        self.turn = ready.first().map_or(self.turn, |(id, _)| *id);
        (port, ready)
    }

    fn open_new(&mut self) {
        let Side::Daemon(doorbell) = &self.side else {
            return;
        };
        let Some(coming) = doorbell.take() else {
            self.is_over = true;
            return;
        };
        for socket in coming {
            // A stream beyond the limit is closed, which its opener sees.
            if self.lanes.len() < MOST_STREAMS
                && let Ok(lane) = Lane::new(socket)
            {
                self.newest += 1;
                Frame::write(FrameKind::Open, self.newest, &[], &mut self.out);
                self.lanes.insert(self.newest, lane);
            }
        }
    }

    fn read_port(&mut self) {
        let mut bytes = [0; LONGEST_FRAME];
        for _ in 0..MOST_READS {
            let count = match rustix::io::read(&self.port, &mut bytes) {
                Ok(count @ 1..) => count,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                Ok(_) | Err(_) => {
                    self.is_over = true;
                    return;
                }
            };
            let was_lost = self.reader.is_lost();
            let mut frames = Vec::new();
            self.reader
                .push(&bytes[..count], |frame| frames.push(frame));
            for frame in frames {
                self.obey(&frame);
            }
            if self.reader.is_lost() && !was_lost {
                self.lanes.clear();
                match self.side {
                    Side::Guest(_) => self.ask_for_hello(),
                    Side::Daemon(_) => self.is_over = true,
                }
            }
            if count < bytes.len() || self.is_over {
                return;
            }
        }
    }

    /// Asks the daemon for a hello, because the position in the conversation is lost.
    fn ask_for_hello(&mut self) {
        self.out.clear();
        Frame::write_padding(&mut self.out);
        Frame::write(FrameKind::Lost, 0, &[], &mut self.out);
    }

    fn obey(&mut self, frame: &Frame) {
        let id = frame.stream;
        match (frame.kind, &mut self.side) {
            (FrameKind::Hello, Side::Guest(_)) => {
                self.lanes.clear();
                self.out.clear();
                // A frame that was interrupted here must not swallow the welcome.
                Frame::write_padding(&mut self.out);
                Frame::write(FrameKind::Welcome, 0, &frame.payload, &mut self.out);
            }
            (FrameKind::Open, Side::Guest(accept)) => {
                let room = self.lanes.len() < MOST_STREAMS && !self.lanes.contains_key(&id);
                let pair = UnixStream::pair().ok().filter(|_| room);
                let opened = pair.and_then(|(ours, theirs)| Some((Lane::new(ours).ok()?, theirs)));
                match opened {
                    Some((lane, theirs)) => {
                        self.lanes.insert(id, lane);
                        accept(theirs);
                    }
                    None => self.close(id),
                }
            }
            (FrameKind::Welcome, Side::Daemon(doorbell)) => {
                doorbell.welcomed.store(true, Ordering::SeqCst);
            }
            (FrameKind::Lost, Side::Daemon(_)) => self.is_over = true,
            (FrameKind::Data, _) => self.receive(id, &frame.payload),
            (FrameKind::Credit, _) => {
                let more = frame
                    .payload
                    .first_chunk()
                    .copied()
                    .map_or(0, u32::from_be_bytes);
                if let Some(lane) = self.lanes.get_mut(&id) {
                    let credit = lane.credit.saturating_add(more as usize);
                    lane.credit = credit.min(WINDOW);
                }
            }
            (FrameKind::End, _) => self.mark(id, |lane| lane.ended = true),
            (FrameKind::Close, _) => self.mark(id, |lane| lane.closed = true),
            // The other side may not send these.
            (_, _) => {}
        }
    }

    fn mark(&mut self, id: u32, change: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            change(lane);
            lane.deliver();
        }
    }

    fn receive(&mut self, id: u32, payload: &[u8]) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        if payload.len() > lane.window || lane.ended || lane.closed {
            self.close(id);
            return;
        }
        lane.window -= payload.len();
        lane.inbound.extend_from_slice(payload);
        self.deliver(id);
    }

    fn deliver(&mut self, id: u32) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.deliver();
        if lane.owed >= WINDOW / 4 {
            let more = u32::try_from(lane.owed).unwrap_or(0);
            lane.window += lane.owed;
            lane.owed = 0;
            Frame::write(FrameKind::Credit, id, &more.to_be_bytes(), &mut self.out);
        }
    }

    /// Closes a stream, if it exists.
    fn close(&mut self, id: u32) {
        self.lanes.remove(&id);
        Frame::write(FrameKind::Close, id, &[], &mut self.out);
    }

    fn attend(&mut self, id: u32, events: PollFlags) {
        if events.contains(PollFlags::OUT) {
            self.deliver(id);
        }
        let has_room = self.out.len() < BACKLOG;
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.hung_up |= events.intersects(PollFlags::HUP | PollFlags::ERR);
        if lane.hung_up && lane.sent_end {
            self.close(id);
            return;
        }
        if !lane.may_send() || !has_room {
            return;
        }
        if !events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        let mut bytes = [0; LONGEST_FRAME];
        let most = lane.credit.min(LONGEST_FRAME);
        match lane.socket.read(&mut bytes[..most]) {
            Ok(count @ 1..) => {
                lane.credit -= count;
                Frame::write(FrameKind::Data, id, &bytes[..count], &mut self.out);
            }
            Err(cause) if is_later(&cause) => {}
            Ok(0) | Err(_) if lane.hung_up => self.close(id),
            Ok(0) | Err(_) => {
                lane.sent_end = true;
                Frame::write(FrameKind::End, id, &[], &mut self.out);
            }
        }
    }

    fn write_port(&mut self) {
        while !self.out.is_empty() {
            match rustix::io::write(&self.port, &self.out) {
                Ok(count @ 1..) => drop(self.out.drain(..count)),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                Ok(_) | Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
