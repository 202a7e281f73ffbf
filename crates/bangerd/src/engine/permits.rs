//! Permits, which limit the number of VMs that boot at the same time.
//!
//! A boot mostly needs CPU time. Twenty boots at once on two CPUs would all be slow, and time out;
//! so a few boot and the others wait, first come, first served. The timeout of a guest begins when
//! it gets its permit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lock;

/// The interval at which a waiting start checks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(200);

/// The permits to boot.
#[derive(Debug)]
pub(super) struct BootPermits {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    free: usize,
    /// The tickets of the waiting starts, in order.
    waiting: VecDeque<u64>,
    next_ticket: u64,
}

/// The right to boot one VM; it is returned when dropped.
#[derive(Debug)]
pub(super) struct BootPermit<'a>(&'a BootPermits);

impl BootPermits {
    /// Permits for `count` boots at the same time, at least one.
    pub(super) fn new(count: usize) -> Self {
        Self {
            queue: Mutex::new(Queue {
                free: count.max(1),
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// A permit without waiting, if one is free.
    pub(super) fn try_take(&self) -> Option<BootPermit<'_>> {
        let mut queue = lock(&self.queue);
        let is_free = queue.free > 0 && queue.waiting.is_empty();
        is_free.then(|| {
            queue.free -= 1;
            BootPermit(self)
        })
    }

    /// Waits for a permit; `None` as soon as `given_up` returns true.
    pub(super) fn wait(&self, given_up: impl Fn() -> bool) -> Option<BootPermit<'_>> {
        let mut queue = lock(&self.queue);
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push_back(ticket);
        loop {
            if given_up() {
                queue.waiting.retain(|it| *it != ticket);
                self.changed.notify_all();
                return None;
            }
            if queue.free > 0 && queue.waiting.front() == Some(&ticket) {
                queue.waiting.pop_front();
                queue.free -= 1;
                self.changed.notify_all();
                return Some(BootPermit(self));
            }
            queue = self
                .changed
                .wait_timeout(queue, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for BootPermit<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).free += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_hold_a_permit_than_there_are() {
        let permits = BootPermits::new(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let _permit = permits.wait(|| false).unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= 2);
        assert!(permits.try_take().is_some());
    }

    #[test]
    fn one_that_gives_up_is_not_waited_for() {
        let permits = BootPermits::new(1);
        let first = permits.try_take().unwrap();
        let given_up = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| permits.wait(|| given_up.load(Ordering::SeqCst)).is_none());
            let next = scope.spawn(|| permits.wait(|| false).is_some());
            given_up.store(true, Ordering::SeqCst);
            assert!(waiting.join().unwrap());
            drop(first);
            assert!(next.join().unwrap());
        });
    }
}
