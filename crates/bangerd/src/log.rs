//! The daemon's log: a bounded file of JSON lines, one for each event. Its level can be changed
//! while the daemon runs.
//!
//! Events during a request have the request's id, which its client chose:
//!
//! ```text
//! client ─ header `banger-request` ─► server ─ within(id) ─► engine ─► log lines, events
//! ```

mod bounded;

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use banger_api::LogLevel;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use bounded::BoundedFile;

/// The handle that changes the level of the process's log.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// The current level.
static SET: Mutex<LogLevel> = Mutex::new(LogLevel::Info);

thread_local! {
    /// The id of the request that this thread works for.
    static REQUEST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Opens the log of this process, at the default level. Panics are logged, too.
///
/// # Errors
/// If the file cannot be opened.
pub(crate) fn start(path: &Path) -> io::Result<()> {
    let file = BoundedFile::open(path.to_owned(), bounded::LONGEST)?;
    let (level, handle) = reload::Layer::new(filter(LogLevel::default()));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(Mutex::new(file));
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .init();
    // A process has only one subscriber, so this is set once, too.
    let _ = LEVEL.set(handle);
    std::panic::set_hook(Box::new(
        |panic| tracing::error!(%panic, "a thread panicked"),
    ));
    Ok(())
}

/// Sets the level of the log. Does nothing without a log, as in tests.
pub(crate) fn set_level(level: LogLevel) {
    *SET.lock().unwrap_or_else(PoisonError::into_inner) = level;
    if let Some(handle) = LEVEL.get() {
        // It fails only without the subscriber, which lives as long as the process.
        let _ = handle.reload(filter(level));
    }
}

/// The current level of the log.
#[must_use]
pub(crate) fn level() -> LogLevel {
    *SET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` for the request with this id, which its log lines have. New threads do not inherit
/// the id ([`request`]).
pub(crate) fn within<T>(request: Option<String>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            REQUEST.set(self.0.take());
        }
    }
    let Some(id) = request else {
        return work();
    };
    // As an error, so that every level includes it.
    let _span = tracing::error_span!("request", id).entered();
    let _restore = Restore(REQUEST.replace(Some(id)));
    work()
}

/// The id of the request that this thread works for.
#[must_use]
pub(crate) fn request() -> Option<String> {
    REQUEST.with_borrow(Clone::clone)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_works_for_a_request_until_the_work_is_done() {
        assert_eq!(request(), None);
        within(Some("a".to_owned()), || {
            within(Some("b".to_owned()), || {
                assert_eq!(request().as_deref(), Some("b"));
            });
            within(None, || assert_eq!(request().as_deref(), Some("a")));
            let broken = std::panic::catch_unwind(|| {
                within(Some("c".to_owned()), || panic!("the work breaks off"));
            });
            assert!(broken.is_err());
            assert_eq!(request().as_deref(), Some("a"));
        });
        assert_eq!(request(), None);
    }
}
