//! Reads the terminal, on a thread of its own that can be parked while another program reads it.
//!
//! The thread waits for the terminal itself and asks crossterm only for what is there: crossterm's
//! own wait goes round without end on a terminal that is gone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags};

use super::inbox::{Inbox, Letter, Sender};
use crate::tui::model::message::Message;

/// How long crossterm looks for more of what the terminal has sent. With zero it does not look at all.
const LOOK: Duration = Duration::from_millis(1);
/// How long the thread may take to park: it reads no more than what has been typed.
const PARK: Duration = Duration::from_secs(2);

/// The thread that reads the terminal.
#[derive(Debug)]
pub(super) struct Keyboard {
    shared: Arc<Shared>,
    wake: OwnedFd,
}

#[derive(Debug)]
struct Shared {
    /// Whether the thread is to leave the terminal alone.
    park: Mutex<bool>,
    changed: Condvar,
    /// Whether it does.
    parked: AtomicBool,
}

impl Keyboard {
    /// Begins to read.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) fn new(sender: &Sender) -> io::Result<Self> {
        let (woken, wake) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let shared = Arc::new(Shared {
            park: Mutex::new(false),
            changed: Condvar::new(),
            parked: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        sender.spawn("keyboard", move |sender| read(sender, &own, &woken));
        Ok(Self { shared, wake })
    }

    /// Leaves the terminal alone, and returns when that is so.
    pub(super) fn park(&self, inbox: &mut Inbox) {
        self.set(true);
        let _ = rustix::io::write(&self.wake, b"p");
        inbox.hold_until(PARK, || self.shared.parked.load(Ordering::SeqCst));
    }

    /// Reads again.
    pub(super) fn resume(&self) {
        self.set(false);
        self.shared.changed.notify_all();
    }

    fn set(&self, park: bool) {
        *self
            .shared
            .park
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = park;
    }
}

impl Shared {
    fn is_park_wanted(&self) -> bool {
        *self.park.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the terminal is another's.
    fn wait_while_parked(&self) {
        let mut park = self.park.lock().unwrap_or_else(PoisonError::into_inner);
        while *park {
            self.parked.store(true, Ordering::SeqCst);
            park = self
                .changed
                .wait(park)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

fn read(sender: &Sender, shared: &Shared, woken: &OwnedFd) {
    loop {
        shared.wait_while_parked();
        let stdin = rustix::stdio::stdin();
        let mut polled = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(woken, PollFlags::IN),
        ];
        match rustix::event::poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => {
                sender.send(Letter::Gone);
                return;
            }
            Ok(_) => {}
        }
        let (terminal, wake) = (polled[0].revents(), polled[1].revents());
        if wake.contains(PollFlags::IN) {
            let _ = rustix::io::read(woken, &mut [0; 16]);
            continue;
        }
        if terminal.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            sender.send(Letter::Gone);
            return;
        }
        if !hear(sender, shared) {
            return;
        }
    }
}

/// Reads what has been typed; false where nobody hears it, or the terminal is gone.
fn hear(sender: &Sender, shared: &Shared) -> bool {
    while !shared.is_park_wanted() {
        let event = match event::poll(LOOK) {
            Ok(false) => return true,
            Ok(true) => event::read(),
            Err(cause) => Err(cause),
        };
        let message = match event {
            Ok(Event::Key(key)) => Message::Key(key),
            Ok(Event::Mouse(mouse)) => Message::Mouse(mouse),
            Ok(Event::Paste(text)) => Message::Paste(text),
            Ok(Event::Resize(width, height)) => Message::Size(width, height),
            Ok(Event::FocusGained | Event::FocusLost) => continue,
            Err(_) => {
                sender.send(Letter::Gone);
                return false;
            }
        };
        if !sender.send(message) {
            return false;
        }
    }
    true
}
