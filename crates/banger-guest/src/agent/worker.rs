//! A worker for long tasks, one at a time, while the agent keeps answering.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use banger_guest::protocol::PendingAsk;
use rustix::event::{EventfdFlags, eventfd};

use super::answer::Answered;

type Outcome = (PendingAsk, Answered);

/// A thread that works; [`Worker::fd`] tells when it is done.
#[derive(Debug)]
pub(crate) struct Worker {
    done: Arc<OwnedFd>,
    outcome: Arc<Mutex<Option<Outcome>>>,
    busy: bool,
}

impl Worker {
    pub(crate) fn new() -> io::Result<Self> {
        let done = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            done: Arc::new(done),
            outcome: Arc::new(Mutex::new(None)),
            busy: false,
        })
    }

    /// Becomes readable when the work is done.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    /// Starts the task of an ask, or returns the ask if a task is running.
    pub(crate) fn start(
        &mut self,
        asked: PendingAsk,
        work: impl FnOnce() -> Answered + Send + 'static,
    ) -> Result<(), PendingAsk> {
        if self.busy {
            return Err(asked);
        }
        self.busy = true;
        let (done, outcome) = (Arc::clone(&self.done), Arc::clone(&self.outcome));
        thread::spawn(move || {
            let answer = work();
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, answer));
            // A write fails only at 2^64 - 2 finished tasks, and there is one at most.
            let _ = rustix::io::write(&*done, &1_u64.to_ne_bytes());
        });
        Ok(())
    }

    /// The outcome of a finished task, once.
    pub(crate) fn finished(&mut self) -> Option<Outcome> {
        let outcome = self
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let _ = rustix::io::read(&*self.done, &mut [0_u8; 8]);
        self.busy = false;
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::wait;
    use banger_guest::protocol::{Answer, Ask};
    use rustix::event::{PollFd, PollFlags};
    use std::sync::mpsc;
    use std::time::Duration;

    fn asked() -> PendingAsk {
        PendingAsk {
            token: "a1".into(),
            id: 1,
            ask: Ask::Sync,
        }
    }

    #[test]
    fn one_piece_of_work_is_done_at_a_time() {
        let mut worker = Worker::new().unwrap();
        let (go, wait_for_it) = mpsc::channel();
        worker
            .start(asked(), move || {
                wait_for_it.recv().unwrap();
                Ok(Answer::Done)
            })
            .unwrap();
        assert_eq!(worker.start(asked(), || Ok(Answer::Done)), Err(asked()));
        assert_eq!(worker.finished(), None);
        go.send(()).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(worker.fd(), PollFlags::IN)];
        wait::ready(&mut fds, Duration::from_secs(20));
        assert_eq!(worker.finished(), Some((asked(), Ok(Answer::Done))));
        worker.start(asked(), || Ok(Answer::Done)).unwrap();
    }
}
