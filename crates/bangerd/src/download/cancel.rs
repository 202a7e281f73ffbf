//! The end of a download that nobody wants any more.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;

/// Ends what it was given to, from another thread. A clone is the same one.
#[derive(Clone, Default)]
pub struct Cancel(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_cancelled: bool,
    /// Whose connections are closed, so that a read that waits ends at once.
    agents: Vec<Agent>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled())
    }
}

impl Cancel {
    /// Ends it, for good.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.is_cancelled = true;
        for agent in state.agents.drain(..) {
            agent.shutdown();
        }
        drop(state);
        self.0.1.notify_all();
    }

    /// Whether it has been ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// Waits for this long, or until it is ended; says whether it is.
    pub(super) fn wait(&self, time: Duration) -> bool {
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

    /// Has this agent's connections closed when it is ended.
    pub(super) fn covers(&self, agent: &Agent) {
        let mut state = self.lock();
        if state.is_cancelled {
            agent.clone().shutdown();
        } else {
            state.agents.push(agent.clone());
        }
    }

    /// No longer.
    pub(super) fn forgets_agents(&self) {
        self.lock().agents.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
