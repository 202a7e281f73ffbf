//! Whether somebody still waits for what this thread does.
//!
//! ```text
//! client ─ connection ─► server ─ within(is_gone) ─► engine ─► a copy ends without its client
//! ```
//!
//! Most verbs go on without their client. A verb that copies a whole disk for it ends while it
//! copies: what it makes is not wanted any more, and nothing of it exists yet.

use std::cell::RefCell;
use std::sync::Arc;

/// Tells whether a client has gone.
pub(crate) type IsGone = Arc<dyn Fn() -> bool + Send + Sync>;

thread_local! {
    /// The client that waits for this thread.
    static WAITER: RefCell<Option<IsGone>> = const { RefCell::new(None) };
}

/// Runs `work` for the client that `is_gone` asks after. New threads do not inherit it.
pub(crate) fn within<T>(is_gone: IsGone, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<IsGone>);
    impl Drop for Restore {
        fn drop(&mut self) {
            WAITER.set(self.0.take());
        }
    }
    let _before = Restore(WAITER.replace(Some(is_gone)));
    work()
}

/// Whether the client that this thread works for has gone. Without a client, nobody has.
#[must_use]
pub(crate) fn is_gone() -> bool {
    WAITER.with_borrow(|waiter| waiter.as_ref().is_some_and(|is_gone| is_gone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_a_waiter_until_its_work_is_done() {
        assert!(!is_gone());
        within(Arc::new(|| true), || {
            assert!(is_gone());
            within(Arc::new(|| false), || assert!(!is_gone()));
            assert!(is_gone());
        });
        assert!(!is_gone());
    }
}
