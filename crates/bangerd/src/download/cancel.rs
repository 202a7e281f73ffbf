//! Cancels a download from another thread.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;

/// Cancels the downloads that it is passed to. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct CancelToken(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_cancelled: bool,
    /// Their connections are closed on cancellation, so that a blocked read ends at once.
    agents: Vec<Agent>,
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelToken({})", self.is_cancelled())
    }
}

impl CancelToken {
    /// Cancels, for good.
    pub(crate) fn cancel(&self) {
        let mut state = self.lock();
        state.is_cancelled = true;
        for agent in state.agents.drain(..) {
            agent.shutdown();
        }
        drop(state);
        self.0.1.notify_all();
    }

    /// Whether [`Self::cancel`] was called.
    #[must_use]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// Waits for this long, or until it is cancelled; returns whether it is.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        while !state.is_cancelled {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.1.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_cancelled
    }

    /// Closes this agent's connections on cancellation.
    pub(super) fn register(&self, agent: &Agent) {
        let mut state = self.lock();
        if state.is_cancelled {
            agent.clone().shutdown();
        } else {
            state.agents.push(agent.clone());
        }
    }

    /// Forgets all registered agents.
    pub(super) fn clear(&self) {
        self.lock().agents.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
