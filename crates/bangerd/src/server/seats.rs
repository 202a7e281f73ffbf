//! How many clients are served at once.
//!
//! A client that says nothing keeps its seat until somebody needs it: when all are taken, the one
//! that has been silent longest goes. So a thousand idle clients keep nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    next: u64,
    /// Those who have not asked for anything yet, oldest first.
    silent: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One client's seat, free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    /// So many seats.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
            freed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that runs under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a seat is free, after sending a silent client away if there is one.
    pub(super) async fn free(&self) {
        while self.state().taken >= self.most {
            self.send_one_away();
            self.freed.notified().await;
        }
    }

    /// Takes a seat; the receiver hears when it must be given up.
    pub(super) fn take(self: &Arc<Self>) -> (Seat, oneshot::Receiver<()>) {
        let (away, sent_away) = oneshot::channel();
        let mut state = self.state();
        state.taken += 1;
        state.next += 1;
        let number = state.next;
        state.silent.insert(number, away);
        (
            Seat {
                seats: Arc::clone(self),
                number,
            },
            sent_away,
        )
    }

    /// Sends away the client that has been silent longest.
    pub(super) fn send_one_away(&self) {
        if let Some((_, away)) = self.state().silent.pop_first() {
            let _ = away.send(());
        }
    }

    /// Sends all silent clients away.
    pub(super) fn send_silent_away(&self) {
        for away in std::mem::take(&mut self.state().silent).into_values() {
            let _ = away.send(());
        }
    }
}

impl Seat {
    /// The client asked for something: it keeps its seat until it has its answer.
    pub(super) fn speaks(&self) {
        // The sender is forgotten, not used: its receiver must not take that for a word.
        self.seats.state().silent.remove(&self.number);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.seats.state();
        state.taken -= 1;
        state.silent.remove(&self.number);
        drop(state);
        self.seats.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_silent_client_goes_first_and_one_that_spoke_stays() {
        let seats = Seats::new(2);
        let (spoke, mut away_spoke) = seats.take();
        spoke.speaks();
        let (silent, away_silent) = seats.take();
        let waiting = tokio::spawn({
            let seats = Arc::clone(&seats);
            async move { seats.free().await }
        });
        away_silent.await.unwrap();
        assert!(!waiting.is_finished());
        drop(silent);
        waiting.await.unwrap();
        // Its sender is dropped, nothing was sent.
        assert!(matches!(
            away_spoke.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }

    #[tokio::test]
    async fn a_seat_is_free_again_when_dropped() {
        let seats = Seats::new(1);
        for _ in 0..3 {
            seats.free().await;
            let (seat, _away) = seats.take();
            seat.speaks();
        }
    }
}
