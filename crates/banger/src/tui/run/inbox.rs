//! What reaches the loop. Senders wait while it is full, so that a guest which writes without end
//! does not fill the memory.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use banger_api::{Code, Error};

use crate::tui::model::message::Message;

/// How many may wait.
const ROOM: usize = 1024;

/// What reaches the loop.
#[derive(Debug)]
pub(crate) enum Letter {
    /// For the model.
    Message(Box<Message>),
    /// A signal asks to end, with this exit status.
    End(u8),
    /// A signal asks to stop.
    Suspend,
    /// The process goes on after it was stopped.
    Resume,
    /// The terminal is gone.
    Gone,
}

impl From<Message> for Letter {
    fn from(message: Message) -> Self {
        Self::Message(Box::new(message))
    }
}

/// Where the loop hears.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: Receiver<Letter>,
    /// What came while somebody else was waited for.
    backlog: VecDeque<Letter>,
}

/// Sends to the loop.
#[derive(Debug, Clone)]
pub(crate) struct Sender(SyncSender<Letter>);

impl Sender {
    /// Sends; false where the loop has ended.
    pub(crate) fn send(&self, letter: impl Into<Letter>) -> bool {
        self.0.send(letter.into()).is_ok()
    }

    /// Runs `work` on a thread of its own. A panic of it becomes a message, and the screen stays.
    pub(crate) fn spawn(&self, name: &str, work: impl FnOnce(&Self) + Send + 'static) {
        let sender = self.clone();
        let spawned = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&sender))) {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text =
                        text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
                    let error = Error::new(Code::Internal, "a part of this program has failed")
                        .cause(text.unwrap_or_default())
                        .hint("quit and begin again; please report it");
                    sender.send(Message::Note(error));
                }
            });
        if let Err(cause) = spawned {
            let error = Error::new(Code::Host, format!("start the thread `{name}`"))
                .cause(cause.to_string());
            // The loop itself may be the caller: it must not wait for itself.
            let _ = self.0.try_send(Message::Note(error).into());
        }
    }
}

/// An inbox, and who sends to it.
pub(crate) fn inbox() -> (Sender, Inbox) {
    let (sender, receiver) = sync_channel(ROOM);
    let backlog = VecDeque::new();
    (Sender(sender), Inbox { receiver, backlog })
}

impl Inbox {
    /// The next letter; none after the time.
    pub(crate) fn next(&mut self, within: Option<Duration>) -> Option<Letter> {
        if let Some(letter) = self.backlog.pop_front() {
            return Some(letter);
        }
        let Some(within) = within else {
            return Some(self.receiver.recv().unwrap_or(Letter::Gone));
        };
        match self.receiver.recv_timeout(within) {
            Ok(letter) => Some(letter),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Letter::Gone),
        }
    }

    /// A letter that has come already.
    pub(crate) fn waiting(&mut self) -> Option<Letter> {
        self.backlog
            .pop_front()
            .or_else(|| self.receiver.try_recv().ok())
    }

    /// Puts letters aside until `done`, or the deadline.
    pub(crate) fn hold_until(&mut self, deadline: Duration, done: impl Fn() -> bool) {
        let deadline = Instant::now() + deadline;
        while !done() && Instant::now() < deadline {
            match self.receiver.recv_timeout(Duration::from_millis(2)) {
                Ok(letter) => self.backlog.push_back(letter),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
