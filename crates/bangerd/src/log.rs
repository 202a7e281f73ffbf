//! The daemon's log: JSON, a line an event, in a file that is bounded. Its level can be changed while
//! the daemon runs.
//!
//! What is done for a request is logged with the request's id, which its client gave it:
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

/// How the level of the process's one log is changed.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// The level as it was set last.
static SET: Mutex<LogLevel> = Mutex::new(LogLevel::Info);

thread_local! {
    /// The id of the request that this thread works for.
    static REQUEST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Begins the log of this process, at the usual level. A thread that panics is told there, too.
///
/// # Errors
/// When the file cannot be opened.
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
    // The subscriber is set once a process, so this is, too.
    let _ = LEVEL.set(handle);
    std::panic::set_hook(Box::new(
        |panic| tracing::error!(%panic, "a thread panicked"),
    ));
    Ok(())
}

/// Changes the level of the log from now on. Without a log, as in tests, nothing happens.
pub(crate) fn set_level(level: LogLevel) {
    *SET.lock().unwrap_or_else(PoisonError::into_inner) = level;
    if let Some(handle) = LEVEL.get() {
        // It fails only where the subscriber is gone, which lasts as long as the process.
        let _ = handle.reload(filter(level));
    }
}

/// The level of the log now.
#[must_use]
pub(crate) fn level() -> LogLevel {
    *SET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work` for the request of this id: what it logs bears the id. A thread that it starts has to
/// be given the id ([`request`]).
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
    // As an error, so that it is there at every level.
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
