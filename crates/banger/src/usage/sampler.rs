//! Measures what VMs use: those that are looked at, at their own pace, on threads of its own. A guest
//! that does not answer holds up one thread for a while, and is asked seldom then.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use banger_api::client::Client;
use banger_api::{Result, StatsView, VmId};

/// How many threads measure.
pub(crate) const THREADS: usize = 4;
/// The pace of the VM whose graphs are looked at.
pub(crate) const FAST: Duration = Duration::from_secs(2);
/// The pace of the VMs in a list.
pub(crate) const SLOW: Duration = Duration::from_secs(10);
/// The pace of guests that do not answer.
const SELDOM: Duration = Duration::from_secs(30);
/// How long a guest may take that is well.
const PROMPT: Duration = Duration::from_secs(1);

/// What is measured, for the threads that do it.
#[derive(Debug, Clone)]
pub(crate) struct Sampler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Paces are counted from here, so that VMs of one pace are measured together and drawn once.
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    all: BTreeMap<VmId, Due>,
    paused: bool,
    ended: bool,
}

/// When a VM is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    pace: Duration,
    at: Instant,
    /// Whether a thread is at it.
    busy: bool,
    /// Whether it did not answer in time, or not at all, when it was asked last.
    is_slow: bool,
    /// Whether anybody looks at it. What is known of one that keeps a thread waiting stays: it is no better
    /// when it is looked at again.
    is_wanted: bool,
}

impl Due {
    fn new(pace: Duration, at: Instant) -> Self {
        Self {
            pace,
            at,
            busy: false,
            is_slow: false,
            is_wanted: true,
        }
    }
}

impl Sampler {
    /// Measures nothing yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            began: Instant::now(),
        }))
    }

    /// Measures these from now on, each at its pace, and no others. One that is new, or is to be faster,
    /// is measured at once, unless it has just kept a thread waiting.
    pub(crate) fn want(&self, wanted: &[(VmId, Duration)]) {
        let now = Instant::now();
        let mut state = self.lock();
        let mut before = std::mem::take(&mut state.all);
        for (id, pace) in wanted {
            let due = before.remove(id).unwrap_or(Due::new(*pace, now));
            let is_sooner = due.pace > *pace && !due.is_slow;
            let due = Due {
                pace: *pace,
                at: if is_sooner { now } else { due.at },
                is_wanted: true,
                ..due
            };
            state.all.insert(*id, due);
        }
        before.retain(|_, due| due.busy || (due.is_slow && due.at > now));
        let unwanted = before.into_iter();
        let unwanted = unwanted.map(|(id, due)| {
            (
                id,
                Due {
                    is_wanted: false,
                    ..due
                },
            )
        });
        state.all.extend(unwanted);
        self.0.changed.notify_all();
    }

    /// Measures nothing for a while, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        self.lock().paused = paused;
        self.0.changed.notify_all();
    }

    /// Ends the threads.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.0.changed.notify_all();
    }

    /// Measures on this thread until the end, or until nobody hears.
    pub(crate) fn run(
        &self,
        socket: &Path,
        mut heard: impl FnMut(VmId, Result<StatsView>) -> bool,
    ) {
        let Ok(client) = Client::new(socket) else {
            return;
        };
        while let Some(id) = self.next() {
            let began = Instant::now();
            let stats = client.stats(&id.into());
            let is_well =
                began.elapsed() < PROMPT && stats.as_ref().is_ok_and(|it| it.guest_error.is_none());
            self.done(id, is_well);
            if !heard(id, stats) {
                self.end();
            }
        }
    }

    /// Waits for a VM that is due; none at the end.
    fn next(&self) -> Option<VmId> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            let now = Instant::now();
            let paused = state.paused;
            let all = state.all.iter_mut();
            let waiting = all.filter(|it| it.1.is_wanted && !it.1.busy);
            let first = waiting.min_by_key(|it| it.1.at);
            let wait = match first {
                _ if paused => None,
                Some((id, due)) if due.at <= now => {
                    due.busy = true;
                    return Some(*id);
                }
                Some((_, due)) => Some(due.at - now),
                None => None,
            };
            state = match wait {
                Some(wait) => {
                    let waited = self.0.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.0.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    fn done(&self, id: VmId, is_well: bool) {
        let mut state = self.lock();
        if let Some(due) = state.all.get_mut(&id) {
            let pace = if is_well { due.pace } else { SELDOM };
            due.at = after(self.0.began, Instant::now(), pace);
            due.busy = false;
            due.is_slow = !is_well;
            if is_well && !due.is_wanted {
                state.all.remove(&id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next beat of a pace that has been going on since `began`.
fn after(began: Instant, now: Instant, pace: Duration) -> Instant {
    let pace = u64::try_from(pace.as_millis()).unwrap_or(u64::MAX).max(1);
    let passed = u64::try_from(now.duration_since(began).as_millis()).unwrap_or(u64::MAX);
    let beats = passed / pace + 1;
    began + Duration::from_millis(beats.saturating_mul(pace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> VmId {
        VmId::from_bits(number)
    }

    #[test]
    fn beats_are_shared_whenever_a_vm_came() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        for millis in [0, 3, 500, 999] {
            let now = began + Duration::from_millis(millis);
            assert_eq!(after(began, now, second), began + second);
        }
        assert_eq!(after(began, began + second, second), began + second * 2);
    }

    #[test]
    fn a_vm_is_measured_by_one_thread_and_then_at_its_pace() {
        let sampler = Sampler::new();
        sampler.want(&[(id(1), SLOW), (id(2), SLOW)]);
        let both = [sampler.next().unwrap(), sampler.next().unwrap()];
        assert_eq!(both, [id(1), id(2)]);
        sampler.done(id(1), true);
        let due = sampler.lock().all[&id(1)];
        assert!(!due.busy && due.at > Instant::now());
        assert!(sampler.lock().all[&id(2)].busy, "a thread is at it");
        // The same again changes nothing, and one that is to be faster is due at once.
        sampler.want(&[(id(1), SLOW), (id(2), SLOW)]);
        assert_eq!(sampler.lock().all[&id(1)], due);
        sampler.want(&[(id(1), FAST)]);
        assert_eq!(sampler.next(), Some(id(1)));
        sampler.done(id(2), true);
        assert_eq!(
            sampler.lock().all.len(),
            1,
            "what is not wanted is forgotten"
        );
    }

    #[test]
    fn a_guest_that_keeps_a_thread_waiting_keeps_no_other_waiting() {
        let sampler = Sampler::new();
        let look = |at_it: bool| {
            let wanted = [(id(1), SLOW)];
            sampler.want(if at_it { &wanted } else { &[] });
        };
        look(true);
        assert_eq!(sampler.next(), Some(id(1)));
        // It leaves the screen and is back while the thread waits for it.
        look(false);
        look(true);
        assert!(sampler.lock().all[&id(1)].busy);
        sampler.done(id(1), false);
        let due = sampler.lock().all[&id(1)];
        look(false);
        look(true);
        sampler.want(&[(id(1), FAST)]);
        let again = sampler.lock().all[&id(1)];
        assert_eq!((again.at, again.busy, again.pace), (due.at, false, FAST));
        assert!(again.at > Instant::now(), "it is asked seldom");
        // Another one that nobody looks at any more, and that answers, is forgotten.
        sampler.want(&[(id(2), SLOW)]);
        assert_eq!(sampler.next(), Some(id(2)));
        sampler.want(&[]);
        sampler.done(id(2), true);
        let all: Vec<_> = sampler.lock().all.keys().copied().collect();
        assert_eq!(all, [id(1)], "it is not measured, and not forgotten yet");
    }

    #[test]
    fn a_guest_that_does_not_answer_is_asked_seldom() {
        let sampler = Sampler::new();
        sampler.want(&[(id(1), FAST)]);
        let vm = sampler.next().unwrap();
        sampler.done(vm, false);
        let wait = sampler.lock().all[&vm].at - sampler.0.began;
        assert!(wait >= SELDOM, "{wait:?}");
    }

    #[test]
    fn nothing_is_measured_while_it_is_paused_or_at_its_end() {
        let sampler = Sampler::new();
        sampler.pause(true);
        sampler.want(&[(id(1), FAST)]);
        let own = sampler.clone();
        let thread = std::thread::spawn(move || own.next());
        sampler.pause(false);
        assert_eq!(thread.join().unwrap(), Some(id(1)));
        sampler.end();
        assert_eq!(sampler.next(), None);
    }
}
